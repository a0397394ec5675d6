//! The manifests that are signed for one reference: the one it resolves to, and every instance of an index.
//!
//! skopeo and podman check the instance that they run, cosign what the reference resolves to: both are signed.

use std::collections::BTreeSet;

use trust::format::oci::{self, Descriptor, MediaType};

use crate::failure::Failure;
use crate::output::Output;
use crate::registry::{Manifest, Place, Registry};

/// No index has more instances, those of indexes within it included.
const INSTANCES_MAX: usize = 1024;
/// Nor more bytes in all of their manifests: they are kept until they are signed.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// One manifest of an image.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Its bytes.
    pub(crate) manifest: Manifest,
    /// How others refer to it.
    pub(crate) descriptor: Descriptor,
}

/// The manifest and, where it is an index, everything it lists, each once.
///
/// # Errors
/// When an instance is not there or is not what the index says, and for too many.
pub(crate) async fn gather(
    registry: &Registry,
    top: (Manifest, oci::Manifest),
    output: Output,
) -> Result<Vec<Instance>, Failure> {
    let (manifest, parsed) = top;
    let mut seen = BTreeSet::from([manifest.digest]);
    let mut waiting: Vec<Descriptor> = parsed.instances().to_vec();
    let mut found = vec![Instance { descriptor: parsed.descriptor(), manifest }];
    let mut bytes: usize = 0;
    let bar = output.progress(u64::try_from(waiting.len()).unwrap_or_default(), "reading instances");
    while let Some(listed) = waiting.pop() {
        bar.inc(1);
        // Something else that an index may list, and no engine runs.
        if listed.media_type.parse::<MediaType>().is_err() || !seen.insert(listed.digest) {
            continue;
        }
        let (manifest, parsed) = instance(registry, &listed).await?;
        bytes = bytes.saturating_add(manifest.bytes.len());
        if found.len() > INSTANCES_MAX || bytes > BYTES_MAX {
            return Err(Failure::refused(
                format!("the index lists more than {INSTANCES_MAX} manifests, or {} MiB of them", BYTES_MAX >> 20),
                "sign its instances one by one, by digest",
            ));
        }
        waiting.extend(parsed.instances().iter().cloned());
        bar.set_length(u64::try_from(found.len().saturating_add(waiting.len())).unwrap_or_default());
        found.push(Instance { descriptor: parsed.descriptor(), manifest });
    }
    bar.finish_and_clear();
    Ok(found)
}

async fn instance(registry: &Registry, listed: &Descriptor) -> Result<(Manifest, oci::Manifest), Failure> {
    let digest = listed.digest;
    let not_as_listed = |why: &str| {
        Failure::refused(
            format!("the index lists {digest}, {why}"),
            "push the whole image again: an index is signed with all its instances",
        )
    };
    let manifest = registry.manifest(&Place::Digest(digest)).await?;
    let manifest = manifest.ok_or_else(|| not_as_listed("which the registry does not have"))?;
    let parsed =
        oci::parse(&manifest.bytes).map_err(|malformed| not_as_listed(&format!("which has no {malformed}")))?;
    if parsed.media_type.as_str() != listed.media_type || parsed.size_bytes != listed.size_bytes {
        return Err(not_as_listed("which has another size or media type there"));
    }
    Ok((manifest, parsed))
}
