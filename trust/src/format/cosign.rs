//! temp
use crate::{Form, Malformed, Reference, Sha256Digest};
/// x
#[expect(missing_docs, clippy::exhaustive_structs, reason="temp")]
pub struct ImageStatement { pub reference: Reference, pub digest: Sha256Digest }
/// x
#[expect(missing_docs, reason="temp")]
pub struct Preimage { pub payload: Vec<u8>, pub signed: Vec<u8> }
impl ImageStatement { /// x
#[expect(missing_docs, reason="temp")]
 pub fn preimage(&self, _: Form) -> Result<Preimage, Malformed> { Err(Malformed::new("a","b")) } }
