//! Content-trust formats.
