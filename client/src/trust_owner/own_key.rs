//! A proposal signed here, by a key that its holder keeps: a file with PKCS#8, docker's own key files among them.
//!
//! Signed are the bytes that the proposal's digest means, where they are metadata of the role that they are for. The key
//! goes nowhere; the daemon is brought the signatures.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use trust::Sha256Digest;
use trust::format::tuf::{Document, Key, KeyKind, RoleName};
use trust_proto::v1;

use crate::failure::Failure;
use crate::key::private_file::{Kind, PrivateFile};

/// A private key that signs here.
pub(super) struct OwnKey {
    pair: Pair,
    /// As metadata knows it without a certificate.
    id: Sha256Digest,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl OwnKey {
    /// Reads the file; asks for its passphrase where it has one.
    pub(super) fn read(path: &Path, passphrase_file: Option<&Path>) -> Result<Self, Failure> {
        let file = PrivateFile::read(path, passphrase_file)?;
        let broken = || Failure::usage(format!("{} holds no whole key", path.display()), "take the file's backup");
        let (pair, kind, public) = match file.kind {
            Kind::EcdsaP256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &file.pkcs8);
                let pair = pair.map_err(|_| broken())?;
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| broken())?;
                let public = public.as_ref().to_vec();
                (Pair::Ecdsa(pair), KeyKind::Ecdsa, public)
            }
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&file.pkcs8).map_err(|_| broken())?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), KeyKind::Ed25519, public)
            }
            kind @ (Kind::EcdsaP384 | Kind::Rsa { .. }) => {
                return Err(Failure::usage(
                    format!("{} holds {kind}, with which nothing is signed here", path.display()),
                    "`trustctl key import` brings it into the daemon",
                ));
            }
        };
        Ok(Self { pair, id: Key::new(kind, public)?.canonical_id() })
    }

    /// Signs those files of a proposal that the key may still sign.
    ///
    /// # Errors
    /// Where there is none, and where the bytes are not those that the proposal says; nothing is signed then.
    pub(super) fn sign(&self, proposal: &v1::TrustProposal) -> Result<Vec<v1::BroughtSignature>, Failure> {
        let id = self.id.to_hex();
        let lists = |keys: &[v1::TrustKey]| keys.iter().any(|key| key.id == id);
        let waits = |file: &&v1::ProposedFile| file.quorums.iter().any(|quorum| lists(&quorum.open));
        let mut brought = Vec::new();
        for file in proposal.files.iter().filter(waits) {
            let role: RoleName = file.role.parse()?;
            if Sha256Digest::of(&file.signed).to_string() != file.digest {
                let what = format!("the daemon sends other bytes of {role} than those that its digest means");
                return Err(Failure::other(what, "look at the daemon; nothing was signed"));
            }
            if let Err(unsound) = Document::read_content(&role, &file.signed) {
                let what = format!("what waits for {role} is no metadata of it: {unsound}");
                return Err(Failure::other(what, "look at the daemon; nothing was signed"));
            }
            let (role, key_id) = (role.to_string(), id.clone());
            brought.push(v1::BroughtSignature { role, key_id, signature: self.signature(&file.signed)?.into() });
        }
        if !brought.is_empty() {
            return Ok(brought);
        }
        let has_signed = proposal.files.iter().flat_map(|file| &file.quorums).any(|quorum| lists(&quorum.signed));
        Err(if has_signed {
            Failure::refused(format!("the key {id} has signed it"), "it takes another holder's key")
        } else {
            Failure::refused(
                format!("no file of the proposal lists the key {id}"),
                "`trustctl trust inspect` shows which do",
            )
        })
    }

    fn signature(&self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signed = pair.sign(&SystemRandom::new(), bytes);
                let failed = |_| Failure::other("the key did not sign", "is there randomness to be had?");
                Ok(signed.map_err(failed)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(bytes).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};

    use super::*;

    const CONTENT: &str = r#"{"_type":"Targets","delegations":{"keys":{},"roles":[]},"expires":"2030-01-01T00:00:00Z","targets":{},"version":1}"#;

    /// `docker trust key generate` of docker 28.2.2 made it, and called it so; passphrase "a passphrase for tests".
    const OF_DOCKER: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
        role: tester\n\
        \n\
        MIHuMEkGCSqGSIb3DQEFDTA8MBsGCSqGSIb3DQEFDDAOBAik8GXjRS5HtAICCAAw\n\
        HQYJYIZIAWUDBAEqBBDuXOL8f2PvCPYv1bOu1IRpBIGgZxoZcRbSKNdFQyvV5S/G\n\
        OsbOQt8mwHmixlzcxwRkK6BfC+GadFzXRixwDg8SarJys3fTQOggHCGWNnHjLoMB\n\
        iYcvqKwsa8LgRRjy5/PaOzOlt6uZL6nxDVpNmaD1Wdp54PfIYc44umz491HthsoL\n\
        h3Ij75nFzktzcXwYj/CMOruxXBAjfYGnksFaCfKYa1Vgtmdy/NtabUbOxzOiNkzS\n\
        pA==\n\
        -----END ENCRYPTED PRIVATE KEY-----\n";
    const ITS_NAME: &str = "50267822c89fe06fbfd2ab82f6274e12b1692f15c540aedd82c2237875863491";

    /// A file that is its owner's alone.
    fn put(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A key of each kind, from a file, with what verifies its signatures.
    fn keys() -> Vec<(OwnKey, Vec<u8>, &'static dyn VerificationAlgorithm)> {
        let (directory, random) = (tempfile::tempdir().unwrap(), SystemRandom::new());
        let read = |name: &str, der: &[u8]| OwnKey::read(&put(directory.path(), name, der), None).unwrap();
        let of_curve = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let point = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, of_curve.as_ref()).unwrap();
        let edwards = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
        let bare = Ed25519KeyPair::from_pkcs8_maybe_unchecked(edwards.as_ref()).unwrap();
        let (by_curve, by_edwards): (&dyn VerificationAlgorithm, &dyn VerificationAlgorithm) =
            (&ECDSA_P256_SHA256_ASN1, &ED25519);
        vec![
            (read("p256", of_curve.as_ref()), point.public_key().as_ref().to_vec(), by_curve),
            (read("ed25519", edwards.as_ref()), bare.public_key().as_ref().to_vec(), by_edwards),
        ]
    }

    /// A proposal for targets that says this, and waits for a key.
    fn waiting(id: &str, content: &str) -> v1::TrustProposal {
        let open = vec![v1::TrustKey { id: id.to_owned(), name: String::new() }];
        let quorums = vec![v1::ProposedQuorum { threshold: 2, signed: Vec::new(), open }];
        let (role, digest) = ("targets".to_owned(), Sha256Digest::of(content.as_bytes()).to_string());
        let signed = content.as_bytes().to_vec().into();
        let file = v1::ProposedFile { role, digest, quorums, signed, ..v1::ProposedFile::default() };
        v1::TrustProposal { files: vec![file], ..v1::TrustProposal::default() }
    }

    #[test]
    fn what_the_digest_means_is_signed_by_the_key_in_the_file() {
        for (key, public, algorithm) in keys() {
            let brought = key.sign(&waiting(&key.id.to_hex(), CONTENT)).unwrap();

            let [one] = &brought[..] else { panic!("{brought:?}") };
            assert_eq!((one.role.as_str(), &one.key_id), ("targets", &key.id.to_hex()));
            UnparsedPublicKey::new(algorithm, public).verify(CONTENT.as_bytes(), &one.signature).unwrap();
        }
    }

    #[test]
    fn a_key_file_of_docker_opens_with_its_passphrase_and_is_the_key_that_docker_calls_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = put(directory.path(), "docker.key", OF_DOCKER.as_bytes());
        let [right, wrong] = [("right", &b"a passphrase for tests\n"[..]), ("wrong", b"another passphrase")]
            .map(|(name, content)| put(directory.path(), name, content));

        let key = OwnKey::read(&file, Some(&right)).unwrap();

        assert_eq!(key.id.to_hex(), ITS_NAME);
        assert_eq!(key.sign(&waiting(ITS_NAME, CONTENT)).unwrap().len(), 1);
        let refused = OwnKey::read(&file, Some(&wrong)).err().unwrap();
        assert!(refused.what().contains("does not open with that passphrase"), "{refused:?}");
    }

    #[test]
    fn other_bytes_and_what_is_no_metadata_are_not_signed() {
        let (key, ..) = keys().pop().unwrap();
        let id = key.id.to_hex();
        let mut other = waiting(&id, CONTENT);
        other.files[0].signed = b"other".to_vec().into();
        assert!(key.sign(&other).unwrap_err().what().contains("other bytes"));

        for content in ["evil", "{}", &CONTENT.replace("Targets", "Root"), &format!(" {CONTENT}")] {
            assert!(key.sign(&waiting(&id, content)).unwrap_err().what().contains("no metadata"), "{content}");
        }
    }

    #[test]
    fn a_key_that_has_signed_or_is_not_listed_signs_nothing() {
        let (key, ..) = keys().pop().unwrap();
        let mut signed = waiting(&key.id.to_hex(), CONTENT);
        let quorum = &mut signed.files[0].quorums[0];
        quorum.signed = std::mem::take(&mut quorum.open);
        assert!(key.sign(&signed).unwrap_err().what().contains("has signed it"));

        assert!(key.sign(&waiting(&"ab".repeat(32), CONTENT)).unwrap_err().what().contains("no file of the proposal"));
    }
}
