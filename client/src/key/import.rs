//! `trustctl key import`: an existing private key, sealed here so that only custody can open it.

use trust::envelope::{self, UnwrapErr};
use trust::import::ImportBinding;
use trust::{Algorithm, KeyName, Purpose, Scope};
use trust_proto::v1;
use trust_proto::words::Word as _;
use zeroize::Zeroizing;

use super::private_file::{Kind, PrivateFile};
use super::{creation, incomplete, show_change};
use crate::believed::confidant;
use crate::command_line::key::KeyImport;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::repeat::idempotency_key;

/// Runs `trustctl key import`.
pub(super) async fn run(context: &Context, arguments: KeyImport) -> Result<(), Failure> {
    // Before a daemon is asked: a file that is no key needs none.
    let file = PrivateFile::read(&arguments.file, arguments.passphrase_file.as_deref())?;
    let algorithm = algorithm(file.kind, arguments.algorithm.as_deref(), &arguments.key.purpose)?;
    let wanted = creation(&arguments.key, Some(algorithm.name()), arguments.token.as_deref())?;
    let imported = v1::ImportedKey {
        name: wanted.name,
        purpose: wanted.purpose,
        algorithm: wanted.algorithm,
        scope: wanted.scope,
        forms: wanted.forms,
        token: wanted.token,
    };
    let daemon = confidant(context).await?;
    let answer = into_custody(&daemon, imported, file.pkcs8).await?;
    show_change(context, "imported", answer.key, answer.receipt)?;
    context
        .output
        .warning(&format!("{} still holds the private key: destroy it, and its backups", arguments.file.display()));
    Ok(())
}

/// Asks for an offer, seals the key to it, and has custody open it.
///
/// # Errors
/// What the daemon says.
pub(crate) async fn into_custody(
    daemon: &Daemon,
    imported: v1::ImportedKey,
    pkcs8: Zeroizing<Vec<u8>>,
) -> Result<v1::ImportKeyResponse, Failure> {
    let request = v1::OfferImportRequest { imported: Some(imported.clone()) };
    let offer = daemon.keys().offer_import(request).await?.into_inner();
    let sealed = seal(&pkcs8, &imported, &offer)?;
    drop(pkcs8);
    let request = v1::ImportKeyRequest {
        imported: Some(imported),
        offer_id: offer.offer_id,
        envelope: sealed.into(),
        idempotency_key: idempotency_key()?,
    };
    Ok(daemon.keys().import_key(request).await?.into_inner())
}

/// Seals the key for exactly what was asked for, and for the principal that the daemon takes us for.
fn seal(
    pkcs8: &Zeroizing<Vec<u8>>,
    imported: &v1::ImportedKey,
    offer: &v1::OfferImportResponse,
) -> Result<Vec<u8>, Failure> {
    let purpose = Purpose::from_wire(imported.purpose)?;
    let forms = imported.forms.iter().map(|form| trust::Form::from_wire(*form)).collect::<Result<Vec<_>, _>>()?;
    let algorithm = Algorithm::from_wire(imported.algorithm)?;
    let binding = ImportBinding {
        store: offer.store.first_chunk().filter(|_| offer.store.len() == 16).ok_or_else(incomplete)?,
        principal: &offer.principal,
        name: &imported.name.parse::<KeyName>()?,
        purpose,
        algorithm,
        scope: &Scope::read(purpose, imported.scope.iter().map(String::as_str))?,
        forms: if forms.is_empty() { purpose.forms(algorithm) } else { &forms },
        custodian: if imported.token.is_empty() { ImportBinding::SOFTWARE } else { &imported.token },
    };
    let public_key = offer.public_key.first_chunk().filter(|_| offer.public_key.len() == 32).ok_or_else(incomplete)?;
    envelope::seal(public_key, &binding.info(), pkcs8, &mut UnwrapErr(getrandom::SysRng))
        .map_err(|error| incomplete().because(error))
}

/// The algorithm that was asked for, or the first that the file's key and the purpose have in common.
pub(crate) fn algorithm(kind: Kind, asked: Option<&str>, purpose: &str) -> Result<Algorithm, Failure> {
    let purpose: Purpose = purpose.parse()?;
    if let Some(asked) = asked {
        let algorithm: Algorithm = asked.parse()?;
        if kind.fits(algorithm) {
            return Ok(algorithm);
        }
        return Err(Failure::usage(
            format!("the file holds {kind}, which does not sign with {algorithm}"),
            "leave --algorithm out: the key's own is taken",
        ));
    }
    let found = Algorithm::ALL.into_iter().find(|algorithm| kind.fits(*algorithm) && purpose.allows(*algorithm));
    found.ok_or_else(|| {
        let allowed = Algorithm::ALL.into_iter().filter(|algorithm| purpose.allows(*algorithm)).map(Algorithm::name);
        Failure::usage(
            format!("the file holds {kind}, with which no {purpose} key signs"),
            format!("such a key signs with one of {}", allowed.collect::<Vec<_>>().join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_with_what_it_and_its_purpose_have_in_common() {
        for (kind, purpose, expected) in [
            (Kind::Ed25519, "release-statement", Some(Algorithm::Ed25519)),
            (Kind::EcdsaP384, "image", Some(Algorithm::EcdsaP384Sha256)),
            (Kind::Rsa { bits: 3072 }, "release-blob", Some(Algorithm::Rsa3072Pkcs1Sha256)),
            (Kind::Rsa { bits: 2048 }, "raw", None),
            (Kind::EcdsaP256, "release-statement", Some(Algorithm::EcdsaP256Sha256)),
            (Kind::Ed25519, "release-blob", None),
        ] {
            assert_eq!(algorithm(kind, None, purpose).ok(), expected, "{kind}");
        }
        assert_eq!(
            algorithm(Kind::Rsa { bits: 4096 }, Some("rsa4096-pss-sha256"), "raw").unwrap(),
            Algorithm::Rsa4096PssSha256
        );
        assert_eq!(algorithm(Kind::Ed25519, Some("rsa4096-pss-sha256"), "raw").unwrap_err().exit().code(), 2);
    }
}
