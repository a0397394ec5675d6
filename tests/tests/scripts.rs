//! What the scripts take for a program that they need.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use trust_tests::program::{checkout, run, tool};

/// `PATH` with a directory before all others.
fn path_behind(first: &Path) -> String {
    format!("{}:{}", first.display(), std::env::var("PATH").unwrap_or_default())
}

/// On an ordinary Debian there is a busybox that needs libraries, and in an image from scratch are none.
#[test]
fn a_busybox_that_is_linked_with_libraries_is_missing() {
    let directory = TempDir::new().unwrap();
    let cat = tool("cat", "apt-get install coreutils").unwrap();
    std::fs::copy(cat, directory.path().join("busybox")).unwrap();
    let mut check = Command::new(checkout().join("scripts/install_test_tools.sh"));

    let ran = run(check.arg("--check").env("PATH", path_behind(directory.path()))).unwrap();

    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("missing: busybox\n  apt-get install busybox-static\n"), "{ran}");
}

/// Debian 12 has 1.63, which says of the workspace's manifest that it cannot read it, and no more.
#[test]
fn a_rust_that_is_too_old_is_named_with_its_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let cargo = directory.path().join("cargo");
    std::fs::write(&cargo, "#!/bin/sh\necho 'cargo 1.63.0 (fd9c4297c 2022-07-01)'\n").unwrap();
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).unwrap();
    let mut check = Command::new(checkout().join("scripts/install_test_tools.sh"));
    check.arg("--check").env("PATH", path_behind(directory.path())).env_remove("SUDO_USER");

    let ran = run(&mut check).unwrap();

    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.contains("missing: Rust 1.95 or newer (found 1.63.0)\n"), "{ran}");
}

#[test]
fn one_program_of_several_is_not_all_of_them() {
    let has = |words: &str| {
        let script = format!(". {}/scripts/programs.sh; has {words}", checkout().display());
        run(Command::new("bash").args(["-euo", "pipefail", "-c", &script])).unwrap().code
    };

    assert_eq!(has("cat sh"), Some(0));
    assert_eq!(has("cat no-such-program-here"), Some(1));
    assert_eq!(has("no-such-program-here cat"), Some(1));
}
