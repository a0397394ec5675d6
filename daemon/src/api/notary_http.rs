//! The Notary door: what docker's content trust and the `notary` command speak (SPEC §2), over HTTP/1.1.
//!
//! It says who asks, reads the request into types that cannot be wrong, calls one function of [`crate::publish`] and writes the
//! answer in the words that those clients know. What may be published, and who may do what, is not known here.

mod access;
mod answer;
mod body;
mod changes;
mod listener;
mod patient;
mod pool;
mod refusal;
mod route;
mod unread;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tracing::{Instrument as _, debug, debug_span};
use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Gun, RoleName, Version};
use trust::{Principal, Sha256Digest};

use crate::authorize::Pace;
use crate::config::NotaryConfig;
use crate::health::Trouble;
use crate::house::House;
use crate::metrics::Operation;
use crate::publish::{Asker, PublishError, Sent};
use crate::scrape;
use crate::telemetry::RequestId;
use crate::tls::Peer;

use self::access::Wanted;
use self::answer::{Age, Readers};
use self::body::{Bodies, Sender, Standing, VALUES_MAX};
use self::pool::Held;
use self::refusal::NotServed;
use self::route::{KeyRole, Name, Route, Turn, Which};
use self::unread::Unread;

pub(crate) use self::listener::Listener;

/// From so many bytes on a body is read off the threads that others wait for.
const LONG_BYTES: usize = 64 * 1024;

type Answer = Response<Full<Bytes>>;

/// Whom a connection is with.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// Where it comes from.
    pub(crate) address: IpAddr,
    /// The certificate that it proved to be its own.
    pub(crate) peer: Option<Arc<Peer>>,
}

impl Visitor {
    /// Whether it comes from this machine.
    fn is_local(&self) -> bool {
        self.address.to_canonical().is_loopback()
    }

    /// Where somebody comes from who has no name, and is not on this machine: of those each address counts for itself.
    fn stranger(&self, who: &Principal) -> Option<IpAddr> {
        let is_stranger = matches!(who, Principal::Anonymous(_)) && !self.is_local();
        is_stranger.then(|| pool::network(self.address.to_canonical()))
    }

    /// Somebody who asks, and what they may take that others want, too.
    fn asker<'a>(&self, who: &'a Principal) -> Asker<'a> {
        Asker { who, stranger: self.stranger(who) }
    }
}

/// The door.
pub(crate) struct NotaryDoor {
    house: Arc<House>,
    config: NotaryConfig,
    bodies: Bodies,
    unread: Unread,
    /// How fast strangers may ask.
    strangers: Pace<IpAddr>,
}

impl NotaryDoor {
    /// A door into `house`.
    pub(crate) fn new(house: Arc<House>, config: NotaryConfig) -> Self {
        let bodies = Bodies::new(config.upload_bytes_max);
        let limits = house.limits();
        let strangers = Pace::new(limits.rate_per_second, limits.rate_burst);
        Self { house, config, bodies, unread: Unread::new(), strangers }
    }

    /// Answers one request, in time.
    pub(crate) async fn answer(&self, request: Request<Incoming>, visitor: &Visitor) -> Answer {
        let id = RequestId::new();
        let turn = route::turn(request.method(), request.uri().path());
        let operation = operation(&turn);
        let span = debug_span!("notary", request = %id, operation = operation.name());
        let began = self.house.clock().monotonic();
        let longest = self.house.limits().request_time_max;
        let work = self.turned(turn, request, visitor, began.saturating_add(longest));
        // What is past its permit goes on by itself; only the caller waits no longer.
        let answer = id
            .scope(async { tokio::time::timeout(longest, work).await }.instrument(span))
            .await
            .unwrap_or_else(|_| NotServed::Unavailable.answer());
        let after = self.house.clock().monotonic().saturating_sub(began);
        self.house.metrics().notary().answered(operation, answer.status(), after);
        answer
    }

    async fn turned(&self, turn: Turn, request: Request<Incoming>, visitor: &Visitor, deadline: Duration) -> Answer {
        let route = match turn {
            Turn::To(route) => route,
            Turn::Move(path) => return answer::moved(&path, request.uri().query()),
            Turn::NoMethod => return answer::no_method(),
        };
        let is_head = *request.method() == Method::HEAD;
        let answer = self.served(route, request, visitor, deadline).await.unwrap_or_else(|refused| {
            debug!(?refused, "not served");
            refused.answer()
        });
        if is_head { answer::without_body(answer) } else { answer }
    }

    async fn served(
        &self,
        route: Route,
        request: Request<Incoming>,
        visitor: &Visitor,
        deadline: Duration,
    ) -> Result<Answer, NotServed> {
        match route {
            Route::Health => Ok(answer::health(&self.troubles())),
            Route::Metrics if self.config.metrics || visitor.is_local() => {
                scrape::page::write(&self.house).map(answer::metrics).map_err(|_| NotServed::Internal)
            }
            Route::Ping => {
                self.who(&request, visitor, &Wanted::Catalog)?;
                Ok(answer::ping())
            }
            Route::Publish(name) => {
                let gun = self.name(name).map_err(|()| self.no_such_gun())?;
                let who = self.who(&request, visitor, &Wanted::push(&gun))?;
                let sent = self.sent(request, self.sender(&who, &gun, visitor)).await?;
                self.house
                    .publisher()
                    .publish(visitor.asker(&who), &gun, sent, deadline)
                    .await
                    .map_err(NotServed::of)?;
                Ok(answer::done())
            }
            Route::Delete(name) => {
                let gun = self.found(name)?;
                let who = self.who(&request, visitor, &Wanted::all(&gun))?;
                self.house
                    .publisher()
                    .delete(visitor.asker(&who), &gun, deadline)
                    .await
                    .map_err(NotServed::of_other)?;
                Ok(answer::done())
            }
            Route::Key { gun, role } => {
                let gun = self.found(gun)?;
                let who = self.who(&request, visitor, &Wanted::push(&gun))?;
                let key = self.house.publisher().server_key(visitor.asker(&who), &gun, &role.name(), deadline).await;
                Ok(answer::key(&key.map_err(NotServed::of_other)?))
            }
            Route::RotateKey { gun, role } => {
                let gun = self.found(gun)?;
                let who = self.who(&request, visitor, &Wanted::all(&gun))?;
                let key = self.house.publisher().rotate_key(visitor.asker(&who), &gun, &role.name(), deadline).await;
                Ok(answer::key(&key.map_err(NotServed::of_other)?))
            }
            Route::File { gun, role, which } => {
                let gun = self.found(gun)?;
                let who = self.who(&request, visitor, &Wanted::pull(&gun))?;
                self.metadata((&who, visitor), &gun, &role, which).await
            }
            Route::Changes(scope) => self.changes(scope, &request, visitor).await,
            Route::Metrics | Route::Elsewhere => {
                self.who(&request, visitor, &Wanted::Catalog)?;
                Err(NotServed::NotHere)
            }
        }
    }

    /// A role's file: the current one, or one that is named by hash or version.
    async fn metadata(
        &self,
        (who, visitor): (&Principal, &Visitor),
        gun: &Gun,
        role: &str,
        which: Which,
    ) -> Result<Answer, NotServed> {
        let role: RoleName = role.parse().map_err(|_| NotServed::NoMetadata)?;
        let publisher = self.house.publisher();
        let (served, age) = match which {
            Which::Current => (publisher.current(who, gun, &role).await, Age::Current),
            Which::ByHash(hash) => {
                // The longer ones are hashes that nothing is found by.
                let hash = Sha256Digest::from_hex(&hash.to_ascii_lowercase()).map_err(|_| NotServed::NoMetadata)?;
                (publisher.by_hash(who, gun, &role, hash).await, Age::Consistent)
            }
            Which::ByVersion(digits) => {
                (publisher.by_version(who, gun, &role, version(&digits)?).await, Age::Consistent)
            }
        };
        // To whoever may not read it, it is not there.
        let served = served.map_err(|error| match error {
            PublishError::Denied { .. } => NotServed::NoMetadata,
            other => NotServed::of(other),
        })?;
        let max_age = match age {
            Age::Current => self.config.current_max_age,
            Age::Consistent => self.config.consistent_max_age,
        };
        // A cache on the way does not ask the policy.
        let readers = Readers::beside(who);
        let bytes = if served.is_own { self.unread.hold(served.bytes, visitor.address)? } else { served.bytes };
        Ok(answer::metadata(bytes, served.stored_at_unix_seconds, readers, (age, max_age)))
    }

    async fn changes(
        &self,
        scope: Option<Name>,
        request: &Request<Incoming>,
        visitor: &Visitor,
    ) -> Result<Answer, NotServed> {
        let gun = scope.map(|name| self.found(name)).transpose()?;
        let wanted = gun.as_ref().map_or(Wanted::Catalog, Wanted::pull);
        let who = self.who(request, visitor, &wanted)?;
        let window = changes::window(request.uri().query().unwrap_or_default())?;
        let found = self.house.publisher().changes(&who, gun.as_ref(), window).await;
        Ok(answer::changes(&changes::page(&found.map_err(NotServed::of_other)?)?))
    }

    /// The files of a publication, and their place among those that are held.
    async fn sent(&self, request: Request<Incoming>, sender: Sender) -> Result<Sent, NotServed> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = upload::boundary(content_type.unwrap_or_default()).map_err(|_| NotServed::MalformedUpload)?;
        let (body, held) = self.bodies.receive(request.into_body(), sender).await?;
        let is_long = body.len() > LONG_BYTES;
        let bodies = self.bodies.clone();
        let read = move || {
            let files = upload::read(&boundary, &body).map_err(|_| NotServed::MalformedUpload)?;
            let mut values_left = VALUES_MAX;
            let parts = files.iter().map(|file| Refusal::read_part(&file.name, &file.bytes, &mut values_left));
            let parts = parts.collect::<Result<Vec<_>, _>>().map_err(NotServed::Update)?;
            let values = bodies.hold_values(VALUES_MAX.saturating_sub(values_left), sender)?;
            let held = [held, values].into_iter().flat_map(Held::into_permits).collect();
            Ok(Sent { parts, held })
        };
        if !is_long {
            return read();
        }
        let reader = self.bodies.reader().await?;
        let reading = move || {
            let _reader = reader;
            read()
        };
        tokio::task::spawn_blocking(reading).await.map_err(|_| NotServed::Internal)?
    }

    /// How much room there is for what somebody sends. Nobody is refused here: what they send may make a difference to the
    /// policy, and only what was read to its end is answered in the policy's words.
    fn sender(&self, who: &Principal, gun: &Gun, visitor: &Visitor) -> Sender {
        let may = self.house.publisher().could_publish_some(who, gun);
        let standing = if may { Standing::Publisher } else { Standing::Stranger };
        Sender { address: visitor.address, standing }
    }

    /// A repository whose name is served here.
    fn name(&self, name: Name) -> Result<Gun, ()> {
        name.filter(|gun| self.config.serves(gun)).ok_or(())
    }

    /// The same for whoever does not publish: nothing is known of another name.
    fn found(&self, name: Name) -> Result<Gun, NotServed> {
        self.name(name).map_err(|()| NotServed::NotHere)
    }

    fn no_such_gun(&self) -> NotServed {
        NotServed::Gun { prefixes: self.config.gun_prefixes.clone() }
    }

    /// What is wrong, under the original's names for the two things that can be.
    fn troubles(&self) -> Vec<(&'static str, &'static str)> {
        let of = |trouble| match trouble {
            Trouble::Custody => Some(("Trust operational", "custody is unavailable")),
            Trouble::Sealed => Some(("Trust operational", "sealed")),
            Trouble::LogClosed => Some(("DB operational", "the log cannot be written")),
            Trouble::LogFull => Some(("DB operational", "the disk of the log is full")),
            Trouble::StoreClosed => Some(("DB operational", "the store cannot be written")),
            Trouble::StoreFull => Some(("DB operational", "the disk of the store is full")),
            // No key of a server's is in a token.
            Trouble::Token => None,
        };
        self.house.troubles().into_iter().filter_map(of).collect()
    }
}

/// A version as it stands in a path: digits, of which the first ones may be zeros.
fn version(digits: &str) -> Result<Version, NotServed> {
    let number = digits.parse::<i64>().map_err(|_| NotServed::NoNumber(digits.to_owned()))?;
    u64::try_from(number).ok().and_then(Version::new).ok_or(NotServed::NoMetadata)
}

impl KeyRole {
    const fn name(self) -> RoleName {
        match self {
            Self::Snapshot => RoleName::Snapshot,
            Self::Timestamp => RoleName::Timestamp,
        }
    }
}

/// What a request is counted as.
const fn operation(turn: &Turn) -> Operation {
    let Turn::To(route) = turn else { return Operation::Elsewhere };
    match route {
        Route::Ping => Operation::Ping,
        Route::Publish(_) => Operation::Publish,
        Route::Delete(_) => Operation::Delete,
        Route::File { which: Which::ByHash(_), .. } => Operation::GetByHash,
        Route::File { which: Which::ByVersion(_), .. } => Operation::GetByVersion,
        Route::File { which: Which::Current, .. } => Operation::GetCurrent,
        Route::Key { .. } => Operation::GetKey,
        Route::RotateKey { .. } => Operation::RotateKey,
        Route::Changes(_) => Operation::Changes,
        Route::Health => Operation::Health,
        Route::Metrics => Operation::Metrics,
        Route::Elsewhere => Operation::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_is_on_this_machine_is_local() {
        let is_local = |address: &str| Visitor { address: address.parse().unwrap(), peer: None }.is_local();

        for address in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(address), "{address}");
        }
        for address in ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::ffff:192.0.2.1", "::"] {
            assert!(!is_local(address), "{address}");
        }
    }

    #[test]
    fn strangers_are_told_apart_by_their_networks() {
        let from = |address: &str, who: &Principal| {
            let visitor = Visitor { address: address.parse().unwrap(), peer: None };
            visitor.stranger(who).map(|address| address.to_string())
        };
        let nobody = Principal::Anonymous(trust::principal::Name::parse("notary").unwrap());

        assert_eq!(from("192.0.2.1", &nobody).as_deref(), Some("192.0.2.1"));
        assert_eq!(from("::ffff:192.0.2.1", &nobody).as_deref(), Some("192.0.2.1"));
        assert_eq!(from("2001:db8::1", &nobody), from("2001:db8::2", &nobody));
        assert_ne!(from("2001:db8::1", &nobody), from("2001:db8:0:1::1", &nobody));
        assert_eq!((from("127.0.0.1", &nobody), from("192.0.2.1", &Principal::LocalUid(7))), (None, None));
    }
}
