//! Who is measured: a server, one of its keys, and several connections to it. What each does is one signature over
//! the same message with the same algorithm; the first of each is verified here, so that nothing else is counted.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tonic::transport::Channel;
use trust::{Algorithm, Digest, HashFunction, PublicKey, Sha256Digest, Signable, verify};
use trust_proto::v1;
use trust_proto::v1::raw_statement::Input;
use trust_proto::v1::signing_client::SigningClient;
use trust_proto::v1::statement::Kind;

use crate::peer::{self, NotaryKey};

/// As long as what notary-server has signed most often, a timestamp: 450 bytes.
pub(crate) const MESSAGE_BYTES: usize = 450;

/// A server that signs.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// Its name in the report.
    pub(crate) name: String,
    /// At least as many as a case asks for.
    pub(crate) channels: Vec<Channel>,
    /// How it is asked.
    pub(crate) way: Way,
}

/// How a server is asked for one signature.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// `proto.Signer/Sign`.
    Notary { key: NotaryKey, message: Bytes },
    /// `trust.v1.Signing/Sign`.
    Trustd { request: Box<v1::SignRequest> },
}

impl Subject {
    /// One signature over connection `number`, modulo how many a case has.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) async fn sign(&self, number: usize, connections: usize) -> Result<()> {
        let channel = self.channel(number, connections)?;
        match &self.way {
            Way::Notary { key, message } => peer::sign(channel, key, message.clone()).await.map(drop),
            Way::Trustd { request } => {
                SigningClient::new(channel).sign(request.as_ref().clone()).await.context("sign at trustd")?;
                Ok(())
            }
        }
    }

    fn channel(&self, number: usize, connections: usize) -> Result<Channel> {
        let place = number.checked_rem(connections).context("no connection")?;
        self.channels.get(place).cloned().context("too few connections")
    }

    /// Has one signature made and verifies it.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub(crate) async fn prove(&self) -> Result<()> {
        let channel = self.channel(0, 1)?;
        match &self.way {
            Way::Notary { key, message } => {
                let mut signature = peer::sign(channel, key, message.clone()).await?.to_vec();
                if key.public_key.algorithm() != Algorithm::Ed25519 {
                    signature = peer::ecdsa_der(&signature).context("no ECDSA signature")?;
                }
                let signed = Signable::Message(message.to_vec());
                verify::one(&key.public_key, &signed, &signature).context("a signature of notary-signer")
            }
            Way::Trustd { request } => {
                let answer = SigningClient::new(channel).sign(request.as_ref().clone()).await.context("sign")?;
                prove_ours(request, &answer.into_inner())
            }
        }
    }
}

fn prove_ours(request: &v1::SignRequest, answer: &v1::SignResponse) -> Result<()> {
    let algorithm = <Algorithm as trust_proto::words::Word>::from_wire(answer.algorithm).context("an algorithm")?;
    let key = PublicKey::from_spki_der(algorithm, &answer.spki_der).context("a public key of trustd")?;
    ensure!(!answer.signatures.is_empty(), "an answer without a signature");
    let kind = request.statement.as_ref().and_then(|statement| statement.kind.as_ref());
    for signed in &answer.signatures {
        let input = match kind.context("a request without a statement")? {
            // Of a bundle the daemon signs the DSSE preimage; the client's tests look at that.
            Kind::Image(_) => continue,
            Kind::Blob(blob) => {
                Signable::Digest(Digest::from_bytes(HashFunction::Sha256, &blob.sha256).context("a digest")?)
            }
            Kind::Raw(raw) => match raw.input.as_ref().context("a raw statement without input")? {
                Input::Message(message) => Signable::Message(message.to_vec()),
                Input::Digest(_) => anyhow::bail!("no case signs a raw digest"),
            },
        };
        verify::one(&key, &input, &signed.signature).context("a signature of trustd")?;
    }
    Ok(())
}

/// A request for one Ed25519 signature over a message.
pub(crate) fn raw(key: &str, message: Bytes) -> Box<v1::SignRequest> {
    request(key, Kind::Raw(v1::RawStatement { input: Some(Input::Message(message)) }))
}

/// A request for the signature of a release file with this digest.
pub(crate) fn blob(key: &str, message: &[u8]) -> Box<v1::SignRequest> {
    let sha256 = Bytes::copy_from_slice(Sha256Digest::of(message).as_bytes());
    request(key, Kind::Blob(v1::BlobStatement { sha256, name: "release.tar".to_owned(), size: 450 }))
}

/// A request for both forms of an image's signature.
pub(crate) fn image(key: &str) -> Box<v1::SignRequest> {
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"layers":[]}"#;
    let evidence = Some(v1::image_statement::Evidence::Manifest(Bytes::from_static(manifest.as_bytes())));
    let reference = "registry.bench.example/app:1.0".to_owned();
    request(key, Kind::Image(v1::ImageStatement { reference, evidence }))
}

fn request(key: &str, kind: Kind) -> Box<v1::SignRequest> {
    Box::new(v1::SignRequest {
        key: key.to_owned(),
        statement: Some(v1::Statement { kind: Some(kind) }),
        forms: Vec::new(),
        idempotency_key: String::new(),
        with_proof: false,
    })
}

/// The message that everybody signs.
pub(crate) fn message() -> Bytes {
    Bytes::from(b"{\"_type\":\"Timestamp\"}".iter().copied().cycle().take(MESSAGE_BYTES).collect::<Vec<u8>>())
}
