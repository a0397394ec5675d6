//! One signature and one verification, by our code and by every library that people would use instead: in this process,
//! or, where a library is the system's own, in a small program of its own that is asked in turn.

#[cfg(feature = "peers")]
mod crates;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use trust::verify::batch::{Input, Item, Key, chunk};
use trust::{Algorithm, PublicKey};

use super::Plan;
use crate::contest::{Entrant, contest};
use crate::library::{Library, Task, Which};
use crate::report::{Missing, Place, Point, Report, Row, Whose, Y};
use crate::signed::Signed;
use crate::zebra::{self, WITHOUT};

const SUITE: &str = "libraries";
/// Messages of each key.
const SIGNED: usize = 64;
/// What is said of ed25519-simd where the processor would do.
const IFMA_BUILD: &str = "it must be built for AVX-512 alone, and this program runs everywhere";

/// Measures both for every algorithm.
///
/// # Errors
/// When a library fails, or a good signature counts as bad.
pub(crate) fn run(plan: &Plan, directory: &Path, report: &mut Report) -> Result<()> {
    let libraries: Vec<Which> = Which::ALL.into_iter().filter(|which| which.missing().is_none()).collect();
    for which in &libraries {
        which.build(directory)?;
    }
    for (what, algorithm) in [
        ("Ed25519", Algorithm::Ed25519),
        ("ECDSA P-256", Algorithm::EcdsaP256Sha256),
        ("ECDSA P-384", Algorithm::EcdsaP384Sha384),
        ("RSA-3072", Algorithm::Rsa3072Pkcs1Sha256),
        ("RSA-4096", Algorithm::Rsa4096Pkcs1Sha256),
    ] {
        let case = |task: Task| format!("{what}, {} 32 bytes", task.word());
        let mut tasks = vec![Task::Verify, Task::Sign];
        tasks.retain(|task| case(*task).contains(&plan.case));
        if tasks.is_empty() {
            continue;
        }
        let signed = Signed::new(algorithm, SIGNED)?;
        for task in tasks {
            let case = case(task);
            let mut entrants = match task {
                Task::Sign => signers(&signed)?,
                Task::Verify => verifiers(&signed)?,
            };
            entrants.extend(of_the_system(&libraries, task, directory, &signed)?);
            let found = contest(plan, &mut entrants).with_context(|| case.clone())?;
            add(report, &case, &entrants, found);
            miss(report, &case, algorithm, task);
        }
    }
    Ok(())
}

fn add(report: &mut Report, case: &str, entrants: &[Entrant<'_>], found: Vec<Vec<f64>>) {
    for (entrant, samples) in entrants.iter().zip(found) {
        let place = Place::new(case, "", Point::Word(entrant.name.clone()), Y::Value).named("one at a time");
        let row = Row::new(SUITE, case.to_owned(), entrant.name.clone(), "1/s", samples);
        report.add(row.of(entrant.whose).at(place));
    }
}

/// Says who is not there, and why.
fn miss(report: &mut Report, case: &str, algorithm: Algorithm, task: Task) {
    let mut miss = |subject: &str, why: String| {
        report.miss(Missing { suite: SUITE, case: case.to_owned(), subject: subject.to_owned(), why });
    };
    for which in Which::ALL.into_iter().filter(|which| measures(*which, algorithm)) {
        if let Some(why) = which.missing() {
            miss(which.name(), why);
        }
    }
    if !zebra::IS_HERE {
        miss("ring", WITHOUT.to_owned());
    }
    if algorithm == Algorithm::Ed25519 {
        if !zebra::IS_HERE {
            miss("ed25519-zebra", WITHOUT.to_owned());
        }
        if task == Task::Verify {
            let why = if crate::machine::has_ifma() { IFMA_BUILD } else { crate::machine::lacks("avx512ifma") };
            miss("ed25519-simd", why.to_owned());
        }
    }
}

/// libsodium knows Ed25519 alone.
fn measures(which: Which, algorithm: Algorithm) -> bool {
    which == Which::OpenSsl || algorithm == Algorithm::Ed25519
}

fn of_the_system(libraries: &[Which], task: Task, directory: &Path, signed: &Signed) -> Result<Vec<Entrant<'static>>> {
    let mut entrants = Vec::new();
    for which in libraries.iter().copied().filter(|which| measures(*which, signed.algorithm)) {
        let mut library = Library::start(which, directory, signed)?;
        entrants.push(Entrant::new(which.name(), Whose::Peers, move |load| library.measure(task, load)));
    }
    Ok(entrants)
}

/// Everybody who verifies in this process; each has read the key before.
fn verifiers(signed: &Signed) -> Result<Vec<Entrant<'_>>> {
    let mut entrants = vec![ours(signed)?, aws_lc(signed)?];
    if signed.algorithm == Algorithm::Ed25519 {
        let key = dalek(signed).verifying_key();
        let strict = move |message: &[u8; 32], signature: &Signature| key.verify_strict(message, signature).is_ok();
        entrants.push(of_dalek("ed25519-dalek, verify_strict", signed, strict)?);
        let loose = move |message: &[u8; 32], signature: &Signature| {
            ed25519_dalek::Verifier::verify(&key, message, signature).is_ok()
        };
        entrants.push(of_dalek("ed25519-dalek, verify", signed, loose)?);
    }
    #[cfg(feature = "peers")]
    entrants.extend(crates::verifiers(signed)?);
    Ok(entrants)
}

/// Everybody who signs in this process.
fn signers(signed: &Signed) -> Result<Vec<Entrant<'_>>> {
    let mut messages = signed.items.iter().map(|(message, _)| message).cycle();
    let mut entrants = vec![Entrant::here("aws-lc-rs", Whose::Peers, move || {
        signed.sign(messages.next().context("no message")?)?;
        Ok(1)
    })];
    if signed.algorithm == Algorithm::Ed25519 {
        let key = dalek(signed);
        let mut messages = signed.items.iter().map(|(message, _)| message).cycle();
        entrants.push(Entrant::here("ed25519-dalek", Whose::Peers, move || {
            std::hint::black_box(key.sign(messages.next().context("no message")?));
            Ok(1)
        }));
    }
    #[cfg(feature = "peers")]
    entrants.extend(crates::signers(signed)?);
    Ok(entrants)
}

/// What the daemon and the client call.
fn ours(signed: &Signed) -> Result<Entrant<'_>> {
    let key = PublicKey::from_spki_der(signed.algorithm, &signed.spki).context("a public key")?;
    let mut items = signed.items.iter().cycle();
    Ok(Entrant::here("trust", Whose::Ours, move || {
        let (message, signature) = items.next().context("no item")?;
        let item = Item { key: Key::Plain(&key), input: Input::Message(message), signature };
        ensure!(chunk(&[item]).iter().all(Result::is_ok), "a good signature counts as bad");
        Ok(1)
    }))
}

fn aws_lc(signed: &Signed) -> Result<Entrant<'_>> {
    let algorithm: &'static dyn VerificationAlgorithm = match signed.algorithm {
        Algorithm::Ed25519 => &ED25519,
        Algorithm::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        _ => &RSA_PKCS1_2048_8192_SHA256,
    };
    let key = ParsedPublicKey::new(algorithm, &signed.raw).map_err(|error| anyhow!("a public key: {error}"))?;
    let mut items = signed.items.iter().cycle();
    Ok(Entrant::here("aws-lc-rs", Whose::Peers, move || {
        let (message, signature) = items.next().context("no item")?;
        ensure!(key.verify_sig(message, signature).is_ok(), "a good signature counts as bad");
        Ok(1)
    }))
}

fn dalek(signed: &Signed) -> SigningKey {
    SigningKey::from_bytes(&signed.seed)
}

fn of_dalek<'a>(
    name: &str,
    signed: &Signed,
    verify: impl Fn(&[u8; 32], &Signature) -> bool + 'a,
) -> Result<Entrant<'a>> {
    let items: Result<Vec<([u8; 32], Signature)>> = signed
        .items
        .iter()
        .map(|(message, signature)| Ok((*message, Signature::from_slice(signature).context("a signature")?)))
        .collect();
    let items = items?;
    let mut next = 0_usize;
    Ok(Entrant::here(name, Whose::Peers, move || {
        let place = next.checked_rem(items.len()).context("no items")?;
        let (message, signature) = items.get(place).context("no item")?;
        next = next.wrapping_add(1);
        ensure!(verify(message, signature), "a good signature counts as bad");
        Ok(1)
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everybody_who_is_here_verifies_and_signs_every_algorithm() {
        let directory = tempfile::tempdir().unwrap();
        let plan = Plan { rounds: 1, length: Duration::from_millis(5), case: "P-256".to_owned(), ..Plan::default() };
        let mut report = Report::default();

        run(&plan, directory.path(), &mut report).unwrap();

        let case = "ECDSA P-256, verify 32 bytes";
        for subject in ["trust", "aws-lc-rs", "OpenSSL of the system"] {
            assert!(report.samples(SUITE, case, subject, "1/s").unwrap()[0] > 0.0, "{subject}");
        }
        assert!(report.samples(SUITE, "Ed25519, verify 32 bytes", "trust", "1/s").is_none());
    }
}
