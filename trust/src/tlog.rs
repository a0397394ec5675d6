//! Merkle log (stub, being written).
