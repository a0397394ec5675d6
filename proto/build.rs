//! Compiles the `.proto` files with protox, so that no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 8] = [
    "trust/v1/admin.proto",
    "trust/v1/audit.proto",
    "trust/v1/common.proto",
    "trust/v1/content_trust.proto",
    "trust/v1/hsm.proto",
    "trust/v1/keys.proto",
    "trust/v1/signing.proto",
    "trust/v1/verification.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=trust");
    println!("cargo::rerun-if-changed=notary");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Many times the size of the steps that come before it.
    let large = ".trust.v1.DoctorResponse.step.report";
    tonic_prost_build::configure()
        .bytes(".")
        .boxed(large)
        .codec_path("crate::codec::BoundedCodec")
        .compile_fds(descriptors)?;
    // Apart from the others: no reflection tells of it, and no permission of `trust.v1` is about it.
    let notary = protox::compile(["notary/signer.proto"], ["."])?;
    tonic_prost_build::configure().bytes(".").compile_fds(notary)?;
    Ok(())
}
