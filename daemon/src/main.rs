//! The program `trustd`.
fn main() {}
