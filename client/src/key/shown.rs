//! How keys look.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use trust::format::release::minisig;
use trust::state::DistrustReason;
use trust::{Algorithm, Form, Malformed, Origin, PublicKey, Purpose, Sha256Digest};
use trust_proto::v1;
use trust_proto::words::Word as _;

use crate::command_line::key::Encoding;
use crate::failure::printable;
use crate::output::{Paint, Shown};
use crate::time::{rfc3339, rfc3339_or_none};

/// One key.
#[derive(Debug, Serialize)]
pub(super) struct KeyView {
    id: String,
    name: String,
    purpose: &'static str,
    algorithm: &'static str,
    scope: Vec<String>,
    forms: Vec<&'static str>,
    /// May it sign? active, disabled, retired, destroy-scheduled, destroyed.
    #[serde(rename = "use")]
    use_: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    destroy_at: Option<String>,
    /// Do its signatures count? trusted, distrusted.
    trust: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    distrust_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    distrusted_since_leaf: Option<u64>,
    shred_pending: bool,
    /// software, or the token's name
    custodian: String,
    /// Destroyed here, and not gone from its token yet.
    object_pending: bool,
    created_at: String,
    versions: Vec<VersionView>,
}

#[derive(Debug, Serialize)]
struct VersionView {
    version: u32,
    /// SHA-256 of the SubjectPublicKeyInfo.
    public_key: String,
    created_at: String,
    /// The leaf of its creation.
    leaf: u64,
    /// adopted, generated, imported: what was not generated has been elsewhere.
    origin: &'static str,
}

impl KeyView {
    pub(super) fn read(key: &v1::Key) -> Self {
        let distrusted = key.trust() == v1::Trust::Distrusted;
        Self {
            id: key.id.clone(),
            name: key.name.clone(),
            purpose: Purpose::from_wire(key.purpose).map_or("unknown", Purpose::name),
            algorithm: Algorithm::from_wire(key.algorithm).map_or("unknown", Algorithm::name),
            scope: key.scope.clone(),
            forms: key.forms.iter().map(|form| Form::from_wire(*form).map_or("unknown", Form::name)).collect(),
            use_: use_word(key.r#use()),
            destroy_at: rfc3339_or_none(key.destroy_at_unix_seconds),
            trust: if distrusted { "distrusted" } else { "trusted" },
            distrust_reason: distrusted
                .then(|| DistrustReason::from_wire(key.distrust_reason).map_or("unknown", DistrustReason::name)),
            distrusted_since_leaf: distrusted.then_some(key.distrusted_since_leaf),
            shred_pending: key.shred_pending,
            custodian: key.custodian.clone(),
            object_pending: key.object_pending,
            created_at: rfc3339(key.created_at_unix_seconds),
            versions: key.versions.iter().map(VersionView::read).collect(),
        }
    }

    /// Both answers about the key, in a few words.
    fn state(&self, paint: Paint) -> String {
        let mut words = vec![if self.use_ == "active" { paint.good(self.use_) } else { paint.bad(self.use_) }];
        if let Some(at) = &self.destroy_at {
            words.push(format!("at {at}"));
        }
        if let Some(reason) = self.distrust_reason {
            words.push(paint.bad(&format!("distrusted ({reason})")));
        }
        if self.shred_pending {
            words.push("shred pending".to_owned());
        }
        if self.object_pending {
            words.push(paint.bad(&format!("object pending in token {}", self.custodian)));
        }
        words.join(" ")
    }
}

impl VersionView {
    fn read(version: &v1::KeyVersion) -> Self {
        Self {
            version: version.version,
            public_key: Sha256Digest::of(&version.spki_der).to_string(),
            created_at: rfc3339(version.created_at_unix_seconds),
            leaf: version.leaf,
            origin: Origin::from_wire(version.origin).map_or("unknown", Origin::name),
        }
    }
}

/// The word for whether a key may sign.
pub(crate) const fn use_word(word: v1::Use) -> &'static str {
    match word {
        v1::Use::Active => "active",
        v1::Use::Disabled => "disabled",
        v1::Use::Retired => "retired",
        v1::Use::DestroyScheduled => "destroy-scheduled",
        v1::Use::Destroyed => "destroyed",
        v1::Use::Unspecified => "unknown",
    }
}

impl Shown for KeyView {
    fn text(&self, paint: Paint) -> String {
        let mut lines = vec![
            paint.strong(&self.name),
            format!("  id         {}", paint.faint(&self.id)),
            format!("  purpose    {}, {}, forms {}", self.purpose, self.algorithm, self.forms.join(" ")),
        ];
        lines.push(format!("  custodian  {}", printable(&self.custodian)));
        if !self.scope.is_empty() {
            lines.push(format!("  scope      {}", paint_all(&self.scope)));
        }
        lines.push(format!("  state      {}", self.state(paint)));
        match self.distrusted_since_leaf {
            Some(0) => lines.push("  distrusted: none of its signatures counts".to_owned()),
            Some(leaf) => lines.push(format!("  distrusted since leaf {leaf}")),
            None => {}
        }
        for version in &self.versions {
            lines.push(format!(
                "  version {}  {}  {}  leaf {}  {}",
                version.version, version.public_key, version.created_at, version.leaf, version.origin
            ));
        }
        lines.join("\n")
    }
}

/// Patterns from the daemon, fit for a terminal.
fn paint_all(words: &[String]) -> String {
    printable(&words.join(", "))
}

/// What `key list` found.
#[derive(Debug, Serialize)]
pub(super) struct Keys {
    pub(super) keys: Vec<KeyView>,
}

impl Shown for Keys {
    fn text(&self, paint: Paint) -> String {
        if self.keys.is_empty() {
            return paint.faint("no keys that you may see; `trustctl key create NAME --purpose PURPOSE` makes one");
        }
        let width = self.keys.iter().map(|key| key.name.chars().count()).max().unwrap_or(0);
        let lines = self.keys.iter().map(|key| {
            // Padded before it is painted: escape sequences have no width.
            let name = paint.strong(&format!("{:width$}", key.name));
            let scope = if key.scope.is_empty() { String::new() } else { format!("  {}", paint_all(&key.scope)) };
            format!("{name}  {:17}  {:20}  {}{scope}", key.purpose, key.algorithm, key.state(paint))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A public key in one of its encodings.
#[derive(Debug, Serialize)]
pub(super) struct PublicView {
    name: String,
    version: u32,
    algorithm: &'static str,
    format: &'static str,
    /// The text of the encoding; DER in base64.
    public_key: String,
}

impl PublicView {
    pub(super) fn of(name: &str, version: u32, key: &PublicKey, encoding: Encoding) -> Result<Self, Malformed> {
        let (format, public_key) = match encoding {
            Encoding::Der => ("der", STANDARD.encode(key.spki_der())),
            Encoding::Jwk => ("jwk", key.to_jwk()),
            Encoding::Minisign => ("minisign", minisig::public_key_text(key)?),
            Encoding::Openssh => ("openssh", format!("{} {name}", key.to_openssh())),
            Encoding::Pem => ("pem", key.to_pem()),
        };
        Ok(Self { name: name.to_owned(), version, algorithm: key.algorithm().name(), format, public_key })
    }
}

impl Shown for PublicView {
    fn text(&self, _: Paint) -> String {
        self.public_key.trim_end().to_owned()
    }
}

/// What a command did to a key, and where that stands in the log.
#[derive(Debug, Serialize)]
pub(super) struct KeyChange {
    #[serde(rename = "result")]
    pub(super) done: &'static str,
    pub(super) key: KeyView,
    pub(super) log_origin: String,
    pub(super) leaf: u64,
}

impl Shown for KeyChange {
    fn text(&self, paint: Paint) -> String {
        let place = format!("  log        {} leaf {}", self.log_origin, self.leaf);
        format!("{} {}\n{}", self.done.replace('-', " "), self.key.text(paint), paint.faint(&place))
    }
}
