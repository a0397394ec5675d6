//! What a token does for whoever calls its module in a loop and does nothing else: no request, no evidence, no check.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use trust::{Algorithm, Digest, Scheme};

use crate::load::{Load, drive_threads};
use crate::spread::number;
use crate::subject::message;

/// The first word of such a process' command line.
pub(crate) const WORD: &str = "bare-token";

/// `DigestInfo` of a SHA-256 value up to the value itself (RFC 8017 §9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// What a loop found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bare {
    /// Signatures per second.
    pub(crate) per_second: f64,
    /// Processor time of one, in microseconds.
    pub(crate) cpu_us: f64,
}

impl Bare {
    /// What the process printed.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn read(printed: &str) -> Result<Self> {
        let mut words = printed.split_whitespace().map(str::parse::<f64>);
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(per_second)), Some(Ok(cpu_us)), None) => Ok(Self { per_second, cpu_us }),
            _ => bail!("the bare loop printed {printed:?}"),
        }
    }
}

/// Runs in the process of its own: module, label, algorithm, sessions, warm-up and length in milliseconds; the PIN comes
/// over standard input.
///
/// # Errors
/// When the token refuses something.
pub(crate) fn run(words: impl Iterator<Item = String>) -> Result<()> {
    let words: Vec<String> = words.collect();
    let [module, label, algorithm, sessions, warm_up, length] = words.as_slice() else { bail!("six words") };
    let algorithm: Algorithm = algorithm.parse().context("an algorithm")?;
    let sessions: usize = sessions.parse().context("a number of sessions")?;
    let milliseconds = |text: &str| text.parse().map(Duration::from_millis).context("milliseconds");
    let load = Load { in_flight: sessions, warm_up: milliseconds(warm_up)?, length: milliseconds(length)? };
    let mut pin = String::new();
    std::io::stdin().lock().take(64).read_to_string(&mut pin).context("read the PIN")?;

    let context = Pkcs11::new(module).context("load the module")?;
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).context("initialise the module")?;
    let slot = find(&context, label)?;
    let keeper = context.open_rw_session(slot).context("open a session")?;
    keeper.login(UserType::User, Some(&AuthPin::new(pin.into_boxed_str()))).context("log in")?;
    let (public, private) = make(&keeper, algorithm)?;
    let measured = measure(&context, slot, private, algorithm, load);
    keeper.destroy_object(private).context("delete the private key")?;
    keeper.destroy_object(public).context("delete the public key")?;
    let Bare { per_second, cpu_us } = measured?;
    println!("{per_second} {cpu_us}");
    Ok(())
}

fn find(context: &Pkcs11, label: &str) -> Result<Slot> {
    let slots = context.get_slots_with_token().context("list the tokens")?;
    let is_it = |slot: &Slot| context.get_token_info(*slot).is_ok_and(|info| info.label() == label);
    slots.into_iter().find(is_it).with_context(|| format!("no token {label}"))
}

/// A key in the token, as the daemon's are.
fn make(session: &Session, algorithm: Algorithm) -> Result<(ObjectHandle, ObjectHandle)> {
    let curve = |bytes: &[u8]| Attribute::EcParams(bytes.to_vec());
    let (generation, parameters) = match algorithm.scheme() {
        Scheme::EcdsaP256 => (Mechanism::EccKeyPairGen, vec![curve(&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])]),
        Scheme::EcdsaP384 => (Mechanism::EccKeyPairGen, vec![curve(&[6, 5, 0x2b, 0x81, 4, 0, 0x22])]),
        Scheme::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, vec![curve(b"\x13\x0cedwards25519")]),
        Scheme::RsaPkcs1 | Scheme::RsaPss => {
            let bits = u64::from(algorithm.rsa_modulus_bits().context("a modulus")?);
            let parameters = vec![Attribute::ModulusBits(bits.into()), Attribute::PublicExponent(vec![1, 0, 1])];
            (Mechanism::RsaPkcsKeyPairGen, parameters)
        }
    };
    let public = [vec![Attribute::Token(true), Attribute::Verify(true)], parameters].concat();
    let private = [Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true)];
    session.generate_key_pair(&generation, &public, &private).context("make a key")
}

fn measure(context: &Pkcs11, slot: Slot, key: ObjectHandle, algorithm: Algorithm, load: Load) -> Result<Bare> {
    let data = task(algorithm)?;
    let before = cpu_us();
    let per_second = drive_threads(load.in_flight, load, |_| {
        let session = context.open_ro_session(slot).context("open a session")?;
        let data = data.clone();
        // Named at every call, which costs nothing: a mechanism may hold pointers, so no thread takes one along.
        let sign = move || session.sign(&mechanism(algorithm)?, key, &data).context("sign").map(|_| 1);
        Ok(Box::new(sign))
    })?;
    // What was signed while it warmed up was as dear, and is not counted in the rate.
    let seconds = (load.warm_up + load.length).as_secs_f64();
    Ok(Bare { per_second, cpu_us: (cpu_us() - before) / (per_second * seconds) })
}

fn mechanism(algorithm: Algorithm) -> Result<Mechanism<'static>> {
    Ok(match algorithm.scheme() {
        Scheme::EcdsaP256 | Scheme::EcdsaP384 => Mechanism::Ecdsa,
        Scheme::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        Scheme::RsaPkcs1 => Mechanism::RsaPkcs,
        Scheme::RsaPss => bail!("no case measures RSA-PSS"),
    })
}

/// What the module is given: what the daemon's worker gives it.
fn task(algorithm: Algorithm) -> Result<Vec<u8>> {
    let message = message();
    let Some(function) = algorithm.prehash() else { return Ok(message.to_vec()) };
    let digest = Digest::of(function, &message);
    match algorithm.scheme() {
        Scheme::RsaPkcs1 => Ok([&SHA256_DIGEST_INFO[..], digest.as_bytes()].concat()),
        _ => Ok(digest.as_bytes().to_vec()),
    }
}

/// Processor time of this process, in microseconds.
fn cpu_us() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    number(crate::machine::ticks(&text)) * 1e6 / number(rustix::param::clock_ticks_per_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_loop_prints_is_read_back() {
        assert_eq!(Bare::read("1500.5 12\n").unwrap(), Bare { per_second: 1500.5, cpu_us: 12.0 });
        assert!(Bare::read("").is_err() && Bare::read("1 2 3").is_err() && Bare::read("a b").is_err());
    }
}
