//! `trustctl migrate notary import signer-keys`: the keys of the original signer, out of a dump of its database, into
//! custody.

mod dump;
mod jwe;

use std::path::Path;
use std::process::ExitCode;

use pkcs8::der::Encode as _;
use pkcs8::der::asn1::{ObjectIdentifier, OctetStringRef};
use pkcs8::spki::AlgorithmIdentifier;
use pkcs8::{PrivateKeyInfoRef, SecretDocument};
use trust::Gun;
use zeroize::Zeroizing;

use self::dump::Row;
use super::import::{self, Import, Ready};
use super::passphrases::Passphrases;
use super::plan::Plan;
use super::report::{KeyReport, Outcome};
use crate::command_line::migrate::ImportSigner;
use crate::context::Context;
use crate::failure::Failure;
use crate::key::private_file::{Kind, PrivateFile, read_secret};

/// The longest dump, in bytes.
const DUMP_BYTES_MAX: usize = 64 * 1024 * 1024;
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Runs `trustctl migrate notary import signer-keys`; refused where a key was left behind, after the report.
pub(super) async fn run(context: &Context, arguments: &ImportSigner) -> Result<ExitCode, Failure> {
    let rows = read(&arguments.dump)?;
    let mut passphrases = Passphrases::read(&arguments.passphrase_file)?;
    let still_there = format!("{} and the signer's database still hold the private keys", arguments.dump.display());
    let read = |row: &Row, import: &Import<'_>| ready(row, import, &mut passphrases);
    import::all(context, &rows, read, arguments.token.as_deref(), &still_there).await
}

/// The rows that the signer has not deleted.
fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = dump::rows(&read_secret(path, DUMP_BYTES_MAX)?)?;
    rows.retain(|row| !row.is_deleted());
    Ok(rows)
}

/// A row's key, opened, unless it is there already; else what there is to report of it.
fn ready(row: &Row, import: &Import<'_>, passphrases: &mut Passphrases) -> Result<Ready, Box<KeyReport>> {
    let [id, role, gun] = ["key_id", "role", "gun"].map(|column| row.text(column).unwrap_or_default());
    let left = |failure: &Failure| KeyReport::new(id, role, Outcome::left_behind(failure));
    let gun: Gun = gun.parse().map_err(|malformed: trust::Malformed| Box::new(left(&malformed.into())))?;
    let plan = Plan::of_signer(role, &gun, id).map_err(|failure| Box::new(left(&failure)))?;
    if let Some(outcome) = import.already(id, &plan) {
        return Err(Box::new(KeyReport::new(id, role, outcome).of(&plan)));
    }
    let alias = row.text("passphrase_alias").unwrap_or_default();
    let what = format!("the signer's keys of alias {alias}, for {id} ({role} of {gun})");
    let opened = passphrases.open(&what, |passphrase| key(row, passphrase));
    let ready = opened.and_then(|file| Ready::new(id, role, plan.clone(), file));
    ready.map_err(|failure| Box::new(left(&failure).of(&plan)))
}

fn key(row: &Row, passphrase: &[u8]) -> Result<PrivateFile, Failure> {
    let opened = jwe::open(row.text("private").unwrap_or_default(), passphrase);
    let opened = opened.map_err(|why| {
        Failure::refused(why.to_string(), "the signer has it in its environment: NOTARY_SIGNER_ and the alias")
    })?;
    private(row.text("algorithm").unwrap_or_default(), &opened).ok_or_else(|| {
        Failure::refused("what is in it is no key of the signer", "ecdsa (P-256) and ed25519 keys can be imported")
    })
}

/// A key as the signer keeps it, made PKCS#8. Whether it is sound custody looks.
fn private(algorithm: &str, secret: &[u8]) -> Option<PrivateFile> {
    let (kind, algorithm, key) = match algorithm {
        "ecdsa" => {
            let algorithm = AlgorithmIdentifier { oid: EC_PUBLIC_KEY, parameters: Some((&P256).into()) };
            (Kind::EcdsaP256, algorithm, Zeroizing::new(secret.to_vec()))
        }
        "ed25519" => {
            // The public key, and Go's private one: seed and public key (SPEC §1.7).
            let seed = secret.get(32..64).filter(|_| secret.len() == 96)?;
            let algorithm = AlgorithmIdentifier { oid: ED25519, parameters: None };
            (Kind::Ed25519, algorithm, Zeroizing::new(OctetStringRef::new(seed).ok()?.to_der().ok()?))
        }
        _ => return None,
    };
    let info = PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(&key).ok()?);
    let document = SecretDocument::encode_msg(&info).ok()?;
    Some(PrivateFile { kind, pkcs8: Zeroizing::new(document.as_bytes().to_vec()) })
}
