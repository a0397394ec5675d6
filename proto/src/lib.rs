//! The wire: services of package `trust.v1`, and the one place where wire types
//! become domain types and back.

pub mod codec;
pub mod fault;
pub mod words;

/// What a stock notary-server asks of its signer. Generated from `proto/notary/signer.proto`; its documentation is the
/// comments there.
#[expect(
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    unused_qualifications,
    reason = "generated code"
)]
pub mod notary {
    tonic::include_proto!("proto");
}

/// Generated from `proto/trust/v1/*.proto`; its documentation is the comments there.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    unused_qualifications,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("trust.v1");

    /// The encoded `FileDescriptorSet`, for gRPC reflection and the tests that walk every method.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
