//! What the doors count before a call is one: who is there, and who was turned away.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Word;

/// A door. Clones count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// TCP with TLS, for clients of Notary.
    Notary,
    /// TCP with TLS.
    Tls,
    /// The Unix socket.
    Unix,
}

/// Why somebody was turned away. Strangers cause all of these, so they leave no leaves (D15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// The machine could not hand over the connection: descriptors, memory.
    Accept,
    /// Too many bytes of requests in flight.
    Bytes,
    /// Too many connections.
    Connections,
    /// Frames that ask for nothing.
    Flood,
    /// The handshake failed, or was not done in time.
    Handshake,
    /// Too many handshakes at once.
    Handshakes,
    /// Too many requests in flight.
    InFlight,
    /// Began a frame and did not go on, or did not read an answer.
    Stalled,
    /// Not, or not any more, somebody who is let in.
    Unauthenticated,
}

impl Entrance {
    /// Its name in logs and labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Notary => "notary",
            Self::Tls => "tls",
            Self::Unix => "unix",
        }
    }
}

impl TurnedAway {
    /// Its name in logs and labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Bytes => "bytes",
            Self::Connections => "connections",
            Self::Flood => "flood",
            Self::Handshake => "handshake",
            Self::Handshakes => "handshakes",
            Self::InFlight => "in-flight",
            Self::Stalled => "stalled",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    door: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedAwayLabels {
    door: Word,
    reason: Word,
}

/// The doors' counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct DoorCounts {
    connections: Family<DoorLabels, Gauge>,
    turned_away: Family<TurnedAwayLabels, Counter>,
}

impl DoorCounts {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Connections that are open", self.connections.clone());
        let help = "Connections and requests that no door let in, or not any more";
        registry.register("turned_away", help, self.turned_away.clone());
    }

    /// A connection, until the guard is dropped.
    pub(crate) fn connected(&self, door: Entrance) -> Connected {
        let connections = self.connections.get_or_create_owned(&DoorLabels { door: Word(door.name()) });
        connections.inc();
        Connected(connections)
    }

    /// Somebody was turned away.
    pub(crate) fn turned_away(&self, door: Entrance, reason: TurnedAway) {
        let labels = TurnedAwayLabels { door: Word(door.name()), reason: Word(reason.name()) };
        self.turned_away.get_or_create(&labels).inc();
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_there_and_who_was_not_let_in_is_counted_by_door() {
        let (counts, mut registry) = (DoorCounts::default(), Registry::default());
        counts.register(&mut registry);
        let page = || {
            let mut page = String::new();
            prometheus_client::encoding::text::encode(&mut page, &registry).unwrap();
            page
        };

        let here = counts.connected(Entrance::Tls);
        counts.turned_away(Entrance::Tls, TurnedAway::Handshake);
        assert!(page().contains("connections{door=\"tls\"} 1\n"), "{}", page());
        assert!(page().contains("turned_away_total{door=\"tls\",reason=\"handshake\"} 1\n"), "{}", page());

        drop(here);
        assert!(page().contains("connections{door=\"tls\"} 0\n"), "{}", page());
    }
}
