//! `trustctl backup FILE`: everything a new directory needs, encrypted by the daemon to its configured recipients.

use std::path::{Path, PathBuf};

use serde::Serialize;
use trust_proto::v1;

use crate::command_line::BackupArguments;
use crate::context::Context;
use crate::failure::Failure;
use crate::files::{Draft, Existing};
use crate::output::{Paint, Shown};

#[derive(Debug, Serialize)]
struct BackedUp {
    file: PathBuf,
    size_bytes: u64,
}

impl Shown for BackedUp {
    fn text(&self, paint: Paint) -> String {
        let how = "import it on another host to know that it works: trustd store import";
        format!(
            "wrote {}  {} bytes\n{}",
            paint.strong(&self.file.display().to_string()),
            self.size_bytes,
            paint.faint(how)
        )
    }
}

/// Runs `trustctl backup`. The file appears only when it is whole.
pub(crate) async fn run(context: &Context, arguments: &BackupArguments) -> Result<(), Failure> {
    let path = arguments.file.as_path();
    if path.symlink_metadata().is_ok() {
        return Err(Failure::usage(
            format!("{} is there already; nothing was written", path.display()),
            "give another name: a backup overwrites none",
        ));
    }
    let answer = context.daemon().await?.admin().backup(v1::BackupRequest {}).await;
    let mut stream = answer.map_err(refused)?.into_inner();
    let mut draft = Draft::of(path, 0o600).map_err(|error| unwritten(path, error))?;
    let bar = context.output.progress(0, "backing up");
    let mut size_bytes = 0_u64;
    while let Some(message) = stream.message().await? {
        draft.append(&message.chunk).map_err(|error| unwritten(path, error))?;
        size_bytes = size_bytes.saturating_add(u64::try_from(message.chunk.len()).unwrap_or(0));
        bar.set_position(size_bytes);
    }
    bar.finish_and_clear();
    if size_bytes == 0 {
        return Err(Failure::other("the daemon sent an empty backup", "the daemon's log has the cause"));
    }
    draft.keep(Existing::Keep).map_err(|error| unwritten(path, error))?;
    context.output.show(&BackedUp { file: path.to_path_buf(), size_bytes })
}

fn refused(status: tonic::Status) -> Failure {
    Failure::from(status).refusal_remedied_by(
        "the daemon's configuration names the age recipients (backup_recipients), its policy who may make backups",
    )
}

fn unwritten(path: &Path, error: std::io::Error) -> Failure {
    Failure::other(format!("write {}", path.display()), "is there space, and may you write there?").because(error)
}
