//! Figures as SVG, drawn by us: lines, bars, and bars of parts. Nothing is loaded from anywhere.

mod bars;
mod lines;
mod scale;

use std::fmt::Write as _;

use super::figure::{Figure, Kind};

/// Width of every figure, in its own units.
const WIDTH: f64 = 860.0;
/// A line of the legend.
const LEGEND_LINE: f64 = 18.0;
/// About what a letter takes.
const LETTER: f64 = 6.4;

/// Told apart by people who do not see every colour (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222", "#8c6d31"];

/// A drawing under way.
struct Canvas {
    body: String,
}

/// On which side of its point a text begins.
#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// The figure as one `svg` element.
pub(super) fn draw(figure: &Figure) -> String {
    let mut canvas = Canvas { body: String::new() };
    let height = match figure.kind {
        Kind::Lines => lines::draw(&mut canvas, figure),
        Kind::Bars | Kind::Parts => bars::draw(&mut canvas, figure),
    };
    let height = legend(&mut canvas, figure, height);
    format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" aria-label=\"{}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n{}</svg>\n",
        escaped(&figure.title),
        canvas.body
    )
}

/// Names below the drawing; returns where it ends.
fn legend(canvas: &mut Canvas, figure: &Figure, top: f64) -> f64 {
    if figure.series.len() < 2 && figure.kind != Kind::Lines {
        return top;
    }
    let (mut x, mut y) = (20.0, top + 4.0);
    for (number, series) in figure.series.iter().enumerate() {
        let width = 44.0 + letters(&series.name) * LETTER;
        if x > 20.0 && x + width > WIDTH {
            (x, y) = (20.0, y + LEGEND_LINE);
        }
        canvas.swatch(x, y, colour(number), dash(number));
        canvas.text(x + 24.0, y + 4.0, Anchor::Start, &series.name);
        x += width;
    }
    y + LEGEND_LINE
}

/// The colour of a series.
fn colour(number: usize) -> &'static str {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#222222")
}

/// The ninth series looks like the first, but for its dashes.
const fn dash(number: usize) -> &'static str {
    if number < COLOURS.len() { "none" } else { "5 3" }
}

/// How many letters a text has.
fn letters(text: &str) -> f64 {
    crate::spread::count(text.chars().count())
}

impl Canvas {
    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        // A String takes everything, here and below.
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        );
    }

    /// A line through measurements.
    fn path(&mut self, points: &[(f64, f64)], colour: &str, dash: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            points.join(" ")
        );
    }

    /// A mark that says what it is where a pointer rests on it.
    fn dot(&mut self, (x, y): (f64, f64), colour: &str, says: &str) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}</title></circle>",
            escaped(says)
        );
    }

    /// From the lowest to the highest measurement.
    fn spread(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let _ = writeln!(
            self.body,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"1.2\"/>"
        );
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str, says: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\">\
             <title>{}</title></rect>",
            escaped(says)
        );
    }

    fn swatch(&mut self, x: f64, y: f64, colour: &str, dash: &str) {
        let end = x + 18.0;
        let _ = writeln!(
            self.body,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" \
             stroke-width=\"6\" stroke-dasharray=\"{dash}\"/>"
        );
    }

    fn text(&mut self, x: f64, y: f64, anchor: Anchor, text: &str) {
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\">{}</text>",
            anchor.word(),
            escaped(text)
        );
    }

    /// A text from below to above, as beside the second axis.
    fn upright(&mut self, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
            escaped(text)
        );
    }
}

/// Text that is only text in HTML and SVG, inside an attribute, too.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Point, Series};
    use super::*;
    use crate::spread::Spread;

    fn spread(median: f64) -> Spread {
        Spread { median, low: median * 0.5, high: median * 2.0 }
    }

    /// The numbers of an attribute, in the order of the drawing.
    fn numbers(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
        let of = |line: &str| {
            let (_, rest) = line.split_once(&format!(" {attribute}=\""))?;
            rest.split('"').next()?.parse().ok()
        };
        svg.lines().filter(|line| line.starts_with(&format!("<{element} "))).filter_map(of).collect()
    }

    #[test]
    fn a_larger_number_is_higher_and_further_right() {
        let points = vec![(Point::Number(1.0), spread(1000.0)), (Point::Number(64.0), spread(9000.0))];
        let figure = Figure {
            title: "rate <by> load".to_owned(),
            kind: Kind::Lines,
            along: "in flight (requests)",
            up: "throughput (1/s)".to_owned(),
            series: vec![Series { name: "trustd".to_owned(), points }],
        };

        let svg = draw(&figure);

        let (x, y) = (numbers(&svg, "circle", "cx"), numbers(&svg, "circle", "cy"));
        assert!(x.len() == 2 && x[0] < x[1] && y[0] > y[1], "{svg}");
        assert!(svg.contains(">in flight (requests)</text>") && svg.contains(">throughput (1/s)</text>"), "{svg}");
        assert!(svg.contains("rate &lt;by&gt; load") && svg.contains(">trustd</text>"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_numbers_and_parts_lie_end_to_end() {
        let one = |name: &str, median| Series {
            name: name.to_owned(),
            points: vec![(Point::Word("Unix socket".to_owned()), Spread { median, low: median, high: median })],
        };
        let mut figure = Figure {
            title: "split".to_owned(),
            kind: Kind::Bars,
            along: "",
            up: "time (µs/item)".to_owned(),
            series: vec![one("daemon", 10.0), one("client", 30.0)],
        };

        let widths = numbers(&draw(&figure), "rect", "width");
        figure.kind = Kind::Parts;
        let parts = draw(&figure);

        assert!((widths[1] / widths[0] - 3.0).abs() < 0.01, "{widths:?}");
        let (x, width) = (numbers(&parts, "rect", "x"), numbers(&parts, "rect", "width"));
        assert!((x[0] + width[0] - x[1]).abs() < 0.11, "{parts}");
        assert!(parts.contains(">time (µs/item)</text>"), "{parts}");
    }

    #[test]
    fn who_has_no_bar_at_a_word_takes_no_place_there() {
        let at = |word: &str| (Point::Word(word.to_owned()), spread(10.0));
        let figure = Figure {
            title: "mixes".to_owned(),
            kind: Kind::Bars,
            along: "",
            up: "throughput (items/s)".to_owned(),
            series: vec![
                Series { name: "one".to_owned(), points: vec![at("a"), at("b")] },
                Series { name: "other".to_owned(), points: vec![at("b")] },
            ],
        };

        let y = numbers(&draw(&figure), "rect", "y");

        // The bars of a, b, b: between words there is a gap, and none for the bar that is not there.
        assert!(y.len() == 3 && (y[1] - y[0] - 27.0).abs() < 0.01 && (y[2] - y[1] - 15.0).abs() < 0.01, "{y:?}");
    }

    #[test]
    fn text_is_only_text() {
        assert_eq!(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
