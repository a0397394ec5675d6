//! Tells the program which compiler built it, for its reports.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(compiler).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&printed);
    println!("cargo::rustc-env=TRUST_BENCH_RUSTC={}", version.lines().next().unwrap_or("unknown"));
}
