//! What policy says to a publication, role by role, and to everything else about a repository.

use std::sync::Arc;

use trust::format::tuf::publish::Refusal;
use trust::format::tuf::{Gun, Part, RoleName};
use trust::principal::Service;
use trust::{KeyId, Principal};

use super::{Asked, PublishError, Publisher};
use crate::authorize::{
    Action, Decision, Denial, Grounds, KeyFacts, MetadataFacts, PublicationFacts, RequestFacts, SpeakerFacts,
    StatementFacts,
};
use crate::house::House;
use crate::records::{KeyRecord, KeyView};

/// Under what something is signed.
#[derive(Debug, Clone)]
pub(super) enum Warrant {
    /// Somebody publishes: policy is asked about each role.
    Publication(Publication),
    /// Somebody has a file signed whose repository lies elsewhere.
    Elsewhere(Elsewhere),
    /// The daemon signs with its owner's keys what is published with it.
    Owner(OwnerWork),
    /// The daemon takes over what another server has published: policy is asked about that, too.
    Adoption(OwnerWork),
    /// The daemon signs unchanged content anew; whoever published it was permitted to (D27).
    Renewal,
}

/// What somebody publishes, as far as policy sees it.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    who: Principal,
    gun: Gun,
    sent: Vec<RoleName>,
    /// Each role, with the version that was sent; without one where the daemon makes the file.
    roles: Vec<(RoleName, Option<i64>)>,
    is_new: bool,
}

/// A file of a repository that lies elsewhere, as far as policy sees it.
#[derive(Debug, Clone)]
pub(super) struct Elsewhere {
    pub(super) who: Principal,
    pub(super) gun: Gun,
    pub(super) role: RoleName,
    pub(super) version: u32,
}

impl Publication {
    /// Of what was sent; parts for the timestamp count for nothing.
    pub(super) fn of(who: &Principal, gun: &Gun, parts: &[Part], is_new: bool) -> Self {
        let sent = || parts.iter().filter(|part| *part.role() != RoleName::Timestamp);
        let mut roles: Vec<_> = sent().map(|part| (part.role().clone(), Some(part.stated_version()))).collect();
        if !sent().any(|part| *part.role() == RoleName::Snapshot) {
            roles.push((RoleName::Snapshot, None));
        }
        roles.push((RoleName::Timestamp, None));
        let sent = sent().map(|part| part.role().clone()).collect();
        Self { who: who.clone(), gun: gun.clone(), sent, roles, is_new }
    }
}

/// What the daemon does with its owner's keys: each key that signs is asked about, besides each role.
#[derive(Debug, Clone)]
pub(super) struct OwnerWork {
    publication: Publication,
    operation: &'static str,
    targets: Vec<String>,
    is_approval: bool,
    speakers: SpeakerFacts,
    uses: Vec<(Arc<KeyRecord>, RoleName)>,
    /// What others have signed of it before.
    earlier: Vec<Self>,
}

/// A signature that was made under another policy, and would not be allowed under the one in force.
#[derive(Debug, Clone)]
pub(super) struct Lapsed {
    who: Principal,
    role: Option<RoleName>,
    key: Option<KeyId>,
    denial: Denial,
}

impl Lapsed {
    /// Whose it is, and what can be done.
    pub(super) fn words(&self) -> String {
        let role = self.role.as_ref().map_or_else(String::new, |role| format!(" for {role}"));
        format!(
            "the signature{role} that {} has had made counts no more, for the policy does not allow it now: withdraw the \
             proposal and begin again",
            self.who
        )
    }
}

impl OwnerWork {
    /// Work on these roles of a repository, what it is called in policies, and about which names it is.
    pub(super) fn new(
        asked: &Asked,
        operation: &'static str,
        roles: Vec<RoleName>,
        targets: Vec<String>,
        is_new: bool,
    ) -> Self {
        let made = roles.iter().cloned().chain([RoleName::Snapshot, RoleName::Timestamp]);
        let publication = Publication {
            who: asked.who.clone(),
            gun: asked.gun.clone(),
            roles: made.map(|role| (role, None)).collect(),
            sent: roles,
            is_new,
        };
        let speakers = SpeakerFacts::default();
        let (uses, earlier) = (Vec::new(), Vec::new());
        Self { publication, operation, targets, is_approval: false, speakers, uses, earlier }
    }

    /// Taking over what is published so.
    pub(super) fn adopting(publication: Publication) -> Self {
        let (targets, speakers, uses) = (Vec::new(), SpeakerFacts::default(), Vec::new());
        let earlier = Vec::new();
        Self { publication, operation: "adopt", targets, is_approval: false, speakers, uses, earlier }
    }

    /// The same where this changes in who may sign.
    pub(super) fn changing(mut self, speakers: SpeakerFacts) -> Self {
        self.speakers = speakers;
        self
    }

    /// The same as a further signature of what somebody else began.
    pub(super) fn approving(mut self) -> Self {
        self.is_approval = true;
        self
    }

    /// The same with a key that signs a role's file.
    pub(super) fn using(mut self, key: &KeyView, role: &RoleName) -> Self {
        self.uses.push((Arc::clone(&key.record), role.clone()));
        self
    }

    /// The same behind what others have signed: it is allowed for as long as that is, too.
    pub(super) fn behind(mut self, earlier: Vec<Self>) -> Self {
        self.earlier = earlier;
        self
    }

    /// Whether the policy lets a key sign a role's file for it. Leaves no leaf: it is about which keys are taken.
    pub(super) fn could_use(&self, house: &House, key: &KeyRecord, role: &RoleName) -> bool {
        matches!(self.decision(house, key, role), Decision::Allow(_))
    }

    /// What policy is asked about a key.
    pub(super) fn with_facts<T>(&self, role: &RoleName, ask: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
        let Self { publication: Publication { gun, .. }, operation, targets, is_approval, speakers, .. } = self;
        let facts = MetadataFacts { gun, role, operation, targets, is_approval: *is_approval, speakers };
        ask(&RequestFacts { statement: Some(StatementFacts::Metadata(&facts)), ..RequestFacts::default() })
    }

    fn decision(&self, house: &House, key: &KeyRecord, role: &RoleName) -> Decision {
        let who = &self.publication.who;
        let key = KeyFacts::Known(key);
        self.with_facts(role, |facts| house.authorizer().decide(who, Action::SignMetadata, Some(&key), facts))
    }

    fn grounds(&self, house: &House) -> Result<Grounds, PublishError> {
        let mut all = self.publication.grounds(house)?;
        for (key, role) in &self.uses {
            match self.decision(house, key, role) {
                Decision::Allow(grounds) => all = together(Some(all), grounds)?,
                Decision::Deny(denial) => {
                    let Publication { who, gun, .. } = &self.publication;
                    house.note_refusal_of(gun, who, Action::SignMetadata, denial.name(), Some(key.id));
                    return Err(PublishError::Denied { words: None });
                }
            }
        }
        for earlier in &self.earlier {
            match earlier.still(house)? {
                Ok(grounds) => all = together(Some(all), grounds)?,
                Err(lapsed) => {
                    let Publication { who, gun, .. } = &self.publication;
                    house.note_refusal_of(gun, who, Action::SignMetadata, lapsed.denial.name(), lapsed.key);
                    return Err(Refusal::Validation(lapsed.words()).into());
                }
            }
        }
        Ok(all)
    }

    /// What the policy in force says to what was signed under an earlier one. Leaves no leaf.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when the policy was changed while it was asked.
    pub(super) fn still(&self, house: &House) -> Result<Result<Grounds, Lapsed>, PublishError> {
        let Publication { who, gun, .. } = &self.publication;
        let mut all: Option<Grounds> = None;
        let of_roles = self.publication.roles.iter().map(|(role, version)| {
            let ask = |facts: &RequestFacts<'_>| house.authorizer().decide_on(who, Action::Publish, gun, facts).0;
            (None, self.publication.with_facts(role, *version, ask))
        });
        let of_keys = self.uses.iter().map(|(key, role)| (Some((key, role)), self.decision(house, key, role)));
        for (signed, decision) in of_roles.chain(of_keys) {
            match decision {
                Decision::Allow(grounds) => all = Some(together(all, grounds)?),
                Decision::Deny(denial) => {
                    let role =
                        signed.map(|(_, role)| role).or_else(|| self.uses.first().map(|(_, role)| role)).cloned();
                    let key = signed.map(|(key, _)| key.id);
                    return Ok(Err(Lapsed { who: who.clone(), role, key, denial }));
                }
            }
        }
        all.map(Ok).ok_or(PublishError::NotFound)
    }
}

impl Warrant {
    /// In whose name it is signed.
    pub(super) fn principal(&self) -> Principal {
        match self {
            Self::Publication(publication) => publication.who.clone(),
            Self::Elsewhere(elsewhere) => elsewhere.who.clone(),
            Self::Adoption(work) | Self::Owner(work) => work.publication.who.clone(),
            Self::Renewal => Principal::Service(Service::Timestamp),
        }
    }

    /// Asks the policy that is in force; of the roles that are denied the first is on record.
    pub(super) fn grounds(&self, house: &House) -> Result<Grounds, PublishError> {
        match self {
            Self::Publication(publication) => publication.grounds(house),
            Self::Elsewhere(Elsewhere { who, gun, role, version }) => {
                may_sign_elsewhere(house, who, gun, role, Some(*version))
            }
            Self::Adoption(work) => {
                let Publication { who, gun, .. } = &work.publication;
                let grounds = decide(house, who, Action::AdoptTrust, gun, &RequestFacts::default())?;
                together(Some(grounds), work.grounds(house)?)
            }
            Self::Owner(work) => work.grounds(house),
            Self::Renewal => Ok(Grounds { policies: Vec::new(), revision: house.authorizer().revision() }),
        }
    }
}

impl Publication {
    fn grounds(&self, house: &House) -> Result<Grounds, PublishError> {
        let mut all: Option<Grounds> = None;
        for (role, version) in &self.roles {
            let ask = |facts: &RequestFacts<'_>| decide(house, &self.who, Action::Publish, &self.gun, facts);
            let grounds = self.with_facts(role, *version, ask)?;
            all = Some(together(all, grounds)?);
        }
        all.ok_or(PublishError::NotFound)
    }

    /// What policy is asked about a role.
    fn with_facts<T>(&self, role: &RoleName, version: Option<i64>, ask: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
        let facts = PublicationFacts { role, version, sent: &self.sent, is_new: self.is_new };
        let statement = Some(StatementFacts::Publication(&facts));
        ask(&RequestFacts { statement, ..RequestFacts::default() })
    }
}

/// What two questions were answered with, of one and the same policy.
pub(super) fn together(before: Option<Grounds>, grounds: Grounds) -> Result<Grounds, PublishError> {
    let Some(mut all) = before else { return Ok(grounds) };
    if all.revision != grounds.revision {
        // Loaded anew in between: what was asked before is not answered by it.
        return Err(PublishError::Busy);
    }
    all.policies.extend(grounds.policies);
    all.policies.sort_unstable();
    all.policies.dedup();
    Ok(all)
}

impl Publisher<'_> {
    /// Whether the principal may do this to the repository. A denial is on record.
    pub(super) fn allow(self, who: &Principal, action: Action, gun: &Gun) -> Result<Grounds, PublishError> {
        answered(self.0, who, action, gun, self.0.authorizer().decide_plainly_on(who, action, gun))
    }

    /// Whether the principal may publish a role that the daemon signs: then it is told the key for it.
    pub(super) fn may_publish(
        self,
        who: &Principal,
        gun: &Gun,
        role: &RoleName,
        is_new: bool,
    ) -> Result<Grounds, PublishError> {
        let facts = PublicationFacts { role, version: None, sent: &[], is_new };
        let statement = Some(StatementFacts::Publication(&facts));
        let facts = RequestFacts { statement, ..RequestFacts::default() };
        decide(self.0, who, Action::Publish, gun, &facts)
    }

    /// Whether the policy lets the principal publish here. Leaves no leaf: it is about what is shown.
    pub(super) fn could_publish(self, who: &Principal, gun: &Gun) -> bool {
        self.could(who, gun, false)
    }

    /// The same of a repository that may be new, before anything was sent. Leaves no leaf: it is about how much of it is
    /// received.
    pub(crate) fn could_publish_some(self, who: &Principal, gun: &Gun) -> bool {
        let is_new = self.0.records().own_marks(gun).is_ok_and(|marks| !marks.is_alive);
        self.could(who, gun, is_new)
    }

    fn could(self, who: &Principal, gun: &Gun, is_new: bool) -> bool {
        let facts = PublicationFacts { role: &RoleName::Timestamp, version: None, sent: &[], is_new };
        let statement = Some(StatementFacts::Publication(&facts));
        let facts = RequestFacts { statement, ..RequestFacts::default() };
        matches!(self.0.authorizer().decide_on(who, Action::Publish, gun, &facts).0, Decision::Allow(_))
    }

    /// On what grounds the policy lets the principal delete the trust data here. Leaves no leaf: it is one of several ways
    /// to be allowed less.
    pub(super) fn could_delete(self, who: &Principal, gun: &Gun) -> Option<Grounds> {
        match self.0.authorizer().decide_on(who, Action::DeleteTrust, gun, &RequestFacts::default()).0 {
            Decision::Allow(grounds) => Some(grounds),
            Decision::Deny(_) => None,
        }
    }

    /// Whether the principal may read the repository: whoever may not reads that there is nothing (D28).
    pub(super) fn may_read(self, who: &Principal, gun: &Gun) -> Result<(), PublishError> {
        self.allow(who, Action::ReadTrust, gun).map(|_| ()).map_err(|_| PublishError::NotFound)
    }
}

/// Whether the principal may have a key for a role of a repository that lies elsewhere, or a version of it signed.
pub(super) fn may_sign_elsewhere(
    house: &House,
    who: &Principal,
    gun: &Gun,
    role: &RoleName,
    version: Option<u32>,
) -> Result<Grounds, PublishError> {
    let statement = Some(StatementFacts::Elsewhere { role, version });
    decide(house, who, Action::SignTrust, gun, &RequestFacts { statement, ..RequestFacts::default() })
}

fn decide(
    house: &House,
    who: &Principal,
    action: Action,
    gun: &Gun,
    facts: &RequestFacts<'_>,
) -> Result<Grounds, PublishError> {
    answered(house, who, action, gun, house.authorizer().decide_on(who, action, gun, facts))
}

fn answered(
    house: &House,
    who: &Principal,
    action: Action,
    gun: &Gun,
    answer: (Decision, Option<String>),
) -> Result<Grounds, PublishError> {
    match answer {
        (Decision::Allow(grounds), _) => Ok(grounds),
        (Decision::Deny(denial), words) => {
            house.note_refusal_of(gun, who, action, denial.name(), None);
            Err(PublishError::Denied { words })
        }
    }
}
