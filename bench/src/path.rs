//! The arithmetic that `--path` forces.

use clap::ValueEnum;
use trust::verify::batch;

/// What a report calls it beside the machine.
pub(crate) const FACT: &str = "path of kernels, digests and verify";

/// A path as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// Eight at a time, with AVX-512 IFMA.
    Ifma,
    /// Four at a time, with AVX2.
    Avx2,
    /// One at a time, on any processor.
    Portable,
}

impl Path {
    /// The one of the verifier.
    pub(crate) const fn of_batch(self) -> batch::Path {
        match self {
            Self::Ifma => batch::Path::Ifma,
            Self::Avx2 => batch::Path::Avx2,
            Self::Portable => batch::Path::Portable,
        }
    }

    /// What it is called there.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Why this processor cannot take it, and what can be done; `None` where it can.
    pub(crate) fn refusal(self) -> Option<String> {
        if self.of_batch().is_here() {
            return None;
        }
        let here = Self::value_variants().iter().filter(|path| path.of_batch().is_here());
        let here: Vec<String> = here.map(|path| path.name()).collect();
        Some(format!(
            "this processor has not the instructions of path {}\n  it has {}; without --path the fastest is taken",
            self.name(),
            here.join(" and ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_name_and_is_refused_where_it_is_not() {
        let all: Vec<_> = Path::value_variants().iter().map(|path| path.of_batch()).collect();
        assert_eq!(all, batch::Path::ALL);
        for path in Path::value_variants() {
            assert_eq!(Path::from_str(&path.name(), false).as_ref(), Ok(path));
            assert_eq!(path.refusal().is_none(), path.of_batch().is_here());
            if let Some(refusal) = path.refusal() {
                assert_eq!(refusal.lines().count(), 2, "{refusal}");
                assert!(refusal.contains("portable"), "{refusal}");
            }
        }
        assert_eq!(Path::Portable.refusal(), None);
    }
}
