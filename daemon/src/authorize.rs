//! Who may do what: Cedar policies over a fixed schema.
//!
//! A policy is taken whole or refused whole, with every fault named. Nothing
//! that is not permitted is allowed, and an error in any policy is a denial:
//! Cedar alone would skip a `forbid` that errs, and fail open (D27).

mod action;
mod bounds;
mod facts;
mod pace;
mod policy;
mod scene;

use std::sync::Arc;

use arc_swap::ArcSwap;
use cedar_policy::{Authorizer as Cedar, Context, Decision as CedarDecision, Request};
use tracing::warn;
use trust::format::tuf::Gun;
use trust::{Principal, Sha256Digest};

pub(crate) use action::Action;
pub(crate) use facts::{
    Evidence, KeyFacts, MetadataFacts, PublicationFacts, RequestFacts, SpeakerFacts, StatementFacts,
};
pub(crate) use pace::Pace;
pub(crate) use policy::{Policy, PolicyError, PolicySource};

use scene::{Scene, Scenes};

/// The most policies that a leaf cites; the revision fixes the rest.
const NAMED_MAX: usize = 32;

/// Decides by the policy that is in force.
pub(crate) struct Authorizer {
    source: PolicySource,
    in_force: ArcSwap<Policy>,
    scenes: Scenes,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Allowed.
    Allow(Grounds),
    /// Denied, for this reason (for logs and leaves; the caller may not read it).
    Deny(Denial),
}

/// On what grounds it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grounds {
    /// The policies that said yes.
    pub(crate) policies: Vec<String>,
    /// The revision they stand in.
    pub(crate) revision: Sha256Digest,
}

/// Why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// No policy permits it.
    NotPermitted,
    /// A policy forbids it.
    Forbidden,
    /// A policy could not be evaluated.
    Error,
}

impl Denial {
    /// The word for it in leaves.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "not-permitted",
            Self::Forbidden => "forbidden",
            Self::Error => "policy-error",
        }
    }
}

impl Authorizer {
    /// Loads the policy.
    ///
    /// # Errors
    /// [`PolicyError`] names every fault of it.
    pub(crate) fn load(source: PolicySource) -> Result<Self, PolicyError> {
        let policy = Policy::load(&source)?;
        Ok(Self { source, in_force: ArcSwap::from_pointee(policy), scenes: Scenes::default() })
    }

    /// Loads the policy again and puts it into force; true when it is another one.
    ///
    /// # Errors
    /// [`PolicyError`]; the old one then stays in force.
    pub(crate) fn reload(&self) -> Result<bool, PolicyError> {
        let policy = Policy::load(&self.source)?;
        let is_other = policy.revision() != self.revision();
        self.in_force.store(Arc::new(policy));
        Ok(is_other)
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.in_force.load_full()
    }

    /// SHA-256 over policy and schema.
    pub(crate) fn revision(&self) -> Sha256Digest {
        self.in_force.load().revision()
    }

    /// Decides one question.
    pub(crate) fn decide(
        &self,
        principal: &Principal,
        action: Action,
        key: Option<&KeyFacts<'_>>,
        request: &RequestFacts<'_>,
    ) -> Decision {
        let scene = self.scenes.of(principal, key);
        self.answer(scene.as_deref(), action, request).0
    }

    /// Decides one question about a repository of trust data. With a denial come the words of the first policy that
    /// forbids it and has some.
    pub(crate) fn decide_on(
        &self,
        principal: &Principal,
        action: Action,
        gun: &Gun,
        request: &RequestFacts<'_>,
    ) -> (Decision, Option<String>) {
        self.answer(self.scenes.of_gun(principal, gun).as_deref(), action, request)
    }

    /// The same of a question in which nothing else counts, as everybody asks it who reads: it is not evaluated again while
    /// the policy stays.
    pub(crate) fn decide_plainly_on(
        &self,
        principal: &Principal,
        action: Action,
        gun: &Gun,
    ) -> (Decision, Option<String>) {
        let scene = self.scenes.of_gun(principal, gun);
        let revision = self.revision();
        if let Some(grounds) = scene.as_ref().and_then(|scene| scene.allowed(action, revision)) {
            return (Decision::Allow(grounds), None);
        }
        let answer = self.answer(scene.as_deref(), action, &RequestFacts::default());
        if let (Some(scene), (Decision::Allow(grounds), _)) = (scene, &answer) {
            scene.allow(action, grounds.clone());
        }
        answer
    }

    fn answer(&self, scene: Option<&Scene>, action: Action, request: &RequestFacts<'_>) -> (Decision, Option<String>) {
        let policy = self.in_force.load();
        let question = scene.and_then(|scene| Some((question(scene, action, request)?, scene)));
        let Some((question, scene)) = question else {
            warn!(stage = "authorize", action = action.name(), "a question that cannot be asked is denied");
            return (Decision::Deny(Denial::Error), None);
        };
        let response = Cedar::new().is_authorized(&question, policy.set(), &scene.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            warn!(stage = "authorize", action = action.name(), %error, "a policy that errs denies");
            return (Decision::Deny(Denial::Error), None);
        }
        let mut policies: Vec<String> = response.diagnostics().reason().map(|id| policy.name_of(id)).collect();
        policies.sort_unstable();
        policies.truncate(NAMED_MAX);
        match response.decision() {
            CedarDecision::Allow => (Decision::Allow(Grounds { policies, revision: policy.revision() }), None),
            CedarDecision::Deny if policies.is_empty() => (Decision::Deny(Denial::NotPermitted), None),
            CedarDecision::Deny => {
                let words = response.diagnostics().reason().filter_map(|id| policy.words_of(id)).min();
                (Decision::Deny(Denial::Forbidden), words.map(ToOwned::to_owned))
            }
        }
    }
}

fn question(scene: &Scene, action: Action, request: &RequestFacts<'_>) -> Option<Request> {
    let context = Context::from_pairs(facts::context(action, request)).ok()?;
    Request::new(scene.who.clone(), action.uid(), scene.what.clone(), context, None).ok()
}

#[cfg(test)]
mod tests;
