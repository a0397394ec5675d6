//! What a figure shows: rows that say where in which figure they belong.

use super::Row;
use crate::spread::Spread;

/// Where a row is seen: in which figure, and at which point of its first axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    figure: String,
    along: &'static str,
    point: Point,
    y: Y,
    series: Option<String>,
}

/// A point on the first axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Point {
    /// A number, above nothing; the figure has lines.
    Number(f64),
    /// A word; the figure has bars.
    Word(String),
}

/// What of a row is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Y {
    /// Its samples.
    Value,
    /// Its samples, as one part of a whole: bars of one word lie end to end.
    Part,
    /// The median of its latencies.
    P50,
    /// Their 99th percentile.
    P99,
}

impl Place {
    /// In the figure of that title; `along` names the first axis, with its unit.
    pub(crate) fn new(figure: impl Into<String>, along: &'static str, point: Point, y: Y) -> Self {
        Self { figure: figure.into(), along, point, y, series: None }
    }

    /// The same under another name than the row's subject.
    pub(crate) fn named(self, series: impl Into<String>) -> Self {
        Self { series: Some(series.into()), ..self }
    }
}

/// How a figure is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bars,
    Lines,
    /// Bars whose parts lie end to end.
    Parts,
}

/// One figure, ready to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) kind: Kind,
    /// The name of the first axis, with its unit.
    pub(super) along: &'static str,
    /// The name of the second axis, with its unit.
    pub(super) up: String,
    pub(super) series: Vec<Series>,
}

/// One line, or the bars of one colour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(Point, Spread)>,
}

impl Figure {
    /// The figures of some rows, in the order in which rows name them first.
    pub(super) fn all<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Self> {
        let mut figures: Vec<Self> = Vec::new();
        for row in rows {
            for place in &row.places {
                let Some((spread, up)) = shown_of(row, place.y) else { continue };
                let figure = match figures.iter_mut().position(|figure| figure.title == place.figure) {
                    Some(position) => figures.get_mut(position),
                    None => {
                        figures.push(Self::begin(place, up));
                        figures.last_mut()
                    }
                };
                if let Some(figure) = figure {
                    figure.take(place.series.as_ref().unwrap_or(&row.subject), (place.point.clone(), spread));
                }
            }
        }
        figures
    }

    fn begin(place: &Place, up: String) -> Self {
        let kind = match (&place.point, place.y) {
            (_, Y::Part) => Kind::Parts,
            (Point::Word(_), _) => Kind::Bars,
            (Point::Number(_), _) => Kind::Lines,
        };
        Self { title: place.figure.clone(), kind, along: place.along, up, series: Vec::new() }
    }

    fn take(&mut self, name: &str, point: (Point, Spread)) {
        match self.series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push(point),
            None => self.series.push(Series { name: name.to_owned(), points: vec![point] }),
        }
    }

    /// Every point of the first axis once, in the order of the rows.
    pub(super) fn points(&self) -> Vec<&Point> {
        let mut points = Vec::new();
        for (point, _) in self.series.iter().flat_map(|series| &series.points) {
            if !points.contains(&point) {
                points.push(point);
            }
        }
        points
    }
}

impl Series {
    /// What was measured at a point.
    pub(super) fn at(&self, point: &Point) -> Option<Spread> {
        self.points.iter().find(|(here, _)| here == point).map(|(_, spread)| *spread)
    }
}

/// The numbers, and what stands beside the axis for them.
fn shown_of(row: &Row, y: Y) -> Option<(Spread, String)> {
    let latency = |spread: Option<Spread>| spread.map(|spread| (spread, axis("µs")));
    match y {
        Y::Value | Y::Part => Spread::of(&row.samples).map(|spread| (spread, axis(row.unit))),
        Y::P50 => latency(row.percentiles(|latency| latency.p50_us)),
        Y::P99 => latency(row.percentiles(|latency| latency.p99_us)),
    }
}

/// What an axis with a unit is called.
fn axis(unit: &str) -> String {
    let quantity = match unit {
        "1/s" | "items/s" | "signatures/s" => "throughput",
        "MB/s" => "rate",
        "×" => "ratio",
        "MB" => "memory",
        "µs" => "latency",
        unit if unit.starts_with("µs") || unit == "s" => "time",
        _ => "amount",
    };
    format!("{quantity} ({unit})")
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn rows_of_one_figure_become_its_series() {
        let report = sample();

        let figures = Figure::all(report.rows.iter());

        assert_eq!(figures.len(), 2);
        assert_eq!((figures[0].kind, figures[0].up.as_str()), (Kind::Lines, "throughput (1/s)"));
        assert_eq!(figures[0].series.len(), 1);
        assert_eq!(figures[0].points(), [&Point::Number(1.0), &Point::Number(64.0)]);
        assert_eq!(figures[0].series[0].at(&Point::Number(64.0)).unwrap().median, 9000.0);
        assert_eq!(figures[1].up, "latency (µs)");
        assert_eq!(figures[1].series[0].at(&Point::Number(1.0)).unwrap().median, 100.0);
    }

    #[test]
    fn words_make_bars_and_parts_lie_end_to_end() {
        let row = |y| {
            Row::new("s", String::new(), "a".to_owned(), "µs/item", vec![1.0]).at(Place::new(
                "f",
                "",
                Point::Word("w".to_owned()),
                y,
            ))
        };

        assert_eq!(Figure::all([row(Y::Value)].iter())[0].kind, Kind::Bars);
        assert_eq!(Figure::all([row(Y::Part)].iter())[0].kind, Kind::Parts);
        assert_eq!(Figure::all([row(Y::Value)].iter())[0].up, "time (µs/item)");
    }
}
