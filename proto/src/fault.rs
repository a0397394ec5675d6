//! Faults and status codes: the one table.
