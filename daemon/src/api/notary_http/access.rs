//! Who asks at the Notary door, and what a token has to grant (SPEC §2.2, §2.5).

use http::Request;
use http::header::AUTHORIZATION;
use tracing::debug;
use trust::Principal;
use trust::format::tuf::Gun;
use trust::principal::Name;

use super::refusal::{Need, NotServed};
use super::{NotaryDoor, Visitor};
use crate::config::{BearerConfig, NotaryAuth};
use crate::identity::{Bearer, Grant};

/// What this door is called in the principal of those who say nothing of themselves.
const LISTENER: &str = "notary";

/// What a request needs.
pub(super) enum Wanted {
    /// What is about no repository.
    Catalog,
    /// What is about one: the actions, as the challenge and the error list them.
    Repository { name: String, scope: &'static str, actions: &'static [&'static str] },
}

impl Wanted {
    pub(super) fn pull(gun: &Gun) -> Self {
        Self::Repository { name: gun.to_string(), scope: "pull", actions: &["pull"] }
    }

    pub(super) fn push(gun: &Gun) -> Self {
        Self::Repository { name: gun.to_string(), scope: "pull,push", actions: &["push", "pull"] }
    }

    pub(super) fn all(gun: &Gun) -> Self {
        Self::Repository { name: gun.to_string(), scope: "*", actions: &["*"] }
    }

    fn needs(&self) -> Vec<Need> {
        match self {
            Self::Catalog => vec![Need { kind: "registry", class: "", name: "catalog".to_owned(), action: "*" }],
            Self::Repository { name, actions, .. } => {
                let need = |action: &&'static str| Need { kind: "repository", class: "", name: name.clone(), action };
                actions.iter().map(need).collect()
            }
        }
    }

    fn scope(&self) -> String {
        match self {
            Self::Catalog => "registry:catalog:*".to_owned(),
            Self::Repository { name, scope, .. } => format!("repository:{name}:{scope}"),
        }
    }

    fn is_granted(&self, grant: &Grant) -> bool {
        self.needs().iter().all(|need| grant.covers(need.kind, &need.name, need.action))
    }

    /// Where a token for it is had. Realm and service are of the configuration, which holds no quotes; nor does a name.
    fn challenge(&self, config: &BearerConfig, error: Option<&str>) -> String {
        let (realm, service, scope) = (&config.realm, &config.service, self.scope());
        let error = error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
        format!("Bearer realm=\"{realm}\",service=\"{service}\",scope=\"{scope}\"{error}")
    }
}

impl NotaryDoor {
    /// Who asks, as certificate or token prove it now, held to its rate: whoever has no name to that of their address.
    pub(super) fn who<T>(
        &self,
        request: &Request<T>,
        visitor: &Visitor,
        wanted: &Wanted,
    ) -> Result<Principal, NotServed> {
        let who = self.proven(request, visitor, wanted)?;
        match visitor.stranger(&who) {
            Some(from) => {
                self.strangers.take(&from, self.house.clock().monotonic()).map_err(|_| {
                    self.house.metrics().rate_limited();
                    NotServed::Busy
                })?;
            }
            None => self.house.pace(&who).map_err(|_| NotServed::Busy)?,
        }
        Ok(who)
    }

    fn proven<T>(&self, request: &Request<T>, visitor: &Visitor, wanted: &Wanted) -> Result<Principal, NotServed> {
        let now = self.house.clock().now_unix_seconds();
        let token = request.headers().get(AUTHORIZATION).and_then(|value| bearer_of(value.to_str().ok()?));
        let identity = &self.house.parts.identity;
        // Who logged in to the registry says more of himself than his machine's certificate does.
        match (identity.bearer(), token, &visitor.peer) {
            (Some(bearer), Some(token), _) => self.by_token(bearer, token, wanted, now),
            (_, _, Some(peer)) => identity.notary_certificate(peer, now).map_err(|fault| {
                debug!(cause = fault.cause().map(tracing::field::display), "a certificate is not accepted");
                self.unauthorized(wanted, None)
            }),
            (Some(_), None, None) => Err(self.unauthorized(wanted, None)),
            (None, _, None) => match self.config.auth {
                NotaryAuth::None => anonymous(),
                NotaryAuth::Certificate | NotaryAuth::Token(_) => Err(self.unauthorized(wanted, None)),
            },
        }
    }

    fn by_token(&self, bearer: &Bearer, token: &str, wanted: &Wanted, now: u64) -> Result<Principal, NotServed> {
        // One look at a file, once in a second.
        bearer.follow(now);
        let grant = bearer.read(token, now).map_err(|refusal| {
            debug!(%refusal, "a token is not believed");
            self.unauthorized(wanted, Some("invalid_token"))
        })?;
        if !wanted.is_granted(&grant) {
            return Err(self.unauthorized(wanted, Some("insufficient_scope")));
        }
        match grant.account {
            Some(account) => Ok(account),
            None => anonymous(),
        }
    }

    fn unauthorized(&self, wanted: &Wanted, error: Option<&str>) -> NotServed {
        let config = self.house.parts.identity.bearer().map(Bearer::config);
        NotServed::Unauthorized {
            challenge: config.map(|config| wanted.challenge(config, error)),
            needs: wanted.needs(),
        }
    }
}

fn anonymous() -> Result<Principal, NotServed> {
    Name::parse(LISTENER).map(Principal::Anonymous).map_err(|_| NotServed::Internal)
}

/// The token of an `Authorization` header (RFC 6750 §2.1).
fn bearer_of(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
