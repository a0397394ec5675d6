//! The program itself: a run beside another build of it, and runs by two paths held against each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trust-bench");
/// On the disk that the program was built on: it refuses to measure in memory.
const BELOW: &str = env!("CARGO_TARGET_TMPDIR");
const CASE: &str = "Ed25519, one key, 1 item";

/// One short case of the kernels; the directory and what it left.
fn run(more: &[&str]) -> (TempDir, Value) {
    let out = TempDir::new_in(BELOW).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--suite", "kernels", "--case", CASE, "--rounds", "3", "--length-ms", "50", "--below", BELOW]);
    let ended = command.arg("--out").arg(out.path()).args(more).output().unwrap();
    assert!(ended.status.success(), "{}", said(&ended));
    let text = std::fs::read_to_string(out.path().join("results.json")).unwrap();
    (out, serde_json::from_str(&text).unwrap())
}

fn compare(old: &Path, new: &Path, more: &[&str]) -> Output {
    Command::new(PROGRAM).arg("compare").args([old, new]).args(more).output().unwrap()
}

fn said(ended: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr))
}

fn subjects(value: &Value) -> Vec<&str> {
    value["rows"].as_array().unwrap().iter().map(|row| row["subject"].as_str().unwrap()).collect()
}

#[test]
fn another_build_is_measured_in_every_round_and_one_that_is_none_is_refused() {
    let (_out, value) = run(&["--beside", PROGRAM]);

    let rows = value["rows"].as_array().unwrap();
    for name in ["verify_strict", "verify_batch"] {
        let is_it = |row: &&Value| {
            let subject = row["subject"].as_str().unwrap();
            subject.starts_with(&format!("ed25519-dalek, {name}, ")) && subject.ends_with(" build")
        };
        let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {:?}", subjects(&value)));
        let samples = row["samples"].as_array().unwrap();
        assert!(samples.len() == 3 && samples.iter().all(|rate| rate.as_f64().unwrap() > 0.0), "{row}");
        assert_eq!((&row["whose"], &row["unit"]), (&"peers".into(), &"items/s".into()));
    }
    assert_eq!(value["took_s"][0]["suite"], "kernels");

    let none = PathBuf::from("/bin/true");
    let ended = Command::new(PROGRAM)
        .args(["--suite", "kernels", "--case", CASE, "--below", BELOW, "--beside"])
        .arg(none)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(said(&ended).contains("/bin/true"), "{}", said(&ended));
}

#[test]
fn runs_by_two_paths_are_compared_on_purpose_only() {
    let ((portable, of_portable), (any, of_any)) = (run(&["--path", "portable"]), run(&[]));
    assert_eq!(of_portable["machine"]["path of kernels, digests and verify"], "portable");
    assert!(subjects(&of_portable).contains(&"chunk, keys prepared, portable"));
    assert!(subjects(&of_any).contains(&"chunk, keys prepared, portable"));

    let refused = compare(portable.path(), any.path(), &[]);
    let on_purpose = compare(portable.path(), any.path(), &["--across-paths"]);
    let same = compare(any.path(), any.path(), &[]);

    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("--path portable") && said(&refused).contains("--across-paths"));
    assert!(on_purpose.status.code().is_some_and(|code| code < 2), "{}", said(&on_purpose));
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
}
