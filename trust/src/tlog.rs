//! The Merkle log: hashes, proofs, tiles and signed checkpoints (RFC 6962 §2.1, C2SP `tlog-tiles`,
//! `tlog-checkpoint` and `signed-note`).
//!
//! Pure: where hashes come from is the caller's business. It does not know what a leaf says.

mod checkpoint;
mod proof;
mod tile;
mod tree;

pub use checkpoint::{Checkpoint, NoteError, SignedCheckpoint, VerifierKey};
pub use proof::{ProofError, consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion};
pub use tile::{ENTRY_BYTES_MAX, TILE_HEIGHT, TILE_WIDTH, Tile};
pub use tree::{Frontier, Node, empty_root, leaf_hash, node_hash};
