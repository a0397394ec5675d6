//! What the documents say is done as they say it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use trust_tests::document::{blocks, document};
use trust_tests::program::{self, checkout, ours, run};

/// A script as the document has it, in an empty directory.
fn sh(directory: &Path, script: &str) {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(directory)).unwrap().ok().unwrap();
}

fn openssl(directory: &Path, arguments: &[&str]) -> trust_tests::Ran {
    run(program::openssl().unwrap().args(arguments).current_dir(directory)).unwrap()
}

/// The certificates of docs/tls.md, made by its own commands.
fn certificates() -> TempDir {
    let directory = TempDir::new().unwrap();
    for block in
        blocks(&document("docs/tls.md").unwrap(), "sh").unwrap().iter().filter(|block| !block.contains("trustctl"))
    {
        sh(directory.path(), block);
    }
    directory
}

#[test]
fn the_commands_of_tls_md_make_certificates_that_openssl_verifies() {
    let directory = certificates();
    let at = directory.path();

    for purpose in ["server", "client"] {
        let file = format!("{purpose}.pem");
        openssl(at, &["verify", "-CAfile", "ca.pem", "-purpose", &format!("ssl{purpose}"), &file]).ok().unwrap();
        let other = if purpose == "server" { "sslclient" } else { "sslserver" };
        assert_ne!(openssl(at, &["verify", "-CAfile", "ca.pem", "-purpose", other, &file]).code, Some(0), "{file}");
    }
    let names = openssl(at, &["x509", "-in", "client.pem", "-noout", "-ext", "subjectAltName"]).ok().unwrap().stdout;
    assert_eq!(names.matches("URI:").count(), 1, "{names}");
    // The last block of commands revoked the client.
    let revoked = openssl(at, &["verify", "-CAfile", "ca.pem", "-crl_check", "-CRLfile", "crl.pem", "client.pem"]);
    assert!(revoked.code != Some(0) && revoked.words().contains("revoked"), "{revoked}");
    openssl(at, &["verify", "-CAfile", "ca.pem", "-crl_check", "-CRLfile", "crl.pem", "server.pem"]).ok().unwrap();
}

#[test]
fn the_daemon_takes_the_configuration_of_tls_md() {
    let directory = certificates();
    let sample = blocks(&document("docs/tls.md").unwrap(), "toml").unwrap().remove(0);
    let mut text = format!(
        "data_directory = \"{0}/data\"\nsocket = \"{0}/trustd.sock\"\nlog_origin = \"log.example.com\"\n\
         root_kek = {{ file = \"{0}/root.kek\" }}\n",
        directory.path().display()
    );
    // The document's names are files in the current directory; a service has no such place.
    text.push_str(&absolute(&sample, directory.path()));
    let file = directory.path().join("trustd.toml");
    std::fs::write(&file, text).unwrap();

    run(Command::new(ours("trustd").unwrap()).args(["check", "--config"]).arg(file)).unwrap().ok().unwrap();
}

fn absolute(text: &str, directory: &Path) -> String {
    text.replace(" \"", " \u{1}").lines().fold(String::new(), |mut whole, line| {
        let line = if line.contains(".pem\"") || line.contains(".key\"") {
            line.replace('\u{1}', &format!("\"{}/", directory.display()))
        } else {
            line.replace('\u{1}', "\"")
        };
        whole.push_str(&line);
        whole.push('\n');
        whole
    })
}

#[test]
fn the_sample_configuration_is_whole() {
    let directory = TempDir::new().unwrap();
    let packaging = checkout().join("packaging");
    let text = std::fs::read_to_string(packaging.join("trustd.toml")).unwrap();
    let text = text.replace("/etc/trustd/", &format!("{}/", packaging.display()));
    assert!(text.contains(&packaging.display().to_string()), "the sample names no file of /etc/trustd");
    let file = directory.path().join("trustd.toml");
    std::fs::write(&file, text).unwrap();

    run(Command::new(ours("trustd").unwrap()).args(["check", "--config"]).arg(file)).unwrap().ok().unwrap();
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let root = checkout();
    let documents = ["", "docs", "docs/decisions"].iter().flat_map(|directory| {
        let entries = std::fs::read_dir(root.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "md"))
    });
    let mut links = 0;
    let mut broken = Vec::new();
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            links += 1;
            if !document.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(links > 10, "only {links} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_command_of_the_documents_is_one_that_trustctl_or_trustd_has() {
    let mut unknown = Vec::new();
    let mut seen = 0;
    for name in [
        "README.md",
        "docs/config.md",
        "docs/content-trust.md",
        "docs/hsm-doctor.md",
        "docs/hsm.md",
        "docs/operations.md",
        "docs/release.md",
        "docs/tls.md",
        "docs/tuf-client.md",
        "docs/verify.md",
    ] {
        for line in blocks(&document(name).unwrap(), "sh").unwrap().iter().flat_map(|block| block.lines()) {
            let mut words = line.split_whitespace();
            let Some(program @ ("trustctl" | "trustd")) = words.next() else { continue };
            // Words of a subcommand come first; what is no such word is an argument.
            let command: Vec<&str> =
                words.take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect();
            let command: Vec<&str> = command.into_iter().take_while(|word| !word.starts_with('-')).take(2).collect();
            seen += 1;
            if !known(&ours(program).unwrap(), &command) {
                unknown.push(line.to_owned());
            }
        }
    }
    assert!(seen >= 60, "only {seen} commands were found");
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// True when the program has help for the command; its second word may be an argument.
fn known(program: &PathBuf, command: &[&str]) -> bool {
    let help = |words: &[&str]| run(Command::new(program).args(words).arg("--help")).unwrap().code == Some(0);
    help(command) && !command.is_empty()
}
