//! `trustctl seal`, `unseal` and `kek …`: what all keys are sealed under.

use bytes::Bytes;
use serde::Serialize;
use trust_proto::v1;
use zeroize::Zeroizing;

use crate::believed::confidant_at_socket;
use crate::command_line::{KekCommand, RotateArguments};
use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::secret;

/// Longest passphrase that is read, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1024;

#[derive(Debug, Serialize)]
struct Sealed {
    sealed: bool,
}

impl Shown for Sealed {
    fn text(&self, paint: Paint) -> String {
        if self.sealed {
            let how = "until `trustctl unseal`, or a restart where the root key is in a file or a token";
            format!("{}: nothing is signed {how}", paint.bad("sealed"))
        } else {
            format!("{}: the daemon signs again", paint.good("unsealed"))
        }
    }
}

/// Runs `trustctl seal`.
pub(crate) async fn seal(context: &Context) -> Result<(), Failure> {
    context.daemon().await?.admin().seal(v1::SealRequest {}).await?;
    context.output.show(&Sealed { sealed: true })
}

/// Runs `trustctl unseal`. The passphrase comes from the terminal or from standard input: command lines and
/// environments can be read by others.
pub(crate) async fn unseal(context: &Context, by_token: bool) -> Result<(), Failure> {
    // Before anybody types: a daemon that does not answer needs no passphrase.
    let daemon = if by_token { context.daemon().await? } else { confidant_at_socket(context).await? };
    let words = if by_token { Zeroizing::default() } else { secret::typed("passphrase", PASSPHRASE_BYTES_MAX)? };
    let request = v1::UnsealRequest { passphrase: Bytes::from_owner(words), by_token };
    daemon.admin().unseal(request).await.map_err(|status| {
        Failure::from(status).refusal_remedied_by(
            "a wrong passphrase may be typed again; a root key in a token opens with --by-token, one in a file at a restart",
        )
    })?;
    context.output.show(&Sealed { sealed: false })
}

#[derive(Debug, Serialize)]
struct Keks {
    /// Where the root key is.
    root: String,
    versions: Vec<Kek>,
}

#[derive(Debug, Serialize)]
struct Kek {
    version: u32,
    state: String,
}

impl Shown for Keks {
    fn text(&self, paint: Paint) -> String {
        let root = format!("root key: {}", printable(&self.root));
        let lines = self.versions.iter().map(|kek| {
            let state = if kek.state == "current" { paint.good(&kek.state) } else { paint.faint(&kek.state) };
            format!("version {:4}  {state}", kek.version)
        });
        std::iter::once(root).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

#[derive(Debug, Serialize)]
struct Rotated {
    version: u32,
    rewrapped: u64,
    /// Where the root key is.
    root: String,
    #[serde(skip)]
    is_root_new: bool,
}

impl Shown for Rotated {
    fn text(&self, paint: Paint) -> String {
        let (version, rewrapped) = (self.version, self.rewrapped);
        let done = format!("{} KEK version {version}: {rewrapped} keys are sealed under it", paint.good("rotated"));
        if !self.is_root_new {
            return done;
        }
        let root = printable(&self.root);
        format!(
            "{done}\n{} root key: {root}. Say so in [root_kek] of the configuration, destroy what the old one was in, \
             and make a new backup: what was copied before opens with the old root key only, if with any",
            paint.good("another")
        )
    }
}

/// Runs `trustctl kek …`.
pub(crate) async fn kek(context: &Context, command: KekCommand) -> Result<(), Failure> {
    match command {
        KekCommand::List => {
            let daemon = context.daemon().await?;
            let answer = daemon.admin().list_keks(v1::ListKeksRequest {}).await?.into_inner();
            let versions = answer.versions.into_iter().map(|kek| Kek { version: kek.version, state: kek.state });
            context.output.show(&Keks { root: answer.root_kek, versions: versions.collect() })
        }
        KekCommand::Rotate(arguments) => {
            let is_root_new = arguments.to.is_some();
            let daemon = if is_root_new { confidant_at_socket(context).await? } else { context.daemon().await? };
            let root = new_root(&arguments)?;
            let mut stream = daemon.admin().rotate_kek(v1::RotateKekRequest { root }).await?.into_inner();
            let bar = context.output.progress(0, "sealing keys anew");
            let mut last = None;
            while let Some(step) = stream.message().await? {
                bar.set_length(step.total);
                bar.set_position(step.rewrapped);
                last = Some(step);
            }
            bar.finish_and_clear();
            match last {
                Some(step) if step.done => {
                    let (version, rewrapped, root) = (step.version, step.rewrapped, step.root_kek);
                    context.output.show(&Rotated { version, rewrapped, root, is_root_new })
                }
                _ => Err(Failure::other(
                    "the rotation did not come to its end",
                    "run it again: it goes on where it stopped",
                )),
            }
        }
    }
}

/// Where another root key is to be. A passphrase is asked for last, when the rest is known to make sense.
fn new_root(arguments: &RotateArguments) -> Result<Option<v1::NewRoot>, Failure> {
    let Some(to) = &arguments.to else { return Ok(None) };
    let recovery: Vec<&str> = arguments.recovery.iter().flatten().map(String::as_str).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let mut root = v1::NewRoot { no_recovery: arguments.no_recovery, ..v1::NewRoot::default() };
    let asks = match (to.as_slice(), recovery.as_slice(), arguments.no_recovery) {
        (["file", path], [], false) => {
            let path = std::path::absolute(path)
                .map_err(|error| Failure::usage("the path of the file is none", "give another").because(error))?;
            let text = path.to_str().ok_or_else(|| Failure::usage("the path is not UTF-8", "give another"))?;
            text.clone_into(&mut root.file);
            false
        }
        (["passphrase"], [], false) => true,
        (["token", name], ["passphrase"], false) => {
            (*name).clone_into(&mut root.token);
            true
        }
        (["token", name], ["token", spare], false) => {
            (*name).clone_into(&mut root.token);
            (*spare).clone_into(&mut root.recovery_token);
            false
        }
        (["token", name], [], true) => {
            (*name).clone_into(&mut root.token);
            false
        }
        (["token", name], [], false) => {
            return Err(Failure::usage(
                format!("nothing would open the daemon when the token {name} is lost"),
                "add --recovery passphrase, --recovery token NAME, or --no-recovery",
            ));
        }
        _ => {
            return Err(Failure::usage(
                "--to is `token NAME` with a --recovery, `file PATH`, or `passphrase`; --recovery is `passphrase` or `token NAME`",
                "for example: trustctl kek rotate --to token hsm --recovery passphrase",
            ));
        }
    };
    if asks {
        root.passphrase = Bytes::from_owner(secret::new("passphrase", PASSPHRASE_BYTES_MAX)?);
    }
    Ok(Some(root))
}
