//! The command line of `ENGINE run`, read just far enough to know which word is the image.
//!
//! If we took another word for the image than the engine does, an image could run that nobody verified. So every option
//! must be known, whether it takes a value or not; one that is not known can be written `--option=value`.

use std::ffi::{OsStr, OsString};

use crate::content_trust::go_bool;
use crate::failure::{Failure, printable};

/// Options of docker 20–28 and podman 4–5 without a value.
#[rustfmt::skip] // one word a line would hide the rest of the file
const SWITCHES: &[&str] = &[
    "detach", "disable-content-trust", "env-host", "help", "http-proxy", "init", "interactive", "no-healthcheck",
    "no-hostname", "no-hosts", "oom-kill-disable", "passwd", "privileged", "publish-all", "quiet", "read-only",
    "read-only-tmpfs", "replace", "rm", "rmi", "sig-proxy", "tls-verify", "tty", "unsetenv-all", "use-api-socket",
];

/// Options with a value.
#[rustfmt::skip] // one word a line would hide the rest of the file
const SETTINGS: &[&str] = &[
    "add-host", "annotation", "arch", "attach", "authfile", "blkio-weight", "blkio-weight-device", "cap-add",
    "cap-drop", "cert-dir", "cgroup-conf", "cgroup-parent", "cgroupns", "cgroups", "chrootdirs", "cidfile",
    "conmon-pidfile", "cpu-count", "cpu-percent", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime",
    "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "creds", "decryption-key", "detach-keys", "device",
    "device-cgroup-rule", "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "dns",
    "dns-opt", "dns-option", "dns-search", "domainname", "entrypoint", "env", "env-file", "env-merge", "expose",
    "gidmap", "gpus", "group-add", "group-entry", "health-cmd", "health-interval", "health-log-destination",
    "health-max-log-count", "health-max-log-size", "health-on-failure", "health-retries", "health-start-interval",
    "health-start-period", "health-startup-cmd", "health-startup-interval", "health-startup-retries",
    "health-startup-success", "health-startup-timeout", "health-timeout", "hostname", "hosts-file", "hostuser",
    "image-volume", "init-path", "ip", "ip6", "ipc", "isolation", "kernel-memory", "label", "label-file", "link",
    "link-local-ip", "log-driver", "log-opt", "mac-address", "memory", "memory-reservation", "memory-swap",
    "memory-swappiness", "mount", "name", "net", "net-alias", "network", "network-alias", "oom-score-adj", "os",
    "passwd-entry", "personality", "pid", "pidfile", "pids-limit", "platform", "pod", "pod-id-file", "preserve-fd",
    "preserve-fds", "publish", "rdt-class", "requires", "restart", "retry", "retry-delay", "runtime", "sdnotify",
    "seccomp-policy", "secret", "security-opt", "shm-size", "shm-size-systemd", "stop-signal", "stop-timeout",
    "storage-opt", "subgidname", "subuidname", "sysctl", "systemd", "timeout", "tmpfs", "tz", "uidmap", "ulimit",
    "umask", "unsetenv", "user", "userns", "uts", "variant", "volume", "volume-driver", "volumes-from", "workdir",
];

/// One letter each, without a value.
const SHORT_SWITCHES: &str = "diPqt";
/// One letter each, with a value.
const SHORT_SETTINGS: &str = "acehlmpuvw";

/// Those that say which instance of an index is pulled.
const PULL_SETTINGS: &[&str] = &["arch", "os", "platform", "variant"];

/// A read command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunLine {
    options: Vec<OsString>,
    pull_options: Vec<OsString>,
    image: String,
    arguments: Vec<OsString>,
    disable_content_trust: Option<bool>,
}

impl RunLine {
    /// Reads what stands behind `trustctl run`.
    ///
    /// # Errors
    /// When an option is not known, belongs to us, or there is no image.
    pub(crate) fn parse(words: &[OsString]) -> Result<Self, Failure> {
        let mut line = Self {
            options: Vec::new(),
            pull_options: Vec::new(),
            image: String::new(),
            arguments: Vec::new(),
            disable_content_trust: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let text = word.to_str().unwrap_or_default();
            let option = match text.strip_prefix('-') {
                None => return line.ends_with(Some(word), words.as_slice()),
                Some("-") => return line.ends_with(words.next(), words.as_slice()),
                Some(rest) => rest,
            };
            let takes_next = match option.strip_prefix('-') {
                Some(long) => long_option(long)?,
                None => short_options(option)?,
            };
            let value = if takes_next { Some(words.next().ok_or_else(no_image)?) } else { None };
            line.take(word, value)?;
        }
        Err(no_image())
    }

    /// The image, and what follows it.
    fn ends_with(mut self, image: Option<&OsString>, arguments: &[OsString]) -> Result<Self, Failure> {
        let image = image.and_then(|word| word.to_str()).filter(|image| !image.is_empty());
        self.image = image.ok_or_else(no_image)?.to_owned();
        self.arguments = arguments.to_vec();
        Ok(self)
    }

    /// Keeps one option, with its value where that is the next word.
    fn take(&mut self, word: &OsStr, value: Option<&OsString>) -> Result<(), Failure> {
        let text = word.to_str().unwrap_or_default();
        let (name, own_value) = text.split_once('=').unwrap_or((text, ""));
        if name == "--disable-content-trust" {
            // docker's own meaning: true where nothing else is said.
            let said = if text == name { Some(true) } else { go_bool(own_value) };
            self.disable_content_trust = Some(said.ok_or_else(|| {
                Failure::usage(
                    format!("{}: neither true nor false", printable(text)),
                    "leave the option away to have the image verified, or write --disable-content-trust=true or =false",
                )
            })?);
            return Ok(());
        }
        let said = value.and_then(|value| value.to_str()).unwrap_or(own_value);
        // The value is CSV, and the engines take keys and types in any case.
        let plain: String = said.to_lowercase().chars().filter(|c| !matches!(c, '"' | ' ')).collect();
        if name == "--mount" && plain.split(',').any(|part| part == "type=image") {
            return Err(Failure::usage(
                "--mount type=image brings in an image that is not verified",
                "trustctl pull it first, then mount a directory or volume",
            ));
        }
        let kept = if PULL_SETTINGS.iter().any(|known| name.strip_prefix("--") == Some(known)) {
            [&mut self.options, &mut self.pull_options].into_iter().collect()
        } else {
            vec![&mut self.options]
        };
        for list in kept {
            list.push(word.to_owned());
            list.extend(value.cloned());
        }
        Ok(())
    }

    /// The options, for `run`.
    pub(crate) fn options(&self) -> &[OsString] {
        &self.options
    }

    /// Those of them that `pull` needs.
    pub(crate) fn pull_options(&self) -> &[OsString] {
        &self.pull_options
    }

    /// The image, as typed.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// What follows the image.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// What `--disable-content-trust` says, where it stands among the options.
    pub(crate) const fn disable_content_trust(&self) -> Option<bool> {
        self.disable_content_trust
    }
}

/// Whether the next word is the value of `--long`.
fn long_option(long: &str) -> Result<bool, Failure> {
    let name = long.split('=').next().unwrap_or_default();
    match name {
        "pull" => {
            return Err(Failure::usage(
                "--pull is not yours to say here",
                "trustctl run pulls what it verified, by digest",
            ));
        }
        "rootfs" => {
            return Err(Failure::usage("--rootfs names no image", "there is nothing to verify: use the engine itself"));
        }
        _ => {}
    }
    if long.contains('=') || SWITCHES.contains(&name) {
        return Ok(false);
    }
    if SETTINGS.contains(&name) {
        return Ok(true);
    }
    Err(Failure::usage(
        format!("trustctl does not know the option --{name}"),
        format!("whether the image follows it cannot be told: write --{name}=VALUE (or --{name}=true)"),
    ))
}

/// Whether the next word is the value of the last letter of `-abc`.
fn short_options(letters: &str) -> Result<bool, Failure> {
    for (at, letter) in letters.char_indices() {
        let rest = letters.get(at.saturating_add(letter.len_utf8())..).unwrap_or_default();
        if SHORT_SETTINGS.contains(letter) {
            // -p80:80 has its value with it.
            return Ok(rest.is_empty());
        }
        if !SHORT_SWITCHES.contains(letter) {
            return Err(Failure::usage(
                format!("trustctl does not know the option -{letter}"),
                "write the long form: --option=VALUE",
            ));
        }
        if rest.starts_with('=') {
            return Ok(false);
        }
    }
    if letters.is_empty() { Err(no_image()) } else { Ok(false) }
}

fn no_image() -> Failure {
    Failure::usage("there is no image to run", "trustctl run [OPTIONS OF THE ENGINE] IMAGE [COMMAND] [ARGUMENTS]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RunLine, Failure> {
        RunLine::parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    fn image(line: &str) -> String {
        parse(line).unwrap().image().to_owned()
    }

    #[test]
    fn the_image_is_the_word_that_the_engine_takes_for_it() {
        for line in [
            "app:1",
            "--rm app:1 echo --rm",
            "--rm --network none --runtime runc --ulimit nofile=1024:1024 app:1",
            "-it app:1",
            "-itv /a:/b app:1",
            "-dp 80:80 app:1",
            "-p80:80 app:1",
            "-e A=b --env=C=d app:1",
            "--name=x --init --mount type=bind,source=/a,target=/b app:1 other:2",
            "-i=false app:1",
            "--unknown-setting=5 app:1",
            "-- app:1",
            "--rm -- app:1 --rm",
        ] {
            assert_eq!(image(line), "app:1", "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_image_that_is_found_is_a_word_of_the_line(line in "[-=a-zé ]{0,40}") {
            if let Ok(read) = parse(&line) {
                assert!(line.split(' ').any(|word| word == read.image()) && !read.image().is_empty());
            }
        }
    }

    #[test]
    fn what_we_cannot_read_for_certain_is_refused() {
        for line in [
            "",
            "-- ",
            "--rm",
            "--name",
            "--unknown app:1",
            "-Z app:1",
            "-",
            "--pull always app:1",
            "--pull=always app:1",
            "--rootfs /dir",
            "--mount type=image,source=evil:1,target=/x app:1",
            "--mount=source=evil:1,type=image app:1",
            "--mount=source=evil:1,\"Type=image\" app:1",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_platform_is_pulled_and_docker_s_switch_is_ours() {
        let line = parse("--rm --platform linux/arm64 --disable-content-trust app:1 --disable-content-trust").unwrap();

        assert_eq!(line.pull_options(), ["--platform", "linux/arm64"]);
        assert_eq!(line.options(), ["--rm", "--platform", "linux/arm64"]);
        assert_eq!(line.arguments(), ["--disable-content-trust"]);
        assert_eq!(line.disable_content_trust(), Some(true));
        for (said, means) in [("=false", false), ("=F", false), ("=0", false), ("=1", true), ("=TRUE", true)] {
            let line = parse(&format!("--rm --disable-content-trust{said} app:1")).unwrap();
            assert_eq!(line.disable_content_trust(), Some(means), "{said}");
        }
        assert_eq!(parse("--rm app:1").unwrap().disable_content_trust(), None);
        for said in ["=", "=banana", "=no", "=off", "=fALSE"] {
            assert!(parse(&format!("--rm --disable-content-trust{said} app:1")).is_err(), "{said}");
        }
    }
}
