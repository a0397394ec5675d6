//! Horizontal bars by words, beside each other or, as parts of a whole, end to end.

use super::super::figure::{Figure, Kind, Point};
use super::super::number::{short, shown};
use super::scale::Scale;
use super::{Anchor, Canvas, LETTER, WIDTH, colour, letters};

/// Where the longest bar may end: behind it stands its number.
const RIGHT: f64 = WIDTH - 80.0;
const TOP: f64 = 10.0;
const BAR: f64 = 15.0;
const GAP: f64 = 12.0;

/// Draws it and returns how high it is.
pub(super) fn draw(canvas: &mut Canvas, figure: &Figure) -> f64 {
    let words: Vec<(&Point, &str)> = figure
        .points()
        .into_iter()
        .filter_map(|point| if let Point::Word(word) = point { Some((point, word.as_str())) } else { None })
        .collect();
    let left = words.iter().map(|(_, word)| letters(word) * LETTER + 16.0).fold(60.0, f64::max).min(WIDTH / 2.0);
    let x = Scale::from_zero(longest(figure, &words), left, RIGHT);
    let bottom = TOP + words.iter().map(|(point, _)| group(figure, point) + GAP).sum::<f64>();
    for tick in x.ticks() {
        canvas.line((x.place(tick), TOP), (x.place(tick), bottom), "grid");
        canvas.text(x.place(tick), bottom + 16.0, Anchor::Middle, &short(tick));
    }
    let mut top = TOP + GAP / 2.0;
    for (point, word) in words {
        let group = group(figure, point);
        canvas.text(left - 8.0, top + group / 2.0 + 4.0, Anchor::End, word);
        match figure.kind {
            Kind::Parts => parts(canvas, figure, point, x, (left, top)),
            Kind::Bars | Kind::Lines => side_by_side(canvas, figure, point, x, (left, top)),
        }
        top += group + GAP;
    }
    canvas.line((left, TOP), (left, bottom), "axis");
    canvas.line((left, bottom), (RIGHT, bottom), "axis");
    canvas.text(f64::midpoint(left, RIGHT), bottom + 36.0, Anchor::Middle, &figure.up);
    bottom + 52.0
}

/// How high the bars of a word are together; who has none there takes no place.
fn group(figure: &Figure, point: &Point) -> f64 {
    let bars = figure.series.iter().filter(|series| series.at(point).is_some()).count();
    let beside = if figure.kind == Kind::Parts { 1 } else { bars };
    crate::spread::count(beside) * BAR
}

fn side_by_side(canvas: &mut Canvas, figure: &Figure, point: &Point, x: Scale, (left, top): (f64, f64)) {
    let mut y = top;
    for (number, series) in figure.series.iter().enumerate() {
        if let Some(spread) = series.at(point) {
            let says = format!(
                "{}: {} ({} to {}), {}",
                series.name,
                shown(spread.median),
                shown(spread.low),
                shown(spread.high),
                figure.up
            );
            canvas.bar((left, y + 1.0), (x.place(spread.median) - left, BAR - 2.0), colour(number), &says);
            canvas.spread((x.place(spread.low), y + BAR / 2.0), (x.place(spread.high), y + BAR / 2.0), "#000000");
            canvas.text(x.place(spread.high) + 5.0, y + BAR - 3.0, Anchor::Start, &shown(spread.median));
            y += BAR;
        }
    }
}

fn parts(canvas: &mut Canvas, figure: &Figure, point: &Point, x: Scale, (_, top): (f64, f64)) {
    let mut sum = 0.0;
    for (number, series) in figure.series.iter().enumerate() {
        let Some(spread) = series.at(point) else { continue };
        // A difference of two measurements may be below zero; a bar cannot.
        let (from, to) = (x.place(sum), x.place(sum + spread.median.max(0.0)));
        let says = format!("{}: {}, {}", series.name, shown(spread.median), figure.up);
        canvas.bar((from, top + 1.0), (to - from, BAR - 2.0), colour(number), &says);
        sum += spread.median.max(0.0);
    }
    canvas.text(x.place(sum) + 5.0, top + BAR - 3.0, Anchor::Start, &shown(sum));
}

/// How far the longest bar, or its spread, reaches.
fn longest(figure: &Figure, words: &[(&Point, &str)]) -> f64 {
    let of = |point: &Point| {
        let spreads = figure.series.iter().filter_map(|series| series.at(point));
        match figure.kind {
            Kind::Parts => spreads.map(|spread| spread.median.max(0.0)).sum::<f64>(),
            Kind::Bars | Kind::Lines => spreads.map(|spread| spread.high).fold(0.0, f64::max),
        }
    };
    words.iter().map(|(point, _)| of(point)).fold(0.0, f64::max)
}
