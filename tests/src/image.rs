//! Container images made by hand: small, exact bytes, no engine needed.

use serde_json::{Value, json};
use trust::Sha256Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An OCI image manifest or index with its blobs.
#[derive(Debug, Clone)]
pub struct OciImage {
    blobs: Vec<Vec<u8>>,
    manifest: Vec<u8>,
    media_type: &'static str,
}

impl OciImage {
    /// An image whose one layer is `content`: another content is another digest.
    #[must_use]
    pub fn holding(content: &str) -> Self {
        Self::made(content, None)
    }

    /// An image that refers to another by `subject` (OCI image-spec 1.1).
    #[must_use]
    pub fn about(subject: &Self, content: &str) -> Self {
        Self::made(content, Some(subject.descriptor()))
    }

    /// An index over several images; they must be put into the registry by digest before it.
    #[must_use]
    pub fn index(instances: &[Self]) -> Self {
        let manifests: Vec<Value> = instances
            .iter()
            .zip(["amd64", "arm64", "riscv64"])
            .map(|(instance, architecture)| {
                let platform = json!({"architecture": architecture, "os": "linux"});
                with(instance.descriptor(), "platform", platform)
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        Self { blobs: Vec::new(), manifest: manifest.to_string().into_bytes(), media_type: INDEX }
    }

    fn made(content: &str, subject: Option<Value>) -> Self {
        let layer = content.as_bytes().to_vec();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Sha256Digest::of(&layer).to_string()]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = match subject {
            Some(subject) => with(manifest, "subject", subject),
            None => manifest,
        };
        Self { blobs: vec![config, layer], manifest: manifest.to_string().into_bytes(), media_type: MANIFEST }
    }

    /// Config and layers.
    #[must_use]
    pub fn blobs(&self) -> &[Vec<u8>] {
        &self.blobs
    }

    /// The manifest's exact bytes.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The manifest's media type.
    pub(crate) const fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// SHA-256 of the manifest's bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.manifest)
    }

    fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.manifest)
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Sha256Digest::of(bytes).to_string(), "size": bytes.len()})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}
