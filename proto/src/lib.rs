//! The wire: services of package `trust.v1`, and the one place where wire types
//! become domain types and back.

pub mod fault;
pub mod words;

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
