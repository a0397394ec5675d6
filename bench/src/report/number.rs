//! Numbers as people read them.

/// The unit of a ratio of times, of which less is better; those of rates are in `×`.
pub(crate) const TIMES_AS_DEAR: &str = "× the processor time";

/// Three significant digits or more, thousands apart.
pub(crate) fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    grouped(&format!("{value:.decimals$}"))
}

/// A round number without what it does not need, as beside an axis.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_precisely_as_they_deserve() {
        assert_eq!(shown(1_234_567.8), "1\u{202f}234\u{202f}568");
        assert_eq!(shown(999.6), "1\u{202f}000");
        assert_eq!(shown(12.34), "12.3");
        assert_eq!(shown(0.456), "0.46");
        assert_eq!(shown(-1234.0), "-1\u{202f}234");
    }

    #[test]
    fn round_numbers_are_short() {
        assert_eq!(short(20_000.0), "20\u{202f}000");
        assert_eq!(short(0.5), "0.5");
        assert_eq!(short(0.0), "0");
        assert_eq!(short(100.0), "100");
    }
}
