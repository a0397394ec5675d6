//! docs/release.md: every command in it is run as it stands, and does what the page says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use trust_tests::document::{blocks, document};
use trust_tests::program::tool;
use trust_tests::{Daemon, Shell};

fn page() -> String {
    document("docs/release.md").unwrap()
}

/// The rows of the table of commands: with which program, and how.
fn rows() -> Vec<(String, String)> {
    let page = page();
    let section = page.split("\n## Verify with what is there\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].to_owned(), cells[2].trim_matches('`').to_owned())).collect()
}

/// The programs of the page are there, and a daemon with a user's shell beside it.
fn start() -> (Daemon, Shell) {
    for (name, package) in [("minisign", "minisign"), ("ssh-keygen", "openssh-client"), ("openssl", "openssl")] {
        tool(name, &format!("apt-get install {package}")).unwrap();
    }
    let daemon = Daemon::start().unwrap();
    let user = daemon.user().unwrap();
    std::fs::create_dir(user.file("dist")).unwrap();
    user.write("dist/app.tar", b"an archive\n").unwrap();
    user.write("dist/notes.txt", b"what is new\n").unwrap();
    (daemon, Shell::of(user).unwrap())
}

#[test]
fn a_release_is_signed_and_verified_by_the_commands_of_the_page() {
    let (_daemon, shell) = start();
    let (blocks, rows) = (blocks(&page(), "sh").unwrap(), rows());
    assert_eq!((blocks.len(), rows.len()), (4, 9), "{blocks:#?} {rows:#?}");

    for block in &blocks {
        shell.run("cosign3", block).unwrap().ok().unwrap();
    }
    for (program, command) in &rows {
        shell.run("cosign3", command).unwrap().ok().unwrap();
        if program.contains("2.6") {
            shell.run("cosign2", command).unwrap().ok().unwrap();
        }
    }

    // What accepts must also be able to refuse.
    shell.user.write("dist/app.tar", b"another archive\n").unwrap();
    shell.user.write("dist/SHA256SUMS", b"another list\n").unwrap();
    for block in &blocks[2..] {
        assert_ne!(shell.run("cosign3", block).unwrap().code, Some(0), "{block}");
    }
    for (_, command) in &rows {
        assert_ne!(shell.run("cosign3", command).unwrap().code, Some(0), "{command}");
    }
}

#[test]
fn cosign_2_reads_the_bundles_with_the_flags_that_the_page_names() {
    let (_daemon, shell) = start();
    for block in blocks(&page(), "sh").unwrap() {
        shell.run("cosign2", &block).unwrap().ok().unwrap();
    }
    let page = page();
    let flags = "--new-bundle-format --trusted-root root.json";
    let root = "trustctl trusted-root > root.json";
    assert!(page.contains(flags) && page.contains(root));
    shell.run("cosign2", root).unwrap().ok().unwrap();

    let bundled = rows().into_iter().filter(|(program, command)| program == "cosign 3" && command.contains("--bundle"));

    let mut count = 0;
    for (_, command) in bundled {
        shell.run("cosign2", &command.replace("--insecure", &format!("{flags} --insecure"))).ok().unwrap();
        count += 1;
    }
    assert_eq!(count, 3);
}
