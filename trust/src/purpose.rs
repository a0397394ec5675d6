//! The one thing a key is for, and what it may leave behind.

use std::fmt;
use std::str::FromStr;

use crate::{Algorithm, Malformed};

/// What a key is for: one word for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set: a new purpose must be answered for everywhere")]
pub enum Purpose {
    /// Delegated targets of one repository's trust data (TUF), for the roles that their parents list the key for.
    Delegation,
    /// Container images, in both cosign forms.
    Image,
    /// Checkpoints of the audit log; made by `trustd init`, out of reach of the key API.
    Log,
    /// Whatever digest or message the caller chooses. Off by default: nothing is parsed.
    Raw,
    /// Digests of release files, as `cosign verify-blob` checks them. Such a
    /// signature does not bind the file's name.
    ReleaseBlob,
    /// Releases: lists, manifests and files, in forms that the daemon builds from names and digests and that bind
    /// the files' names.
    ReleaseStatement,
    /// Root of the trust data (TUF) of one or more repositories: who speaks for the other roles.
    Root,
    /// The snapshot of one repository's trust data (TUF): which files belong together.
    Snapshot,
    /// The targets of one repository's trust data (TUF): what is signed, and who else may sign.
    Targets,
    /// The timestamp of one repository's trust data (TUF): which snapshot is the current one.
    Timestamp,
}

/// One shape of signature. Which bytes are signed follows from purpose and form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "closed set")]
pub enum Form {
    /// Sigstore bundle v0.3: a DSSE statement for images, a message signature for blobs.
    Bundle,
    /// The manifest of a release: an in-toto statement in a bundle, which binds all files together.
    Manifest,
    /// minisign's `.minisig` beside each file of a release.
    Minisig,
    /// The bare signature over the caller's input ([`Purpose::Raw`], [`Purpose::Log`]).
    Raw,
    /// cosign's older form: the `.sig` tag for images, a `.sig` file for blobs and lists of releases.
    Sig,
    /// OpenSSH's `.sshsig` beside each file of a release.
    Sshsig,
    /// A line in a file of trust data ([`Purpose::is_of_trust_data`]), and a certificate of its root.
    Tuf,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 7] =
        [Self::Bundle, Self::Manifest, Self::Minisig, Self::Raw, Self::Sig, Self::Sshsig, Self::Tuf];

    /// The word for it in policy, leaves, on the wire and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Manifest => "manifest",
            Self::Minisig => "minisig",
            Self::Raw => "raw",
            Self::Sig => "sig",
            Self::Sshsig => "sshsig",
            Self::Tuf => "tuf",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Form {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new("form", "one of bundle, manifest, minisig, raw, sig, sshsig, tuf");
        Self::ALL.into_iter().find(|form| form.name() == text).ok_or(EXPECTED)
    }
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 10] = [
        Self::Delegation,
        Self::Image,
        Self::Log,
        Self::Raw,
        Self::ReleaseBlob,
        Self::ReleaseStatement,
        Self::Root,
        Self::Snapshot,
        Self::Targets,
        Self::Timestamp,
    ];

    /// The word for it in policy, leaves, on the wire and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delegation => "delegation",
            Self::Image => "image",
            Self::Log => "log",
            Self::Raw => "raw",
            Self::ReleaseBlob => "release-blob",
            Self::ReleaseStatement => "release-statement",
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }

    /// True for the five whose keys sign trust data (TUF).
    #[must_use]
    pub const fn is_of_trust_data(self) -> bool {
        matches!(self, Self::Delegation | Self::Root | Self::Snapshot | Self::Targets | Self::Timestamp)
    }

    /// The closed table of purpose × algorithm (docs/config.md prints it).
    ///
    /// Images: cosign and skopeo refuse RSA-PSS, and verify P-384 with SHA-256.
    /// Blobs: only a digest reaches the daemon, which pure Ed25519 cannot sign.
    /// Statements of releases: what cosign takes without being told a hash, as for images; minisign's form is left out
    /// where the key is not Ed25519, OpenSSH's where it is P-384 ([`Purpose::forms`]).
    /// Trust data: what Notary's clients verify, which is SHA-256 for P-384 too, and of RSA what they call `rsapss`. Root
    /// is certified, and they know no certificates of Ed25519.
    #[must_use]
    pub const fn allows(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Image | Self::ReleaseStatement => matches!(
                algorithm,
                Algorithm::EcdsaP256Sha256
                    | Algorithm::EcdsaP384Sha256
                    | Algorithm::Ed25519
                    | Algorithm::Rsa3072Pkcs1Sha256
                    | Algorithm::Rsa4096Pkcs1Sha256
            ),
            Self::Log => matches!(algorithm, Algorithm::Ed25519),
            Self::Raw => true,
            Self::ReleaseBlob => matches!(
                algorithm,
                Algorithm::EcdsaP256Sha256
                    | Algorithm::EcdsaP384Sha256
                    | Algorithm::Rsa3072Pkcs1Sha256
                    | Algorithm::Rsa4096Pkcs1Sha256
            ),
            Self::Root => matches!(
                algorithm,
                Algorithm::EcdsaP256Sha256
                    | Algorithm::EcdsaP384Sha256
                    | Algorithm::Rsa3072PssSha256
                    | Algorithm::Rsa4096PssSha256
            ),
            Self::Delegation | Self::Snapshot | Self::Targets | Self::Timestamp => matches!(
                algorithm,
                Algorithm::EcdsaP256Sha256
                    | Algorithm::EcdsaP384Sha256
                    | Algorithm::Ed25519
                    | Algorithm::Rsa3072PssSha256
                    | Algorithm::Rsa4096PssSha256
            ),
        }
    }

    /// The algorithm of a key that is made without one: the first choice of those that verify such signatures.
    #[must_use]
    pub const fn default_algorithm(self) -> Algorithm {
        match self {
            Self::Delegation
            | Self::Image
            | Self::Raw
            | Self::ReleaseBlob
            | Self::Root
            | Self::Snapshot
            | Self::Targets
            | Self::Timestamp => Algorithm::EcdsaP256Sha256,
            Self::Log | Self::ReleaseStatement => Algorithm::Ed25519,
        }
    }

    /// The forms a key of this purpose and algorithm may leave behind, in the order they are made; none where
    /// [`Purpose::allows`] says no (docs/config.md prints the table).
    ///
    /// minisign knows Ed25519 alone. OpenSSH signs P-384 with SHA-384 and nothing else (RFC 5656 §6.2.1), where all
    /// other forms of such a key have SHA-256. OpenPGP's form and minisign's older one are not among them, and must
    /// never be: see [`ReleaseFile::new`](crate::format::release::ReleaseFile::new).
    #[must_use]
    pub const fn forms(self, algorithm: Algorithm) -> &'static [Form] {
        if !self.allows(algorithm) {
            return &[];
        }
        match (self, algorithm) {
            (Self::Image | Self::ReleaseBlob, _) => &[Form::Sig, Form::Bundle],
            (Self::Log | Self::Raw, _) => &[Form::Raw],
            (Self::ReleaseStatement, Algorithm::Ed25519) => {
                &[Form::Bundle, Form::Manifest, Form::Minisig, Form::Sig, Form::Sshsig]
            }
            (Self::ReleaseStatement, Algorithm::EcdsaP384Sha256) => &[Form::Bundle, Form::Manifest, Form::Sig],
            (Self::ReleaseStatement, _) => &[Form::Bundle, Form::Manifest, Form::Sig, Form::Sshsig],
            (Self::Delegation | Self::Root | Self::Snapshot | Self::Targets | Self::Timestamp, _) => &[Form::Tuf],
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Purpose {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed::new(
            "purpose",
            "one of delegation, image, raw, release-blob, release-statement, root, snapshot, targets, timestamp",
        );
        Self::ALL.into_iter().find(|purpose| purpose.name() == text).ok_or(EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_is_refused_leaves_no_form_and_any_other_leaves_some() {
        for purpose in Purpose::ALL {
            for algorithm in Algorithm::ALL {
                let forms = purpose.forms(algorithm);
                assert_eq!(forms.is_empty(), !purpose.allows(algorithm), "{purpose} {algorithm}");
            }
            assert!(purpose.allows(purpose.default_algorithm()));
        }
    }

    #[test]
    fn root_is_certified_and_so_never_of_ed25519() {
        for algorithm in Algorithm::ALL {
            let could_be = Purpose::Targets.allows(algorithm) && algorithm != Algorithm::Ed25519;
            assert_eq!(Purpose::Root.allows(algorithm), could_be, "{algorithm}");
            assert_eq!(Purpose::Targets.allows(algorithm), Purpose::Delegation.allows(algorithm), "{algorithm}");
        }
        for purpose in Purpose::ALL.into_iter().filter(|purpose| purpose.is_of_trust_data()) {
            assert_eq!(purpose.forms(purpose.default_algorithm()), [Form::Tuf]);
        }
    }

    #[test]
    fn every_statement_key_leaves_a_manifest_and_only_ed25519_minisigns_form() {
        for algorithm in Algorithm::ALL.into_iter().filter(|one| Purpose::ReleaseStatement.allows(*one)) {
            let forms = Purpose::ReleaseStatement.forms(algorithm);
            assert!(forms.contains(&Form::Manifest) && forms.is_sorted(), "{algorithm}");
            assert_eq!(forms.contains(&Form::Minisig), algorithm == Algorithm::Ed25519);
            assert_eq!(forms.contains(&Form::Sshsig), algorithm != Algorithm::EcdsaP384Sha256);
        }
    }
}
