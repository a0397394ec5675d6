//! `trustctl verify --batch FILE`: very many signatures, each with its own verdict, in memory that does not grow with them.
//!
//! A thread reads chunks ahead, a few of them; they are verified here under a public key, or by a believed daemon under
//! one of its keys; verdicts come out in the order of the items. Of a slow pipe a chunk is what came in a moment.

mod chunk;
mod here;
mod input;
mod report;
mod there;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::believed;
use crate::command_line::VerifyArguments;
use crate::context::Context;
use crate::failure::Failure;
use chunk::{Chunk, ITEMS_MAX};
use report::Report;

/// Chunks that are read and not taken.
const READ_AHEAD: usize = 2;
/// How long an item of a slow pipe waits for others. Each chunk is a message to a daemon, which has its price; so where
/// items drip there are few chunks in a second.
const PATIENCE: Duration = Duration::from_millis(200);

/// Runs it.
pub(super) async fn run(context: &Context, arguments: &VerifyArguments, from: &Path) -> Result<(), Failure> {
    let (source, length_bytes) = open(from)?;
    let report = |key: String, doubt: String| {
        let bar = context.output.progress_bytes(length_bytes, "verifying");
        Report::new(context.output, bar, key, doubt)
    };
    match (&arguments.by.public_key, &arguments.by.key) {
        (Some(path), _) => {
            let key = here::Prepared::read(path)?;
            let doubt = format!("is {} the key that signed them?", path.display());
            let mut report = report(path.display().to_string(), doubt);
            let chunks = chunks(source, key.chunk_items_max());
            let done = here::verify(key, chunks, &mut report).await;
            report.finish(done.err())
        }
        (None, Some(name)) => {
            let daemon = believed::one_daemon(context).await?;
            // Of a key that may not be seen a daemon says no more than of one that is not there.
            let doubt = format!("`trustctl key show {name}`: is it there, and the key that signed them?");
            let mut report = report(format!("{name}, a key of {}", daemon.address), doubt);
            let done = there::verify(&daemon, name, chunks(source, ITEMS_MAX), &mut report).await;
            report.finish(done.err())
        }
        (None, None) => Err(Failure::usage("no key is given", "add --public-key FILE or --key NAME")),
    }
}

/// The batch, and its length where it has one.
fn open(path: &Path) -> Result<(File, Option<u64>), Failure> {
    let unreadable = |error| Failure::other(format!("read {}", path.display()), "may you read it?").because(error);
    if path == Path::new("-") {
        // Not through the buffer of the standard library: what waits in it nobody could ask for.
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?;
        return Ok((File::from(input), None));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::usage(format!("there is no file {}", path.display()), "is the name right?"),
        _ => unreadable(error),
    })?;
    let length_bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    Ok((file, length_bytes))
}

/// Reads ahead in a thread of its own. It is not waited for: a pipe may never give anything again.
fn chunks(source: File, items_max: usize) -> mpsc::Receiver<Result<Chunk, Failure>> {
    let (chunks, read) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        let may_wait = |since| may_wait(&source, since);
        let read = input::read(&source, items_max, may_wait, |chunk| chunks.blocking_send(Ok(chunk)).is_ok());
        if let Err(failure) = read {
            // Nobody waits any more where the rest is of no use.
            let _ = chunks.blocking_send(Err(failure));
        }
    });
    read
}

/// Whether `source` has more before items have waited for too long that came at that time.
fn may_wait(source: &File, since: Instant) -> bool {
    let rest = PATIENCE.saturating_sub(since.elapsed());
    let Ok(limit) = Timespec::try_from(rest) else { return false };
    let mut source = [PollFd::new(source, PollFlags::IN)];
    // What cannot be asked is not waited for; reading it says why.
    !rest.is_zero() && poll(&mut source, Some(&limit)).is_ok_and(|ready| ready > 0)
}
