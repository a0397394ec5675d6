//! Container engines: docker or podman moves the images, we only say which.
//!
//! Children never get docker's own content trust (D4): it would sign with other keys and ask another server.

mod options;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use trust::{Reference, Sha256Digest};

pub(crate) use self::options::RunLine;
use crate::command_line::EngineName as Kind;
use crate::failure::Failure;
use crate::output::{Format, Output};

/// A line of an engine's output is not longer.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// So many lines are read of a push.
const LINES_MAX: usize = 100_000;
/// Variables of docker's own content trust.
const CONTENT_TRUST: &str = "DOCKER_CONTENT_TRUST";
const CONTENT_TRUST_SERVER: &str = "DOCKER_CONTENT_TRUST_SERVER";

/// The program of an engine.
const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Docker => "docker",
        Kind::Podman => "podman",
    }
}

/// Whether the registry is spoken to without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP
    Plain,
    /// HTTPS
    Tls,
}

/// An engine's command line on this machine.
#[derive(Debug)]
pub(crate) struct Engine {
    kind: Kind,
    program: PathBuf,
}

impl Engine {
    /// The engine that was asked for, else docker, else podman.
    ///
    /// # Errors
    /// When it, or both, are not there.
    pub(crate) async fn find(asked: Option<Kind>) -> Result<Self, Failure> {
        let wanted: &[Kind] = match &asked {
            Some(kind) => std::slice::from_ref(kind),
            None => &[Kind::Docker, Kind::Podman],
        };
        let found = wanted.iter().find_map(|kind| Some(Self { kind: *kind, program: on_path(name(*kind))? }));
        let Some(mut engine) = found else {
            let names: Vec<&str> = wanted.iter().map(|kind| name(*kind)).collect();
            return Err(Failure::other(
                format!("no container engine: {} is not on PATH", names.join(" or ")),
                "install docker or podman; `trustctl image sign` and `image verify` need none",
            ));
        };
        // Some distributions install podman under docker's name.
        if engine.kind == Kind::Docker && engine.says(&["--version"]).await?.to_lowercase().contains("podman") {
            engine.kind = Kind::Podman;
        }
        Ok(engine)
    }

    /// What the user calls it.
    pub(crate) const fn name(&self) -> &'static str {
        name(self.kind)
    }

    /// Pushes `reference`; the digest that the engine reports for this push.
    ///
    /// # Errors
    /// When the engine does not push, or reports no digest.
    pub(crate) async fn push(
        &self,
        reference: &Reference,
        transport: Transport,
        output: Output,
    ) -> Result<Sha256Digest, Failure> {
        let mut command = self.command();
        command.arg("push");
        match self.kind {
            Kind::Docker => {}
            // Its progress goes to standard error; nothing but the digest comes to standard output.
            Kind::Podman => {
                command.args(["--digestfile", "/dev/stdout"]).args(self.tls(transport));
            }
        }
        command.arg(reference.to_string()).stdout(Stdio::piped());
        let lines = self.lines(command, "push", output).await?;
        self.reported(&lines, reference).ok_or_else(|| {
            Failure::refused(
                format!("{} reports no digest for its push of {reference}; nothing was signed", self.name()),
                format!("look at what was pushed, then: trustctl image sign {reference}"),
            )
        })
    }

    /// The one digest in what a push printed.
    fn reported(&self, lines: &[String], reference: &Reference) -> Option<Sha256Digest> {
        let digest = |line: &String| match self.kind {
            // 1.0: digest: sha256:… size: 528
            Kind::Docker => {
                let rest = line.trim().strip_prefix(reference.tag.as_str())?.strip_prefix(": digest: ")?;
                let (digest, size) = rest.split_once(" size: ")?;
                size.bytes().all(|b| b.is_ascii_digit()).then(|| digest.parse().ok())?
            }
            Kind::Podman => line.trim().parse().ok(),
        };
        let mut found = lines.iter().filter_map(digest);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Pulls exactly this image: `repository@sha256:…`, or a reference where nothing was verified.
    ///
    /// # Errors
    /// When the engine does not.
    pub(crate) async fn pull(
        &self,
        image: &str,
        options: &[OsString],
        transport: Transport,
        output: Output,
    ) -> Result<(), Failure> {
        let mut command = self.command();
        command.arg("pull").args(options);
        if self.kind == Kind::Podman {
            command.args(self.tls(transport));
        }
        command.arg(image);
        self.done(command, "pull", output).await
    }

    /// Gives the image another name.
    ///
    /// # Errors
    /// When the engine does not.
    pub(crate) async fn tag(&self, image: &str, name: &str, output: Output) -> Result<(), Failure> {
        let mut command = self.command();
        command.args(["tag", image, name]);
        self.done(command, "tag", output).await
    }

    /// True when the engine holds the image already.
    ///
    /// # Errors
    /// When the engine cannot be started.
    pub(crate) async fn holds(&self, image: &str) -> Result<bool, Failure> {
        let mut command = self.command();
        command.args(["image", "inspect", image]).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status().await.map_err(|error| self.not_started(error))?.success())
    }

    /// Becomes `ENGINE run … IMAGE …`; comes back only if that cannot be started.
    ///
    /// The process is replaced, so that the terminal, signals and the exit code are the container's own (D3).
    pub(crate) fn run(&self, line: &RunLine, image: &str) -> Failure {
        self.not_started(self.run_command(line, image).exec())
    }

    fn run_command(&self, line: &RunLine, image: &str) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.env(CONTENT_TRUST, "0").env_remove(CONTENT_TRUST_SERVER);
        command.arg("run").args(line.options()).arg("--pull=never").arg(image).args(line.arguments());
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env(CONTENT_TRUST, "0").env_remove(CONTENT_TRUST_SERVER).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What podman must be told about the registry; docker's engine decides by itself.
    fn tls(&self, transport: Transport) -> Option<&'static str> {
        (self.kind == Kind::Podman && transport == Transport::Plain).then_some("--tls-verify=false")
    }

    /// Runs to the end; what it prints goes to our standard error, since our results go to standard output.
    async fn done(&self, mut command: Command, verb: &str, output: Output) -> Result<(), Failure> {
        let stderr = match output.format() {
            Format::Json => Stdio::null(),
            Format::Text => std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from),
        };
        let status = command.stdout(stderr).status().await.map_err(|error| self.not_started(error))?;
        self.succeeded(status, verb)
    }

    /// Runs to the end; the lines of its standard output, shown as they come.
    async fn lines(&self, mut command: Command, verb: &str, output: Output) -> Result<Vec<String>, Failure> {
        let mut child = command.spawn().map_err(|error| self.not_started(error))?;
        let mut lines = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut reader = BufReader::new(stdout);
            while lines.len() < LINES_MAX {
                let mut line = Vec::new();
                let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
                if read.map_err(|error| self.not_started(error))? == 0 {
                    break;
                }
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                output.remark(&line);
                lines.push(line);
            }
        }
        let status = child.wait().await.map_err(|error| self.not_started(error))?;
        self.succeeded(status, verb).map(|()| lines)
    }

    async fn says(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.command().args(arguments).output().await.map_err(|error| self.not_started(error))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn succeeded(&self, status: std::process::ExitStatus, verb: &str) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        Err(Failure::other(
            format!("`{} {verb}` ended with {status}", self.name()),
            format!("its own words stand above; is the engine running, and are you logged in? `{} login`", self.name()),
        ))
    }

    fn not_started(&self, error: std::io::Error) -> Failure {
        Failure::other(format!("run {}", self.program.display()), "can you run it yourself?").because(error)
    }
}

/// The first executable file of this name on `PATH`.
fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    // An empty entry means the current directory: not for us.
    std::env::split_paths(&std::env::var_os("PATH")?)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn reported(kind: Kind, text: &str) -> Option<Sha256Digest> {
        let engine = Engine { kind, program: PathBuf::from("engine") };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        engine.reported(&lines, &Reference::parse("localhost:5000/team/app:1.0").unwrap())
    }

    #[test]
    fn docker_s_digest_is_the_one_of_this_tag() {
        let push = format!("The push refers to repository [x]\nabc: Pushed\n1.0: digest: {DIGEST} size: 528\n");

        assert_eq!(reported(Kind::Docker, &push), Some(DIGEST.parse().unwrap()));
        for other in [
            format!("2.0: digest: {DIGEST} size: 528"),
            format!("1.0: digest: {DIGEST}"),
            format!("1.0: digest: {DIGEST} size: x"),
            "1.0: digest: md5:00 size: 1".to_owned(),
            format!("1.0: digest: {DIGEST} size: 1\n1.0: digest: {DIGEST} size: 2"),
            String::new(),
        ] {
            assert_eq!(reported(Kind::Docker, &other), None, "{other}");
        }
    }

    #[test]
    fn podman_s_digest_stands_alone() {
        assert_eq!(reported(Kind::Podman, DIGEST), Some(DIGEST.parse().unwrap()));
        assert_eq!(reported(Kind::Podman, "sha256:short"), None);
    }

    #[test]
    fn no_child_signs_or_verifies_by_itself() {
        let engine = Engine { kind: Kind::Docker, program: PathBuf::from("engine") };
        let line = RunLine::parse(&["--rm".into(), "app:1".into(), "sh".into()]).unwrap();

        let run = engine.run_command(&line, "app@sha256:00");
        let push = engine.command();

        for command in [&run, push.as_std()] {
            let set = |name: &str| command.get_envs().find(|(known, _)| *known == name).map(|(_, value)| value);
            assert_eq!(set(CONTENT_TRUST), Some(Some("0".as_ref())));
            assert_eq!(set(CONTENT_TRUST_SERVER), Some(None));
        }
        assert_eq!(run.get_args().collect::<Vec<_>>(), ["run", "--rm", "--pull=never", "app@sha256:00", "sh"]);
    }

    #[test]
    fn podman_alone_is_told_about_plain_http() {
        let engine = |kind| Engine { kind, program: PathBuf::from("engine") };

        assert_eq!(engine(Kind::Podman).tls(Transport::Plain), Some("--tls-verify=false"));
        assert_eq!(engine(Kind::Podman).tls(Transport::Tls), None);
        assert_eq!(engine(Kind::Docker).tls(Transport::Plain), None);
    }
}
