//! Verification: one signature, or many with one verdict each.
