//! `trustctl trust approve`, `trustctl trust withdraw`: what waits for the signatures of several holders, and how it looks.

use serde::Serialize;
use trust::Sha256Digest;
use trust_proto::v1;

use super::own_key::OwnKey;
use super::shown::{Key, Role, Target};
use super::{TrustChange, show};
use crate::command_line::trust::{TrustApprove, TrustProposed};
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::{Exit, Failure, printable};
use crate::output::{Paint, Shown};
use crate::time::rfc3339;

/// Files that wait for signatures.
#[derive(Debug, Serialize)]
pub(super) struct Proposal {
    digest: String,
    begun_by: String,
    begun_at: String,
    /// Until when it can be signed.
    until: String,
    operation: String,
    files: Vec<File>,
    /// Roles whose files would count no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lapses: Vec<String>,
    /// Why it cannot be signed any more, or not be published as it is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<String>,
}

/// One of them, and what is other in it than in the one that is published.
#[derive(Debug, Serialize)]
struct File {
    role: String,
    version: u32,
    digest: String,
    /// Of root two: of those who speak for it, and of those who spoke before.
    quorums: Vec<Quorum>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signs: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revokes: Vec<String>,
    /// As they would be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    removes: Vec<String>,
    /// What is published counts no more: all that this says would count again.
    #[serde(skip_serializing_if = "is_false")]
    anew: bool,
    /// How many names are not told here.
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u32,
}

#[derive(Debug, Serialize)]
struct Quorum {
    threshold: u32,
    signed: Vec<Key>,
    /// Those that may still.
    open: Vec<Key>,
}

/// A proposal that is gone.
#[derive(Debug, Serialize)]
struct Withdrawn {
    #[serde(rename = "result")]
    done: &'static str,
    repository: String,
    digest: String,
}

/// `trustctl trust approve REPOSITORY DIGEST [--key FILE]`
pub(super) async fn approve(context: &Context, arguments: &TrustApprove) -> Result<(), Failure> {
    let (repository, digest) = named(&arguments.proposed)?;
    let words = arguments.proposed.repository.words();
    // Before a daemon is asked: a file that is no key needs none.
    let file = arguments.key.as_deref();
    let own = file.map(|file| OwnKey::read(file, arguments.passphrase_file.as_deref())).transpose()?;
    let daemon = context.daemon().await?;
    let look = v1::InspectTrustRequest {
        repository: repository.clone(),
        page_size: 1,
        with_bytes: own.is_some(),
        ..v1::InspectTrustRequest::default()
    };
    let proposal = waiting(&daemon, look, &words, digest).await?;
    let signatures = own.map_or_else(|| Ok(Vec::new()), |own| own.sign(&proposal))?;
    let request = v1::ApproveProposalRequest { repository: repository.clone(), digest: digest.to_string(), signatures };
    let answer = daemon.content_trust().approve_proposal(request).await;
    let answer = answer.map_err(|status| not_done(status, &words))?.into_inner();
    let about = format!("{digest} of {repository}");
    show(context, &TrustChange::read("approved", about, answer.change)?, &words)
}

/// `trustctl trust withdraw REPOSITORY DIGEST`
pub(super) async fn withdraw(context: &Context, arguments: &TrustProposed) -> Result<(), Failure> {
    let (repository, digest) = named(arguments)?;
    let request = v1::WithdrawProposalRequest { repository: repository.clone(), digest: digest.to_string() };
    let answer = context.daemon().await?.content_trust().withdraw_proposal(request).await;
    answer.map_err(|status| not_done(status, &arguments.repository.words()))?;
    context.output.show(&Withdrawn { done: "withdrawn", repository, digest: digest.to_string() })
}

fn named(arguments: &TrustProposed) -> Result<(String, Sha256Digest), Failure> {
    Ok((arguments.repository.gun()?.to_string(), arguments.digest.parse()?))
}

/// What waits, if the daemon shows, file by file, what the digest means.
async fn waiting(
    daemon: &Daemon,
    request: v1::InspectTrustRequest,
    words: &str,
    digest: Sha256Digest,
) -> Result<v1::TrustProposal, Failure> {
    let repository = request.repository.clone();
    let answer = daemon.content_trust().inspect_trust(request).await;
    let proposal = answer.map_err(|status| not_done(status, words))?.into_inner().proposal;
    let look = format!("trustctl trust inspect {words}");
    let Some(proposal) = proposal else {
        return Err(Failure::refused(format!("nothing waits for signatures in {repository}"), look));
    };
    let shown = meaning(&proposal);
    if shown.to_string() != proposal.digest {
        let what = format!("the daemon shows other files than those that {} means", proposal.digest);
        return Err(Failure::other(what, "look at the daemon; nothing was signed"));
    }
    if shown != digest {
        let what = format!("another proposal waits in {repository} than the one that you name: {shown}");
        return Err(Failure::refused(what, format!("look at it first: {look}")));
    }
    Ok(proposal)
}

/// What a proposal's files are known by.
fn meaning(proposal: &v1::TrustProposal) -> Sha256Digest {
    let lines = proposal.files.iter().map(|file| format!("{} {}\n", file.role, file.digest));
    Sha256Digest::of(lines.collect::<Vec<_>>().concat().as_bytes())
}

fn not_done(status: tonic::Status, repository: &str) -> Failure {
    let remedy = format!("`trustctl trust inspect {repository}` shows what waits, what it changes and who may sign it");
    Failure::from(status).refusal_remedied_by(&remedy)
}

impl Proposal {
    pub(super) fn read(proposal: v1::TrustProposal) -> Self {
        Self {
            digest: proposal.digest,
            begun_by: proposal.begun_by,
            begun_at: rfc3339(proposal.begun_at_unix_seconds),
            until: rfc3339(proposal.ends_at_unix_seconds),
            operation: proposal.operation,
            files: proposal.files.into_iter().map(File::read).collect(),
            lapses: proposal.lapses,
            over: Some(proposal.over).filter(|why| !why.is_empty()),
        }
    }

    /// Its files, each with how far its signatures are.
    pub(super) fn progress(&self) -> Vec<String> {
        self.files.iter().map(File::progress).collect()
    }

    /// Why a command that was to publish ends otherwise.
    pub(super) fn waiting(&self, repository: &str) -> Failure {
        let what = format!("nothing is published yet: {}", self.progress().join("; "));
        let remedy = format!(
            "until {} another holder looks at it (trustctl trust inspect) and signs it: trustctl trust approve {repository} {}",
            self.until, self.digest
        );
        Failure::new(Exit::Waiting, what, remedy)
    }

    pub(super) fn lines(&self, paint: Paint) -> Vec<String> {
        let by = format!("  waits for signatures until {}: {} by {}", self.until, self.operation, self.begun_by);
        let mut lines = vec![printable(&by), format!("    {}", paint.strong(&self.digest))];
        lines.extend(self.over.iter().map(|why| paint.bad(&format!("    cannot be signed any more: {why}"))));
        lines.extend(self.files.iter().flat_map(|file| file.lines(paint)));
        lines.extend(self.lapses.iter().map(|role| {
            let words = format!("    {role} would count no more until those who may sign it anew");
            paint.bad(&printable(&words))
        }));
        lines
    }
}

impl File {
    fn read(file: v1::ProposedFile) -> Self {
        Self {
            role: file.role,
            version: file.version,
            digest: file.digest,
            quorums: file.quorums.into_iter().map(Quorum::read).collect(),
            signs: file.signs.into_iter().map(Target::read).collect(),
            revokes: file.revokes,
            roles: file.roles.into_iter().map(Role::read).collect(),
            removes: file.removes,
            anew: file.anew,
            left_out: file.left_out,
        }
    }

    fn progress(&self) -> String {
        let counts = self.quorums.iter().map(|of| format!("{} of {} signatures", of.signed.len(), of.threshold));
        let counts = counts.collect::<Vec<_>>().join(" and ");
        printable(&format!("{} version {} has {counts}", self.role, self.version))
    }

    fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = vec![format!("    {}", self.progress())];
        for quorum in &self.quorums {
            lines.extend(
                quorum.signed.iter().map(|key| format!("      {} {}", paint.good("signed by"), key.words(paint))),
            );
            lines.extend(quorum.open.iter().map(|key| format!("      may sign {}", key.words(paint))));
        }
        if self.anew {
            lines.push(
                paint.bad("      what is published counts no more: with this, all that it says would count again"),
            );
        }
        let signs = self.signs.iter().map(|target| format!("      signs {}  {}", target.tag, target.digest));
        let revokes = self.revokes.iter().map(|name| format!("      revokes {name}"));
        let removes = self.removes.iter().map(|role| format!("      {role} may sign no more"));
        lines.extend(signs.chain(revokes).chain(removes).map(|line| printable(&line)));
        if self.left_out > 0 {
            lines.push(paint.bad(&format!("      and {} names more, which are not shown", self.left_out)));
        }
        lines.extend(self.roles.iter().flat_map(|role| role.proposed(paint)).map(|line| format!("    {line}")));
        lines
    }
}

/// Left out of what machines read.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Quorum {
    fn read(quorum: v1::ProposedQuorum) -> Self {
        let keys = |keys: Vec<v1::TrustKey>| keys.into_iter().map(Key::read).collect();
        Self { threshold: quorum.threshold, signed: keys(quorum.signed), open: keys(quorum.open) }
    }
}

impl Shown for Withdrawn {
    fn text(&self, paint: Paint) -> String {
        format!("{} {} of {}", paint.good(self.done), self.digest, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> v1::TrustProposal {
        let key = |id: &str, name: &str| v1::TrustKey { id: id.repeat(32), name: name.to_owned() };
        let digest = Sha256Digest::of(b"signed").to_string();
        let quorum = v1::ProposedQuorum { threshold: 2, signed: vec![key("ab", "qa/1")], open: vec![key("cd", "")] };
        let signs =
            vec![v1::TrustTarget { name: "1.0".to_owned(), digest: digest.clone(), ..v1::TrustTarget::default() }];
        let role = "targets/qa".to_owned();
        let file =
            v1::ProposedFile { role, version: 3, digest, quorums: vec![quorum], signs, ..v1::ProposedFile::default() };
        let mut proposal = v1::TrustProposal { begun_by: "uid:7".to_owned(), ..v1::TrustProposal::default() };
        proposal.files = vec![file];
        proposal.digest = meaning(&proposal).to_string();
        proposal
    }

    #[test]
    fn who_has_signed_and_who_may_is_told() {
        let text = Proposal::read(wire()).lines(Paint::default()).join("\n");

        for words in [
            "by uid:7",
            "targets/qa version 3 has 1 of 2 signatures",
            "signed by abababababab  qa/1",
            "may sign cdcdcdcdcdcd  not here",
            "signs 1.0  sha256:",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("any more"), "{text}");
        let stale = v1::TrustProposal { over: "its time is over".to_owned(), ..wire() };
        assert!(Proposal::read(stale).lines(Paint::default()).join("\n").contains("any more: its time is over"));
    }

    #[test]
    fn an_approver_is_told_what_would_lapse_and_what_would_count_again() {
        let mut wire = wire();
        assert!(!Proposal::read(wire.clone()).lines(Paint::default()).join("\n").contains("count"));
        wire.lapses = vec!["targets/releases".to_owned()];
        wire.files[0].anew = true;
        wire.files[0].left_out = 7;

        let text = Proposal::read(wire).lines(Paint::default()).join("\n");

        for words in [
            "targets/releases would count no more until those who may sign it anew",
            "what is published counts no more: with this, all that it says would count again",
            "and 7 names more, which are not shown",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_command_that_only_proposes_ends_with_a_code_of_its_own() {
        let waiting = Proposal::read(wire()).waiting("r.example/app");

        assert_eq!(waiting.exit().code(), 5);
        assert!(waiting.what().contains("targets/qa version 3 has 1 of 2 signatures"), "{waiting:?}");
        assert!(waiting.remedy().contains("trustctl trust approve r.example/app sha256:"), "{waiting:?}");
    }

    #[test]
    fn a_digest_means_every_file_in_its_order() {
        let mut other = wire();
        other.files[0].role = "targets/releases".to_owned();
        assert_ne!(meaning(&other), meaning(&wire()));
        other = wire();
        other.files.push(other.files[0].clone());
        assert_ne!(meaning(&other), meaning(&wire()));
    }
}
