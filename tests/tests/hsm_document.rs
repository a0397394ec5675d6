//! docs/hsm.md: every command in it is run as it stands, and does what the page says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::symlink;

use trust_tests::document::{blocks, document};
use trust_tests::program::tool;
use trust_tests::{Daemon, Setup, Shell};

#[test]
fn a_token_is_made_configured_and_used_by_the_commands_of_the_page() {
    for (name, package) in [("softhsm2-util", "softhsm2"), ("pkcs11-tool", "opensc"), ("openssl", "openssl")] {
        tool(name, &format!("apt-get install {package}")).unwrap();
    }
    let blocks = blocks(&document("docs/hsm.md").unwrap(), "sh").unwrap();
    let [make, configure, use_it, measure, look] = &blocks[..] else { panic!("{blocks:#?}") };
    let mut daemon = Daemon::prepared(&Setup::default()).unwrap();
    daemon.trustd(&["init"]).unwrap().ok().unwrap();
    let shell = Shell::of(daemon.user().unwrap()).unwrap();
    symlink(daemon.configuration(), shell.user.file("trustd.toml")).unwrap();

    shell.run("cosign3", make).unwrap().ok().unwrap();
    shell.run("cosign3", configure).unwrap().ok().unwrap();
    daemon.launch().unwrap();
    // A person goes on in the shell of the first block.
    let said =
        shell.run("cosign3", &format!("export SOFTHSM2_CONF=\"$PWD/softhsm2.conf\"\n{use_it}")).unwrap().ok().unwrap();

    assert!(said.stdout.contains("hsm: ready") && said.stdout.contains("never extractable"), "{said}");
    let measured = shell.run("cosign3", measure).unwrap().ok().unwrap();
    assert!(measured.stdout.contains("advice     sessions = "), "{measured}");
    daemon.restart().unwrap();
    assert!(
        shell.run("cosign3", measure.lines().last().unwrap()).unwrap().ok().unwrap().stdout.contains("profile   used")
    );
    // Neither keys nor measuring left anything that is nobody's.
    let left = shell.run("cosign3", look).unwrap().ok().unwrap();
    assert!(left.stdout.contains("no orphans"), "{left}");
    // What passes must also be able to fail.
    shell.user.write("pin", b"another").unwrap();
    daemon.restart().unwrap();
    assert_ne!(shell.run("cosign3", "trustctl status | grep 'hsm: ready'").unwrap().code, Some(0));
}
