//! `trustctl trust …`: what docker's content trust reads, signed with keys that the daemon holds.
//!
//! Nothing of it is kept on this machine. What a tag means is read from the registry here, and shown to the daemon by its
//! manifest, which hashes it itself.

mod shown;

use trust::format::tuf::RoleName;
use trust::{KeyName, Repository};
use trust_proto::v1;

use crate::command_line::trust::{TrustCommand, TrustInit, TrustInspect, TrustSign};
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::image;
pub(crate) use shown::TrustChange;

use shown::Inspected;

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
    }
}

async fn init(context: &Context, arguments: TrustInit) -> Result<(), Failure> {
    let repository = repository(&arguments.repository)?;
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
            "`trustctl trust inspect REPOSITORY` shows trust data that is there, `trustctl key list` keys you may use",
        )
    })?;
    context.output.show(&TrustChange::read("begun", repository, answer.into_inner().change)?)
}

async fn sign(context: &Context, arguments: &TrustSign) -> Result<(), Failure> {
    let roles = roles(&arguments.role)?;
    let (reference, manifest) = image::whole(context, &arguments.reference).await?;
    let request = v1::SignTargetRequest {
        repository: reference.repository.to_string(),
        tag: reference.tag.to_string(),
        manifest: manifest.bytes.into(),
        roles,
    };
    let answer = context.daemon().await?.content_trust().sign_target(request).await;
    let answer = answer.map_err(|status| not_changed(status, &reference.repository))?.into_inner();
    if answer.digest != manifest.digest.to_string() {
        return Err(Failure::other(
            format!("the daemon signed {} for {reference}, which is {}", answer.digest, manifest.digest),
            format!("trustctl trust revoke {reference}, and look at the daemon"),
        ));
    }
    let signed = format!("{reference}@{}", manifest.digest);
    context.output.show(&TrustChange::read("signed", signed, answer.change)?)
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
    context.output.show(&TrustChange::read("revoked", reference.to_string(), answer.into_inner().change)?)
}

async fn inspect(context: &Context, arguments: &TrustInspect) -> Result<(), Failure> {
    let typed = &arguments.repository;
    let by_tag = typed.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let (repository, tag) = if by_tag {
        let reference = image::tagged(typed)?;
        (reference.repository.to_string(), reference.tag.to_string())
    } else {
        (repository(typed)?, String::new())
    };
    let daemon = context.daemon().await?;
    context.output.show(&Inspected::read(repository.clone(), fetch(&daemon, &repository, &tag).await?))
}

/// What the daemon says of a repository, page by page.
async fn fetch(daemon: &Daemon, repository: &str, tag: &str) -> Result<v1::InspectTrustResponse, Failure> {
    let mut whole = v1::InspectTrustResponse::default();
    let mut page_token = String::new();
    loop {
        let (repository, tag) = (repository.to_owned(), tag.to_owned());
        let request = v1::InspectTrustRequest { repository: repository.clone(), tag, page_size: PAGE, page_token };
        let page = daemon.content_trust().inspect_trust(request).await;
        let page = page.map_err(|status| {
            let remedy = format!("`trustctl trust init {repository}` begins it");
            Failure::from(status).refusal_remedied_by(&remedy)
        })?;
        let page = page.into_inner();
        let is_empty = page.targets.is_empty();
        whole.roles = page.roles;
        whole.targets.extend(page.targets);
        page_token = page.next_page_token;
        // A daemon that pages for ever must not fill our memory.
        if page_token.is_empty() || is_empty || whole.targets.len() >= TARGETS_MAX {
            return Ok(whole);
        }
    }
}

fn repository(typed: &str) -> Result<String, Failure> {
    Ok(Repository::normalise(typed)?.to_string())
}

fn roles(typed: &[String]) -> Result<Vec<String>, Failure> {
    let parsed = typed.iter().map(|role| role.parse::<RoleName>());
    Ok(parsed.map(|role| role.map(|role| role.to_string())).collect::<Result<_, _>>()?)
}

fn not_changed(status: tonic::Status, repository: &Repository) -> Failure {
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
    fn a_repository_has_the_name_that_docker_gives_it() {
        assert_eq!(repository("busybox").unwrap(), "docker.io/library/busybox");
        assert_eq!(repository("localhost:5000/team/app").unwrap(), "localhost:5000/team/app");
        assert_eq!(repository("app:1.0").unwrap_err().exit().code(), 2);
    }
}
