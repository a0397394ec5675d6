//! What `make install` and the Debian package put where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use trust_tests::program::{checkout, ours, run, tool};

fn install(destination: &Path, prefix: &str) -> trust_tests::Ran {
    let binaries = ours("trustd").unwrap().parent().unwrap().to_path_buf();
    let mut command = Command::new(checkout().join("scripts/install.sh"));
    run(command.arg(destination).arg(prefix).env("BINARIES", binaries)).unwrap()
}

#[test]
fn an_installation_is_whole_and_names_its_prefix() {
    let stage = TempDir::new().unwrap();

    install(stage.path(), "/opt/trust").ok().unwrap();

    let at = |name: &str| stage.path().join(name);
    for program in ["trustd", "trustctl"] {
        let mode = std::fs::metadata(at(&format!("opt/trust/bin/{program}"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        for file in [
            format!("share/bash-completion/completions/{program}"),
            format!("share/zsh/site-functions/_{program}"),
            format!("share/fish/vendor_completions.d/{program}.fish"),
            format!("share/man/man1/{program}.1"),
        ] {
            let length = std::fs::metadata(at("opt/trust").join(&file)).map(|found| found.len()).unwrap_or(0);
            assert!(length > 100, "{file}: {length} bytes");
        }
    }
    for file in ["etc/trustd/trustd.toml", "etc/trustd/policy.cedar", "etc/trustctl/config.toml"] {
        assert!(at(file).is_file(), "{file}");
    }
    let unit = std::fs::read_to_string(at("opt/trust/lib/systemd/system/trustd.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/trust/bin/trustd ") && !unit.contains("@PREFIX@"), "{unit}");
}

#[test]
fn a_configuration_that_is_there_is_kept() {
    let stage = TempDir::new().unwrap();
    let configuration = stage.path().join("etc/trustd/trustd.toml");
    std::fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    std::fs::write(&configuration, "# mine\n").unwrap();

    install(stage.path(), "/usr").ok().unwrap();

    assert_eq!(std::fs::read_to_string(&configuration).unwrap(), "# mine\n");
    assert!(stage.path().join("etc/trustd/trustd.toml.new").is_file());
}

#[test]
fn systemd_grades_the_unit_at_most_1_5() {
    let directory = TempDir::new().unwrap();
    let unit = std::fs::read_to_string(checkout().join("packaging/trustd.service")).unwrap();
    // A program that exists: only the sandbox is graded.
    let unit = unit.replace("@PREFIX@/bin/trustd", "/bin/true").replace("@PREFIX@", "/usr");
    let file = directory.path().join("trustd.service");
    std::fs::write(&file, unit).unwrap();
    let analyze = tool("systemd-analyze", "apt-get install systemd").unwrap();

    let graded = run(Command::new(&analyze).args(["security", "--offline=true", "--threshold=15"]).arg(&file)).unwrap();
    let verified = run(Command::new(&analyze).arg("verify").arg(&file)).unwrap();

    let verdict = graded.ok().unwrap();
    assert!(!verdict.words().contains("Unknown"), "{verdict}");
    assert!(!verified.words().contains("trustd.service:"), "{verified}");
}

#[test]
fn a_debian_package_carries_the_programs_and_marks_its_configuration() {
    let binaries = ours("trustd").unwrap().parent().unwrap().to_path_buf();
    let output = TempDir::new().unwrap();
    let mut command = Command::new(checkout().join("scripts/build_deb.sh"));
    run(command.env("BINARIES", binaries).env("OUTPUT", output.path())).unwrap().ok().unwrap();
    let package = std::fs::read_dir(output.path()).unwrap().next().unwrap().unwrap().path();
    let dpkg = tool("dpkg-deb", "apt-get install dpkg").unwrap();

    let files = run(Command::new(&dpkg).arg("--contents").arg(&package)).unwrap().ok().unwrap().stdout;
    let control = run(Command::new(&dpkg).arg("--info").arg(&package)).unwrap().ok().unwrap().stdout;
    let marked = run(Command::new(&dpkg).arg("--info").arg(&package).arg("conffiles")).unwrap().ok().unwrap().stdout;

    for name in ["./usr/bin/trustd\n", "./usr/bin/trustctl\n", "./usr/lib/systemd/system/trustd.service\n"] {
        assert!(files.contains(name), "{name}\n{files}");
    }
    assert!(files.lines().all(|line| line.contains("root/root")), "{files}");
    assert!(control.contains("Depends: libc6 (>= 2."), "{control}");
    assert!(marked.contains("/etc/trustd/trustd.toml\n"), "{marked}");
}
