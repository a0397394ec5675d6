//! `trustctl trust rotate`, `trustctl trust witness`: other keys, and what they sign anew.

use trust::format::tuf::RoleName;
use trust_proto::v1;

use super::{TrustChange, key_of, not_changed, roles, roles_there, show};
use crate::command_line::trust::{TrustRotate, TrustWitness};
use crate::context::Context;
use crate::failure::Failure;

/// `trustctl trust rotate REPOSITORY ROLE`
pub(super) async fn rotate(context: &Context, arguments: TrustRotate) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    let words = arguments.repository.words();
    let role = arguments.role.parse::<RoleName>()?.to_string();
    let daemon = context.daemon().await?;
    let old_key = match &arguments.old_key {
        Some(typed) => key_of(&roles_there(&daemon, &arguments.repository).await?, &role, typed)?,
        None => String::new(),
    };
    let request = v1::RotateTrustRequest {
        repository: repository.clone(),
        role: role.clone(),
        new_key: arguments.key.unwrap_or_default(),
        old_key,
        token: arguments.token.unwrap_or_default(),
    };
    let answer = daemon.content_trust().rotate_trust(request).await;
    let answer = answer.map_err(|status| not_changed(status, &words))?.into_inner();
    let change = TrustChange::read("rotated", format!("{role} of {repository}"), answer.change)?;
    show(context, &change, &words)
}

/// `trustctl trust witness REPOSITORY ROLE…`
pub(super) async fn witness(context: &Context, arguments: &TrustWitness) -> Result<(), Failure> {
    let repository = arguments.repository.gun()?.to_string();
    let roles = roles(&arguments.role)?;
    let about = format!("{} of {repository}", roles.join(", "));
    let words = arguments.repository.words();
    let request = v1::WitnessTrustRequest { repository, roles };
    let answer = context.daemon().await?.content_trust().witness_trust(request).await;
    let answer = answer.map_err(|status| not_changed(status, &words))?.into_inner();
    show(context, &TrustChange::read("witnessed", about, answer.change)?, &words)
}
