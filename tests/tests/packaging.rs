//! What `make install` and the Debian package put where.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use trust_tests::process::Running;
use trust_tests::program::{checkout, needs_root, ours, run, tool};
use trust_tests::{Daemon, Setup};

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
    // Without it systemd stops the daemon when the kernel ends a module's process.
    assert!(unit.contains("\nOOMPolicy=continue\n"), "{unit}");
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

/// The system calls that a unit lets through, by systemd's own sets.
fn allowed(unit: &str) -> BTreeSet<String> {
    let analyze = tool("systemd-analyze", "apt-get install systemd").unwrap();
    let sets = run(Command::new(analyze).arg("syscall-filter")).unwrap().ok().unwrap().stdout;
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut set = String::new();
    for line in sets.lines() {
        match line.trim() {
            name if line.starts_with('@') => set = name.to_owned(),
            word if word.is_empty() || word.starts_with('#') => {}
            word => members.entry(set.clone()).or_default().push(word.to_owned()),
        }
    }
    let calls = |words: &str| {
        let mut waiting: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let mut found = BTreeSet::new();
        while let Some(word) = waiting.pop() {
            match members.get(&word) {
                Some(more) => waiting.extend(more.iter().cloned()),
                None => found.extend([word]),
            }
        }
        found
    };
    let mut allowed = calls("@default");
    for words in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match words.strip_prefix('~') {
            Some(words) => {
                let out = calls(words);
                allowed.retain(|call| !out.contains(call));
            }
            None => allowed.extend(calls(words)),
        }
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_lets_every_system_call_through_that_daemon_and_worker_make() {
    let unit = std::fs::read_to_string(checkout().join("packaging/trustd.service")).unwrap();
    let allowed = allowed(&unit);
    assert!(allowed.contains("futex") && !allowed.contains("ptrace") && !allowed.contains("mount"));
    let daemon = Daemon::prepared(&Setup::allowing_raw()).unwrap();
    daemon.trustd(&["init"]).unwrap().ok().unwrap();
    let trace = daemon.directory().join("trace");
    // With -D the tracer is the grandchild: the process that is started here is the daemon itself.
    let mut command = Command::new(tool("strace", "apt-get install strace").unwrap());
    command.args(["-D", "-f", "-qq", "-o"]).arg(&trace).arg(ours("trustd").unwrap());
    command.arg("serve").arg("--config").arg(daemon.configuration());
    let mut running = Running::start(&mut command, &daemon.directory().join("log")).unwrap();
    running.ready(Duration::from_secs(60), || UnixStream::connect(daemon.socket()).ok().map(|_| ())).unwrap();
    let user = daemon.caller().await.unwrap();
    user.create("raw/one").await.unwrap();
    user.sign("raw/one", b"once").await.unwrap();
    running.signal(rustix::process::Signal::HUP);
    user.sign("raw/one", b"twice").await.unwrap();
    running.stop().unwrap();

    let trace = std::fs::read_to_string(trace).unwrap();
    let made: BTreeSet<&str> = trace
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(call, _)| call)
        .filter(|call| call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .collect();

    assert!(made.len() > 40 && made.contains("landlock_restrict_self"), "{made:?}");
    let kept_back: Vec<_> = made.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(kept_back.is_empty(), "{kept_back:?}");
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

/// The daemon's own user, and a data directory as packages make it: the parent is root's.
struct Installed(TempDir);

impl Installed {
    const UID: u32 = 4242;

    fn new() -> Self {
        needs_root("a test as another user").unwrap();
        let place = TempDir::new().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // The checkout may lie where others cannot go.
        std::fs::copy(ours("trustd").unwrap(), at("trustd")).unwrap();
        for (directory, mode) in [("data", 0o700), ("run", 0o750)] {
            std::fs::create_dir(at(directory)).unwrap();
            std::fs::set_permissions(at(directory), PermissionsExt::from_mode(mode)).unwrap();
            chown(at(directory), Some(Self::UID), Some(Self::UID)).unwrap();
        }
        let text = format!(
            "data_directory = \"{0}/data\"\nsocket = \"{0}/run/trustd.sock\"\n\
             log_origin = \"log.test.example\"\nroot_kek = {{ file = \"{0}/data/root.kek\" }}\n",
            place.path().display()
        );
        std::fs::write(at("trustd.toml"), text).unwrap();
        Self(place)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.0.path().join("data").join(name)
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(tool("setpriv", "apt-get install util-linux").unwrap());
        let uid = Self::UID.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]);
        command.arg(self.0.path().join("trustd")).arg(verb).arg("--config").arg(self.0.path().join("trustd.toml"));
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.0.path());
        command
    }

    fn trustd(&self, verb: &str) -> trust_tests::Ran {
        run(&mut self.command(verb)).unwrap()
    }

    /// What is in the data directory.
    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.data("")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    fn serves(&self) {
        let mut running = Running::start(&mut self.command("serve"), &self.0.path().join("log")).unwrap();
        let socket = self.0.path().join("run/trustd.sock");
        running.ready(Duration::from_secs(60), || UnixStream::connect(&socket).ok().map(|_| ())).unwrap();
        running.stop().unwrap();
    }
}

const MADE: [&str; 4] = ["kek", "log", "root.kek", "store"];

#[test]
fn the_daemons_user_initialises_below_a_directory_it_may_not_write() {
    let host = Installed::new();

    host.trustd("init").ok().unwrap();

    assert_eq!(host.names(), MADE.map(str::to_owned).into());
    assert_eq!(std::fs::metadata(host.data("root.kek")).unwrap().uid(), Installed::UID);
    host.trustd("check").ok().unwrap();
    assert!(host.trustd("init").exited(1).unwrap().stderr.contains("in use"));
    host.serves();
}

#[test]
fn root_does_not_initialise_in_the_daemons_users_directory() {
    let host = Installed::new();
    let mut command = Command::new(host.0.path().join("trustd"));

    let ran = run(command.args(["init", "--config"]).arg(host.0.path().join("trustd.toml"))).unwrap();

    assert!(ran.exited(1).unwrap().stderr.contains("belongs to uid 4242"));
    assert_eq!(host.names(), BTreeSet::new());
}

#[test]
fn an_init_that_was_cut_short_is_not_whole_and_is_made_again() {
    let host = Installed::new();
    let root = || std::fs::read(host.data("root.kek")).unwrap();
    let unfinished = || {
        std::fs::create_dir(host.data(".unfinished")).unwrap();
        chown(host.data(".unfinished"), Some(Installed::UID), Some(Installed::UID)).unwrap();
    };
    // Cut before the first rename.
    unfinished();
    std::fs::write(host.data(".unfinished/root.kek"), "half").unwrap();
    assert!(host.trustd("check").ok().unwrap().stdout.contains("trustd init"));
    host.trustd("init").ok().unwrap();
    let first = root();

    // Cut before the last one.
    unfinished();
    std::fs::rename(host.data("kek"), host.data(".unfinished/kek")).unwrap();
    let checked = host.trustd("check").exited(1).unwrap();
    assert!(checked.stderr.contains("not whole, kek/ring is missing: it was not made to its end"), "{checked}");
    host.trustd("serve").exited(1).unwrap();
    host.trustd("init").ok().unwrap();
    assert_eq!(host.names(), MADE.map(str::to_owned).into());
    assert_ne!(root(), first);
    host.serves();

    // Without the proof that it was cut short nothing is touched.
    std::fs::rename(host.data("kek"), host.0.path().join("kek")).unwrap();
    let left = host.names();
    assert!(host.trustd("init").exited(1).unwrap().stderr.contains("in use"));
    assert_eq!(host.names(), left);
}
