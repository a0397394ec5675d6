//! What verification counts: items by verdict, streams that are open and how they ended.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Answer, Word};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    answer: Word,
}

/// The counters of verification. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifyCounts {
    items: Family<VerdictLabels, Counter>,
    streams: Family<AnswerLabels, Counter>,
    open: Gauge,
}

impl VerifyCounts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("verified_items", "Signatures that were verified, by verdict", self.items.clone());
        registry.register("verify_streams", "Streams of signatures that ended", self.streams.clone());
        registry.register("verify_streams_open", "Streams of signatures that are open", self.open.clone());
    }

    /// So many items with this verdict, a word out of the code.
    pub(crate) fn verified(&self, verdict: &'static str, items: u64) {
        self.items.get_or_create(&VerdictLabels { verdict: Word(verdict) }).inc_by(items);
    }

    /// A stream is open until the guard is told how it ended, or dropped.
    pub(crate) fn open(&self) -> OpenStream {
        self.open.inc();
        OpenStream { counts: self.clone(), answer: Answer::Cancelled }
    }
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct OpenStream {
    counts: VerifyCounts,
    answer: Answer,
}

impl OpenStream {
    /// The stream ends so.
    pub(crate) fn end(mut self, answer: Answer) {
        self.answer = answer;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.counts.open.dec();
        self.counts.streams.get_or_create(&AnswerLabels { answer: Word(self.answer.name()) }).inc();
    }
}

#[cfg(test)]
mod tests {
    use trust::FaultKind;

    use super::*;

    #[test]
    fn streams_are_counted_while_they_are_open_and_by_how_they_ended() {
        let (counts, mut registry) = (VerifyCounts::default(), Registry::default());
        counts.register(&mut registry);
        let page = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page
        };

        let (one, two, three) = (counts.open(), counts.open(), counts.open());
        assert!(page().contains("verify_streams_open 3\n"), "{}", page());
        one.end(Answer::Ok);
        two.end(Answer::Fault(FaultKind::Malformed));
        drop(three);
        counts.verified("valid", 7);

        let page = page();
        for line in [
            "verify_streams_open 0\n",
            "verify_streams_total{answer=\"ok\"} 1\n",
            "verify_streams_total{answer=\"malformed\"} 1\n",
            "verify_streams_total{answer=\"cancelled\"} 1\n",
            "verified_items_total{verdict=\"valid\"} 7\n",
        ] {
            assert!(page.contains(line), "{line}{page}");
        }
    }
}
