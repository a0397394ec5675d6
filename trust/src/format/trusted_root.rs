//! The trusted root that names nobody: for cosign 2.6, which will not look at a bundle without such a file.

/// A trusted root without logs and authorities, without a line break at its end. With it and
/// `--insecure-ignore-tlog=true` cosign believes the given public key and nothing else.
pub const JSON: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
