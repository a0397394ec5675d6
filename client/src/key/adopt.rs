//! `trustctl key adopt`: a key that is in a token already becomes one of the daemon's.

use trust::{PublicKey, Purpose};
use trust_proto::v1;
use trust_proto::words::Word as _;

use super::{creation, show_change};
use crate::command_line::key::KeyAdopt;
use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::repeat::until_answered;

/// The longest PEM file of a public key, in bytes.
const PEM_BYTES_MAX: u64 = 16 * 1024;
/// The longest `CKA_ID` that a daemon looks at, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Runs `trustctl key adopt`.
pub(super) async fn run(context: &Context, arguments: &KeyAdopt) -> Result<(), Failure> {
    let request = adoption(arguments)?;
    let daemon = context.daemon().await?;
    let answer = until_answered(async || daemon.keys().adopt_key(request.clone()).await).await?;
    show_change(context, "adopted", answer.key, answer.receipt)
}

/// Reads the call before a daemon is asked.
fn adoption(arguments: &KeyAdopt) -> Result<v1::AdoptKeyRequest, Failure> {
    let wanted = creation(&arguments.key, arguments.algorithm.as_deref(), Some(&arguments.token))?;
    let algorithm = match &arguments.algorithm {
        Some(_) => wanted.algorithm,
        None => arguments.key.purpose.parse::<Purpose>()?.default_algorithm().to_wire(),
    };
    let id = hex::decode(&arguments.id).ok().filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
    let id = id.ok_or_else(|| {
        Failure::usage(
            format!("{:?} is no CKA_ID", arguments.id),
            "--id takes 1 to 64 bytes in hexadecimal digits: `trustctl hsm orphans` lists what the tokens have",
        )
    })?;
    let public_key = arguments.public_key.as_ref().map(|path| {
        let pem = files::read_named(path, PEM_BYTES_MAX)?;
        let key = std::str::from_utf8(&pem).ok().and_then(|pem| PublicKey::from_pem(pem).ok());
        key.ok_or_else(|| {
            Failure::usage(
                format!("{} holds no public key that the daemon signs with", path.display()),
                "--public-key takes the file that `openssl pkey -pubout` writes",
            )
        })
    });
    let spki_sha256 = public_key.transpose()?.map(|key| key.spki_sha256().as_bytes().to_vec()).unwrap_or_default();
    Ok(v1::AdoptKeyRequest {
        name: wanted.name,
        purpose: wanted.purpose,
        algorithm,
        scope: wanted.scope,
        forms: wanted.forms,
        token: wanted.token,
        id: id.into(),
        spki_sha256: spki_sha256.into(),
        may_do_more: arguments.allow_other_uses,
        idempotency_key: wanted.idempotency_key,
    })
}
