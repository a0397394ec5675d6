//! Lines over numbers: each point the median, with a stroke from the lowest to the highest measurement.

use super::super::figure::{Figure, Point};
use super::super::number::{short, shown};
use super::scale::Scale;
use super::{Anchor, Canvas, WIDTH, colour, dash};

const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - 24.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 330.0;

/// Draws it and returns how high it is.
pub(super) fn draw(canvas: &mut Canvas, figure: &Figure) -> f64 {
    let numbers = numbers(figure);
    let (low, high) = (numbers.first().copied().unwrap_or(0.0), numbers.last().copied().unwrap_or(1.0));
    let x = Scale::between(low, high, LEFT + 20.0, RIGHT - 20.0);
    let y = second(figure);
    for tick in y.ticks() {
        let at = y.place(tick);
        canvas.line((LEFT, at), (RIGHT, at), "grid");
        canvas.text(LEFT - 6.0, at + 4.0, Anchor::End, &short(tick));
    }
    for number in &numbers {
        let at = x.place(*number);
        canvas.line((at, BOTTOM), (at, BOTTOM + 5.0), "axis");
        canvas.text(at, BOTTOM + 19.0, Anchor::Middle, &short(*number));
    }
    canvas.line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis");
    canvas.line((LEFT, TOP), (LEFT, BOTTOM), "axis");
    canvas.text(f64::midpoint(LEFT, RIGHT), BOTTOM + 40.0, Anchor::Middle, figure.along);
    canvas.upright(18.0, f64::midpoint(TOP, BOTTOM), &figure.up);
    for (number, series) in figure.series.iter().enumerate() {
        let mut points: Vec<(f64, _)> = series
            .points
            .iter()
            .filter_map(|(point, spread)| if let Point::Number(value) = point { Some((*value, *spread)) } else { None })
            .collect();
        points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let path: Vec<(f64, f64)> =
            points.iter().map(|(value, spread)| (x.place(*value), y.place(spread.median))).collect();
        canvas.path(&path, colour(number), dash(number));
        for (value, spread) in points {
            let at = x.place(value);
            canvas.spread((at, y.place(spread.low)), (at, y.place(spread.high)), colour(number));
            let says = format!(
                "{}, {}: {} ({} to {}), {}",
                series.name,
                short(value),
                shown(spread.median),
                shown(spread.low),
                shown(spread.high),
                figure.up
            );
            canvas.dot((at, y.place(spread.median)), colour(number), &says);
        }
    }
    BOTTOM + 58.0
}

/// Latencies lie far apart, and one axis from zero would hide most of them.
fn second(figure: &Figure) -> Scale {
    let spreads = || figure.series.iter().flat_map(|series| &series.points).map(|(_, spread)| spread);
    let low = spreads().map(|spread| spread.low).fold(f64::INFINITY, f64::min);
    let high = spreads().map(|spread| spread.high).fold(0.0, f64::max);
    if figure.up.starts_with("latency") && low > 0.0 && high.is_finite() {
        Scale::by_tens(low, high, BOTTOM, TOP)
    } else {
        Scale::from_zero(high, BOTTOM, TOP)
    }
}

/// The numbers of the first axis, ascending.
fn numbers(figure: &Figure) -> Vec<f64> {
    let mut numbers: Vec<f64> = figure
        .points()
        .into_iter()
        .filter_map(|point| if let Point::Number(value) = point { Some(*value) } else { None })
        .collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}
