//! `trustctl trust …`: what docker's content trust reads, signed with keys that the daemon holds.
//!
//! Nothing of it is kept on this machine. What a tag means is read from the registry here, and shown to the daemon by its
//! manifest, which hashes it itself.

mod delegate;
mod own_key;
mod proposal;
mod rotate;
mod shown;

use tonic::Code;
use trust::format::tuf::RoleName;
use trust::{KeyName, Reference};
use trust_proto::v1;

use crate::command_line::trust::{TrustCommand, TrustInit, TrustInspect, TrustName, TrustSign};
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::image;
use crate::registry::Manifest;
use shown::Inspected;

pub(crate) use shown::TrustChange;

/// The most tags of one page.
const PAGE: u32 = 1000;
/// The most tags that are shown.
const TARGETS_MAX: usize = 1_000_000;

/// Runs `trustctl trust …`.
pub(crate) async fn run(context: &Context, command: TrustCommand) -> Result<(), Failure> {
    match command {
        TrustCommand::Init(arguments) => init(context, arguments).await,
        TrustCommand::Sign(arguments) => sign(context, &arguments).await,
        TrustCommand::Revoke(arguments) => revoke(context, &arguments).await,
        TrustCommand::Inspect(arguments) => inspect(context, &arguments).await,
        TrustCommand::Delegate(command) => delegate::run(context, command).await,
        TrustCommand::Rotate(arguments) => rotate::rotate(context, arguments).await,
        TrustCommand::Witness(arguments) => rotate::witness(context, &arguments).await,
        TrustCommand::Approve(arguments) => proposal::approve(context, &arguments).await,
        TrustCommand::Withdraw(arguments) => proposal::withdraw(context, &arguments).await,
    }
}

async fn init(context: &Context, arguments: TrustInit) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    for key in [&arguments.root_key, &arguments.targets_key].into_iter().flatten() {
        key.parse::<KeyName>()?;
    }
    let request = v1::InitTrustRequest {
        repository: repository.clone(),
        root_key: arguments.root_key.unwrap_or_default(),
        targets_key: arguments.targets_key.unwrap_or_default(),
        token: arguments.token.unwrap_or_default(),
    };
    let answer = context.daemon().await?.content_trust().init_trust(request).await;
    let answer = answer.map_err(|status| {
        Failure::from(status).refusal_remedied_by(
            "`trustctl trust inspect REPOSITORY` shows trust data that is there, `trustctl key list` keys you may use; \
             which names are served says the daemon's configuration",
        )
    })?;
    context.output.show(&TrustChange::read("begun", repository, answer.into_inner().change)?)
}

async fn sign(context: &Context, arguments: &TrustSign) -> Result<(), Failure> {
    let roles = roles(&arguments.role)?;
    let (reference, manifest) = image::whole(context, &arguments.reference).await?;
    let change = sign_tag(&context.daemon().await?, &reference, &manifest, roles).await?;
    show(context, &change, &reference.repository.to_string())
}

/// Shows what was done. What only waits is not published, and the command says so with its exit code.
fn show(context: &Context, change: &TrustChange, repository: &str) -> Result<(), Failure> {
    context.output.show(change)?;
    change.check_published(repository)
}

/// Whether the daemon has trust data of the image's repository, as far as the caller may know.
///
/// # Errors
/// When the daemon cannot say: absence is not assumed.
pub(crate) async fn is_kept(context: &Context, daemon: &Daemon, reference: &Reference) -> Result<bool, Failure> {
    let (repository, tag) = (reference.repository.to_string(), reference.tag.to_string());
    let request = v1::InspectTrustRequest { repository, tag, page_size: 1, ..v1::InspectTrustRequest::default() };
    let Err(status) = daemon.content_trust().inspect_trust(request).await else { return Ok(true) };
    match status.code() {
        // A name that trust data cannot have, and a daemon that is older than it, are answered with the other two.
        Code::NotFound | Code::InvalidArgument | Code::Unimplemented => Ok(false),
        Code::PermissionDenied => {
            context.output.remark("you may not read trust data: if the repository has some, it stays as it is");
            Ok(false)
        }
        _ => Err(status.into()),
    }
}

/// Has a tag signed, and holds the answer against what was shown.
///
/// # Errors
/// What the daemon says, and when it signed something else.
pub(crate) async fn sign_tag(
    daemon: &Daemon,
    reference: &Reference,
    manifest: &Manifest,
    roles: Vec<String>,
) -> Result<TrustChange, Failure> {
    let request = v1::SignTargetRequest {
        repository: reference.repository.to_string(),
        tag: reference.tag.to_string(),
        manifest: manifest.bytes.clone().into(),
        roles,
    };
    let answer = daemon.content_trust().sign_target(request).await;
    let answer = answer.map_err(|status| not_changed(status, &reference.repository))?.into_inner();
    if answer.digest != manifest.digest.to_string() {
        return Err(Failure::other(
            format!("the daemon signed {} for {reference}, which is {}", answer.digest, manifest.digest),
            format!("trustctl trust revoke {reference}, and look at the daemon"),
        ));
    }
    TrustChange::read("signed", format!("{reference}@{}", manifest.digest), answer.change)
}

async fn revoke(context: &Context, arguments: &TrustSign) -> Result<(), Failure> {
    let reference = image::tagged(&arguments.reference)?;
    let request = v1::RevokeTargetRequest {
        repository: reference.repository.to_string(),
        tag: reference.tag.to_string(),
        roles: roles(&arguments.role)?,
    };
    let answer = context.daemon().await?.content_trust().revoke_target(request).await;
    let answer = answer.map_err(|status| not_changed(status, &reference.repository))?;
    let change = TrustChange::read("revoked", reference.to_string(), answer.into_inner().change)?;
    show(context, &change, &reference.repository.to_string())
}

async fn inspect(context: &Context, arguments: &TrustInspect) -> Result<(), Failure> {
    let typed = &arguments.repository.typed;
    let by_tag = typed.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let (repository, tag, words) = if by_tag && !arguments.repository.exact {
        let reference = image::tagged(typed)?;
        let repository = reference.repository.to_string();
        (repository.clone(), reference.tag.to_string(), repository)
    } else {
        (arguments.repository.gun()?.to_string(), String::new(), arguments.repository.words())
    };
    let daemon = context.daemon().await?;
    context.output.show(&Inspected::read(repository.clone(), fetch(&daemon, (&repository, &tag), &words).await?))
}

/// What the daemon says of a repository, page by page.
async fn fetch(
    daemon: &Daemon,
    (repository, tag): (&str, &str),
    words: &str,
) -> Result<v1::InspectTrustResponse, Failure> {
    let mut whole = v1::InspectTrustResponse::default();
    let mut page_token = String::new();
    loop {
        let request = v1::InspectTrustRequest {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            page_size: PAGE,
            page_token,
            ..v1::InspectTrustRequest::default()
        };
        let page = daemon.content_trust().inspect_trust(request).await;
        let page = page.map_err(|status| not_shown(status, words))?.into_inner();
        let is_empty = page.targets.is_empty();
        whole.roles = page.roles;
        whole.proposal = page.proposal;
        whole.targets.extend(page.targets);
        page_token = page.next_page_token;
        // A daemon that pages for ever must not fill our memory.
        if page_token.is_empty() || is_empty || whole.targets.len() >= TARGETS_MAX {
            return Ok(whole);
        }
    }
}

/// The roles of a repository, without what they sign.
async fn roles_there(daemon: &Daemon, repository: &TrustName) -> Result<Vec<v1::TrustRole>, Failure> {
    let request = v1::InspectTrustRequest {
        repository: repository.gun()?.to_string(),
        page_size: 1,
        ..v1::InspectTrustRequest::default()
    };
    let answer = daemon.content_trust().inspect_trust(request).await;
    Ok(answer.map_err(|status| not_shown(status, &repository.words()))?.into_inner().roles)
}

/// The whole id of a key that a role lists, by the beginning that people see, or by its name in the daemon.
fn key_of(roles: &[v1::TrustRole], role: &str, typed: &str) -> Result<String, Failure> {
    let keys = roles.iter().filter(|there| there.name == role).flat_map(|there| &there.keys);
    let begins = typed.len() >= shown::ID_SHOWN;
    let is_it = |key: &&v1::TrustKey| {
        (!typed.is_empty() && key.name == typed) || (begins && key.id.starts_with(&typed.to_ascii_lowercase()))
    };
    let mut found = keys.filter(is_it);
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key.id.clone()),
        _ => Err(Failure::usage(
            format!("{role} has no key {typed}, or more than one that begins so"),
            "`trustctl trust inspect REPOSITORY` shows the keys; at least 12 digits of an id, or the daemon's name",
        )),
    }
}

fn not_shown(status: tonic::Status, repository: &str) -> Failure {
    Failure::from(status).refusal_remedied_by(&format!("`trustctl trust init {repository}` begins it"))
}

fn roles(typed: &[String]) -> Result<Vec<String>, Failure> {
    let parsed = typed.iter().map(|role| role.parse::<RoleName>());
    Ok(parsed.map(|role| role.map(|role| role.to_string())).collect::<Result<_, _>>()?)
}

fn not_changed(status: tonic::Status, repository: impl std::fmt::Display) -> Failure {
    let remedy = format!("`trustctl trust inspect {repository}` shows roles, keys and what is signed");
    Failure::from(status).refusal_remedied_by(&remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_is_none_is_a_failure_of_usage() {
        assert_eq!(roles(&["targets/releases".to_owned()]).unwrap(), ["targets/releases"]);
        for typed in ["releases", "targets/", "targets/A"] {
            assert_eq!(roles(&[typed.to_owned()]).unwrap_err().exit().code(), 2, "{typed}");
        }
    }

    #[test]
    fn a_key_is_named_by_what_people_see_of_it() {
        let key = |id: &str, name: &str| v1::TrustKey { id: id.repeat(32), name: name.to_owned() };
        let keys = vec![key("ab", "team/alice"), key("cd", "")];
        let roles = [v1::TrustRole { name: "targets/alice".to_owned(), keys, ..v1::TrustRole::default() }];
        let found = |typed: &str| key_of(&roles, "targets/alice", typed).ok();

        assert_eq!(found("team/alice"), Some("ab".repeat(32)));
        assert_eq!(found("CDCDCDCDCDCD"), Some("cd".repeat(32)));
        for nothing in ["", "cd", "cdcdcdcdcdc", "abababababcd", "team/bob"] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
        assert_eq!(key_of(&roles, "targets", "team/alice").unwrap_err().exit().code(), 2);
    }

    #[test]
    fn a_repository_has_the_name_that_docker_gives_it_or_exactly_its_own() {
        let name = |typed: &str, exact| TrustName { typed: typed.to_owned(), exact };
        let gun = |typed, exact| name(typed, exact).gun().map(|gun| gun.to_string());

        assert_eq!(gun("busybox", false).unwrap(), "docker.io/library/busybox");
        assert_eq!(gun("localhost:5000/team/app", false).unwrap(), "localhost:5000/team/app");
        assert!(gun("app:1.0", false).is_err());
        assert_eq!(gun("demo/Files", true).unwrap(), "demo/Files");
        assert_eq!((name("demo", true).words(), name("demo", false).words()), ("--exact demo".into(), "demo".into()));
    }
}
