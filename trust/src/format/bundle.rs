//! Sigstore bundles v0.3 made with a key: an envelope for images, a message signature for files.
//!
//! Read as protobuf's JSON with its lowerCamelCase names. What belongs to public logs and certificates is not looked
//! at (`tlogEntries`), or refused where it stands in for the key (`certificate`): we believe keys.

mod referrer;

use super::cosign::{PAYLOAD_BYTES_MAX, STATEMENT_MEDIA_TYPE};
use super::json::{self, Value, canonical};
use super::release::manifest;
use super::{base64, dsse};
use crate::{Digest, HashFunction, Malformed, PublicKey, Sha256Digest, Signature};

pub use self::referrer::{EMPTY_CONFIG, Referrer};

/// Of a bundle, as a file and as a layer.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The longest bundle that is read, in bytes: a statement in base64, and room for log entries of others.
pub const BYTES_MAX: usize = 512 * 1024;

const WHAT: &str = "sigstore bundle";

/// A signature with what is needed to check it, but for the key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bundle {
    /// Which key, in the signer's words: ours and cosign's is base64 of the SHA-256 of its SPKI. Not to be believed.
    pub hint: String,
    /// What is signed.
    pub content: Content,
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed set: the bundle specification has these two")]
pub enum Content {
    /// A statement and its signature.
    Envelope(Envelope),
    /// The signature of a file.
    Message(MessageSignature),
}

/// A DSSE envelope with one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// What is said.
    pub payload: Vec<u8>,
    /// In which words: [`Envelope::is_statement`].
    pub payload_type: String,
    /// Over [`Envelope::signed`].
    pub signature: Vec<u8>,
}

/// The signature of a file that lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageSignature {
    /// Of the file, to find out quickly that it is another one.
    pub digest: Digest,
    /// Over the file.
    pub signature: Vec<u8>,
}

impl Envelope {
    /// The bytes that the signature covers (DSSE's PAE).
    #[must_use]
    pub fn signed(&self) -> Vec<u8> {
        dsse::pae(&self.payload_type, &self.payload)
    }

    /// True when the payload is an in-toto statement.
    #[must_use]
    pub fn is_statement(&self) -> bool {
        self.payload_type == STATEMENT_MEDIA_TYPE
    }
}

impl Bundle {
    /// The bundle of an image: the statement of [`ImageStatement`](super::cosign::ImageStatement) and its signature.
    #[must_use]
    pub fn of_image(key: &PublicKey, payload: Vec<u8>, signature: &Signature) -> Self {
        Self::of_statement(key, payload, signature)
    }

    /// The bundle of a release: its [`manifest`] and its signature.
    #[must_use]
    pub fn of_release(key: &PublicKey, payload: Vec<u8>, signature: &Signature) -> Self {
        Self::of_statement(key, payload, signature)
    }

    fn of_statement(key: &PublicKey, payload: Vec<u8>, signature: &Signature) -> Self {
        let payload_type = STATEMENT_MEDIA_TYPE.to_owned();
        let signature = signature.as_bytes().to_vec();
        Self { hint: hint(key), content: Content::Envelope(Envelope { payload, payload_type, signature }) }
    }

    /// The bundle of a file with this digest.
    #[must_use]
    pub fn of_blob(key: &PublicKey, file: &Sha256Digest, signature: &Signature) -> Self {
        let digest = Digest::Sha256(*file.as_bytes());
        let signature = signature.as_bytes().to_vec();
        Self { hint: hint(key), content: Content::Message(MessageSignature { digest, signature }) }
    }

    /// Reads a bundle.
    ///
    /// # Errors
    /// [`Malformed`] for more than [`BYTES_MAX`] bytes, another version, a certificate in place of a key, none or both
    /// kinds of content, more or fewer signatures than one, a message digest that is missing or of another function.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read_within(bytes, BYTES_MAX, PAYLOAD_BYTES_MAX)
    }

    /// Reads the bundle of a release's manifest, which may be larger than others.
    ///
    /// # Errors
    /// As [`Bundle::read`], for more than [`manifest::BUNDLE_BYTES_MAX`] bytes.
    pub fn read_release(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::read_within(bytes, manifest::BUNDLE_BYTES_MAX, manifest::BYTES_MAX)
    }

    fn read_within(bytes: &[u8], bytes_max: usize, payload_bytes_max: usize) -> Result<Self, Malformed> {
        let document = json::read(WHAT, bytes, bytes_max)?;
        if document.member("mediaType").and_then(Value::as_str) != Some(MEDIA_TYPE) {
            return Err(Malformed::new(WHAT, "the media type of version 0.3"));
        }
        let content = match (document.present("dsseEnvelope"), document.present("messageSignature")) {
            (Some(envelope), None) => Content::Envelope(read_envelope(envelope, payload_bytes_max)?),
            (None, Some(message)) => Content::Message(read_message(message)?),
            _ => return Err(Malformed::new(WHAT, "a dsseEnvelope or a messageSignature, and not both")),
        };
        Ok(Self { hint: read_hint(&document)?, content })
    }

    /// The text of the bundle.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let material = Value::object([("publicKey", Value::object([("hint", self.hint.as_str().into())]))]);
        let content = match &self.content {
            Content::Envelope(envelope) => ("dsseEnvelope", write_envelope(envelope)),
            Content::Message(message) => ("messageSignature", write_message(message)),
        };
        canonical(&Value::object([content, ("mediaType", MEDIA_TYPE.into()), ("verificationMaterial", material)]))
    }
}

/// What cosign writes for a key: base64 of the SHA-256 of its SPKI.
fn hint(key: &PublicKey) -> String {
    base64::encode(key.spki_sha256().as_bytes())
}

fn read_hint(document: &Value) -> Result<String, Malformed> {
    const KEY: Malformed = Malformed::new(WHAT, "verificationMaterial with a publicKey and no certificate");
    let material = document.member("verificationMaterial").ok_or(KEY)?;
    if material.present("certificate").is_some() || material.present("x509CertificateChain").is_some() {
        return Err(KEY);
    }
    let key = material.present("publicKey").filter(|key| key.as_object().is_some()).ok_or(KEY)?;
    // protobuf's JSON leaves an empty hint out.
    let hint = key.present("hint").map_or(Some(""), Value::as_str);
    let hint = hint.filter(|hint| hint.len() <= 1024 && !hint.chars().any(char::is_control));
    hint.map(str::to_owned).ok_or(Malformed::new(WHAT, "a hint of at most 1024 bytes without control characters"))
}

fn read_envelope(envelope: &Value, payload_bytes_max: usize) -> Result<Envelope, Malformed> {
    const SIGNATURES: Malformed = Malformed::new(WHAT, "exactly one signature in its envelope");
    let payload_type = text(envelope, "payloadType")?;
    let signatures = envelope.member("signatures").and_then(Value::as_array).ok_or(SIGNATURES)?;
    let [signature] = signatures else { return Err(SIGNATURES) };
    let payload = base64::decode("payload", text(envelope, "payload")?)?;
    if payload.len() > payload_bytes_max {
        return Err(Malformed::new("payload", "fewer bytes than it has"));
    }
    Ok(Envelope { payload, payload_type: payload_type.to_owned(), signature: read_signature(signature, "sig")? })
}

fn read_message(message: &Value) -> Result<MessageSignature, Malformed> {
    const DIGEST: Malformed = Malformed::new(WHAT, "a messageDigest of SHA2_256 or SHA2_384");
    let digest = message.present("messageDigest").ok_or(DIGEST)?;
    let function = match digest.member("algorithm").and_then(Value::as_str) {
        Some("SHA2_256") => HashFunction::Sha256,
        Some("SHA2_384") => HashFunction::Sha384,
        _ => return Err(DIGEST),
    };
    let digest = Digest::from_bytes(function, &base64::decode("messageDigest", text(digest, "digest")?)?)?;
    Ok(MessageSignature { digest, signature: read_signature(message, "signature")? })
}

fn read_signature(holder: &Value, name: &str) -> Result<Vec<u8>, Malformed> {
    let signature = base64::decode("signature", text(holder, name)?)?;
    if signature.is_empty() || signature.len() > Signature::BYTES_MAX {
        return Err(Malformed::new("signature", "1 to 512 bytes in base64"));
    }
    Ok(signature)
}

fn text<'a>(holder: &'a Value, name: &str) -> Result<&'a str, Malformed> {
    const TEXT: Malformed = Malformed::new(WHAT, "payload, payloadType, sig, digest and signature as texts");
    holder.member(name).and_then(Value::as_str).ok_or(TEXT)
}

// No keyid: cosign refuses a signature that has one (it counts as one of a threshold of unknown keys).
fn write_envelope(envelope: &Envelope) -> Value {
    let signature = Value::object([("sig", base64::encode(&envelope.signature).into())]);
    Value::object([
        ("payload", base64::encode(&envelope.payload).into()),
        ("payloadType", envelope.payload_type.as_str().into()),
        ("signatures", Value::Array(vec![signature])),
    ])
}

fn write_message(message: &MessageSignature) -> Value {
    let algorithm = match message.digest.function() {
        HashFunction::Sha256 => "SHA2_256",
        HashFunction::Sha384 => "SHA2_384",
    };
    let digest = base64::encode(message.digest.as_bytes());
    Value::object([
        ("messageDigest", Value::object([("algorithm", algorithm.into()), ("digest", digest.into())])),
        ("signature", base64::encode(&message.signature).into()),
    ])
}
