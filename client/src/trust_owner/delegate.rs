//! `trustctl trust delegate …`: who may sign besides the repository's owner.

use std::path::Path;

use trust::format::tuf::Key;
use trust_proto::v1;

use super::shown::Delegations;
use super::{TrustChange, key_of, not_changed, roles_there, show};
use crate::command_line::trust::{DelegateAdd, DelegateCommand, DelegateList, DelegateRemove};
use crate::context::Context;
use crate::failure::Failure;
use crate::files;

/// The longest PEM of a key, in bytes.
const PEM_BYTES_MAX: u64 = 16 * 1024;

/// Runs `trustctl trust delegate …`.
pub(super) async fn run(context: &Context, command: DelegateCommand) -> Result<(), Failure> {
    match command {
        DelegateCommand::Add(arguments) => add(context, arguments).await,
        DelegateCommand::Remove(arguments) => remove(context, arguments).await,
        DelegateCommand::List(arguments) => list(context, &arguments).await,
    }
}

async fn add(context: &Context, arguments: DelegateAdd) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    let is_signer = !arguments.name.contains('/');
    if is_signer && !(arguments.path.is_empty() && arguments.threshold.is_none()) {
        return Err(Failure::usage(
            "a signer may sign every tag, and alone",
            format!("name the role, for --path and --threshold: targets/{}", arguments.name),
        ));
    }
    let public_keys = arguments.public_key.iter().map(|file| public_key(file)).collect::<Result<_, _>>()?;
    let request = v1::AddDelegationRequest {
        repository: repository.clone(),
        name: arguments.name.clone(),
        keys: arguments.key,
        public_keys,
        paths: arguments.path,
        threshold: arguments.threshold.unwrap_or_default(),
        token: arguments.token.unwrap_or_default(),
    };
    let answer = context.daemon().await?.content_trust().add_delegation(request).await;
    let answer = answer.map_err(|status| not_changed(status, arguments.repository.words()))?.into_inner();
    let about = format!("{} in {repository}", arguments.name);
    show(context, &TrustChange::read("delegated", about, answer.change)?, &arguments.repository.words())
}

async fn remove(context: &Context, arguments: DelegateRemove) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    let daemon = context.daemon().await?;
    let mut keys = Vec::with_capacity(arguments.key.len());
    if !arguments.key.is_empty() {
        let roles = roles_there(&daemon, &arguments.repository).await?;
        let is_signer = !arguments.name.contains('/');
        let role = if is_signer { format!("targets/{}", arguments.name) } else { arguments.name.clone() };
        for typed in &arguments.key {
            keys.push(key_of(&roles, &role, typed)?);
        }
    }
    let request = v1::RemoveDelegationRequest { repository: repository.clone(), name: arguments.name.clone(), keys };
    let answer = daemon.content_trust().remove_delegation(request).await;
    let answer = answer.map_err(|status| not_changed(status, arguments.repository.words()))?.into_inner();
    let about = format!("{} in {repository}", arguments.name);
    show(context, &TrustChange::read("removed", about, answer.change)?, &arguments.repository.words())
}

async fn list(context: &Context, arguments: &DelegateList) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    let roles = roles_there(&context.daemon().await?, &arguments.repository).await?;
    context.output.show(&Delegations::read(repository, roles))
}

/// What is sent of a file: nothing but a public key, so that a private one that was meant by mistake stays here.
fn public_key(file: &Path) -> Result<bytes::Bytes, Failure> {
    let pem = files::read_named(file, PEM_BYTES_MAX)?;
    let read = Key::read_pem(&pem).map_err(|malformed| {
        let what = format!("{} is no {malformed}", file.display());
        Failure::usage(
            what,
            "`docker trust key generate` and `openssl x509` write such files; a private key stays with you",
        )
    });
    read.map(|_| pem.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_does_not_leave() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n").unwrap();

        let failure = public_key(&file).unwrap_err();

        assert_eq!(failure.exit().code(), 2);
        assert!(failure.remedy().contains("private key stays"), "{failure:?}");
    }
}
