//! `trustctl seal`, `unseal` and `kek …`: what all keys are sealed under.

use serde::Serialize;
use trust_proto::v1;

use crate::command_line::KekCommand;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Paint, Shown};
use crate::secret;
use crate::time::rfc3339_or_none;

/// Longest passphrase that is read, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1024;

#[derive(Debug, Serialize)]
struct Sealed {
    sealed: bool,
}

impl Shown for Sealed {
    fn text(&self, paint: Paint) -> String {
        if self.sealed {
            let how = "until `trustctl unseal`, or a restart where the root key is in a file";
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
pub(crate) async fn unseal(context: &Context) -> Result<(), Failure> {
    // Before anybody types: a daemon that does not answer needs no passphrase.
    let daemon = context.daemon().await?;
    let passphrase = secret::typed("passphrase", PASSPHRASE_BYTES_MAX)?;
    let request = v1::UnsealRequest { passphrase: passphrase.to_vec().into() };
    daemon.admin().unseal(request).await.map_err(|status| {
        Failure::from(status).refusal_remedied_by(
            "a wrong passphrase may be typed again; a daemon whose root key is in a file opens when it is restarted",
        )
    })?;
    context.output.show(&Sealed { sealed: false })
}

#[derive(Debug, Serialize)]
struct Keks {
    versions: Vec<Kek>,
}

#[derive(Debug, Serialize)]
struct Kek {
    version: u32,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

impl Shown for Keks {
    fn text(&self, paint: Paint) -> String {
        let lines = self.versions.iter().map(|kek| {
            let state = if kek.state == "current" { paint.good(&kek.state) } else { paint.faint(&kek.state) };
            let since = kek.created_at.as_deref().map(|at| format!("  {at}")).unwrap_or_default();
            format!("version {:4}{since}  {state}", kek.version)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

#[derive(Debug, Serialize)]
struct Rotated {
    version: u32,
    rewrapped: u64,
}

impl Shown for Rotated {
    fn text(&self, paint: Paint) -> String {
        format!("{} KEK version {}: {} keys are sealed under it", paint.good("rotated"), self.version, self.rewrapped)
    }
}

/// Runs `trustctl kek …`.
pub(crate) async fn kek(context: &Context, command: KekCommand) -> Result<(), Failure> {
    let daemon = context.daemon().await?;
    match command {
        KekCommand::List => {
            let answer = daemon.admin().list_keks(v1::ListKeksRequest {}).await?.into_inner();
            let versions = answer.versions.into_iter().map(|kek| Kek {
                version: kek.version,
                state: kek.state,
                created_at: rfc3339_or_none(kek.created_at_unix_seconds),
            });
            context.output.show(&Keks { versions: versions.collect() })
        }
        KekCommand::Rotate => {
            let mut stream = daemon.admin().rotate_kek(v1::RotateKekRequest {}).await?.into_inner();
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
                    context.output.show(&Rotated { version: step.version, rewrapped: step.rewrapped })
                }
                _ => Err(Failure::other(
                    "the rotation did not come to its end",
                    "run it again: it goes on where it stopped",
                )),
            }
        }
    }
}
