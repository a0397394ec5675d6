//! `trustctl tuf-client`: reads repositories of TUF 1.0, with the command line that TUF's conformance suite asks for.
//!
//! Needs neither daemon nor configuration. It ends with 0 or 1 and nothing else, as the suite wants it; a call that
//! cannot be understood ends with 2.

mod download;
mod remote;
mod store;
mod visit;

use serde::Serialize;
use trust::format::tuf::BYTES_MAX;

use crate::command_line::tuf_client::{TufClientArguments, TufClientVerb};
use crate::failure::{Exit, Failure};
use crate::files;
use crate::output::{Output, Paint, Shown};
use crate::registry::PlainHttp;
use download::Downloads;
use remote::Remote;
use store::Store;
use visit::Visit;

/// The versions that are believed.
#[derive(Debug, Serialize)]
struct Believed {
    root: u32,
    timestamp: u32,
    snapshot: u32,
    targets: u32,
}

/// Targets that are there.
#[derive(Debug, Serialize)]
struct Found {
    targets: Vec<FoundTarget>,
}

#[derive(Debug, Serialize)]
struct FoundTarget {
    name: String,
    file: String,
    size_bytes: u64,
    was_there: bool,
}

impl Believed {
    fn of(visit: &Visit<'_>) -> Self {
        let [root, timestamp, snapshot, targets] =
            ["root", "timestamp", "snapshot", "targets"].map(|role| visit.version(role));
        Self { root, timestamp, snapshot, targets }
    }
}

impl Shown for Believed {
    fn text(&self, paint: Paint) -> String {
        let Self { root, timestamp, snapshot, targets } = self;
        let versions = format!("root {root}, timestamp {timestamp}, snapshot {snapshot}, targets {targets}");
        format!("{} {versions}", paint.good("up to date:"))
    }
}

impl Shown for Found {
    fn text(&self, paint: Paint) -> String {
        let line = |target: &FoundTarget| {
            let word = if target.was_there { "is there:" } else { "verified:" };
            format!("{} {} {}", paint.good(word), paint.strong(&target.name), target.file)
        };
        self.targets.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Runs one verb.
pub(crate) async fn run(output: Output, plain: PlainHttp, arguments: &TufClientArguments) -> Result<(), Failure> {
    let done = match &arguments.verb {
        TufClientVerb::Init { root } => {
            let root = files::read_named(root, file_bytes_max())?;
            visit::begin(&root).and_then(|_| Store::open(&arguments.metadata_dir)?.begin(&root))
        }
        TufClientVerb::Refresh => {
            let remote = Remote::at(needed(arguments.metadata_url.as_deref(), "--metadata-url URL")?, plain)?;
            refresh(output, &remote, arguments).await
        }
        TufClientVerb::Download => {
            let remote = Remote::at(needed(arguments.metadata_url.as_deref(), "--metadata-url URL")?, plain)?;
            let targets = Remote::at(needed(arguments.target_base_url.as_deref(), "--target-base-url URL")?, plain)?;
            let directory = needed(arguments.target_dir.as_deref(), "--target-dir DIRECTORY")?;
            needed(arguments.target_name.first(), "--target-name PATH")?;
            download(output, &remote, arguments, (&targets, directory)).await
        }
    };
    done.map_err(|failure| if failure.exit() == Exit::Usage { failure } else { failure.ends_with(Exit::Refused) })
}

async fn refresh(output: Output, remote: &Remote, arguments: &TufClientArguments) -> Result<(), Failure> {
    let store = Store::open(&arguments.metadata_dir)?;
    let mut visit = Visit::begin(&store, remote)?;
    visit.refresh().await?;
    output.show(&Believed::of(&visit))
}

/// One visit for all targets; the first that is not there ends it.
async fn download(
    output: Output,
    remote: &Remote,
    arguments: &TufClientArguments,
    (targets, directory): (&Remote, &std::path::Path),
) -> Result<(), Failure> {
    let store = Store::open(&arguments.metadata_dir)?;
    let mut visit = Visit::begin(&store, remote)?;
    visit.refresh().await?;
    let downloads = Downloads { remote: targets, directory, by_hash: visit.is_consistent(), output };
    let mut found = Vec::with_capacity(arguments.target_name.len());
    for name in &arguments.target_name {
        let target = visit.target(name).await?;
        let there = downloads.get(name, &target).await?;
        found.push(FoundTarget {
            name: name.clone(),
            file: there.file.display().to_string(),
            size_bytes: target.length_bytes(),
            was_there: there.was_there,
        });
    }
    output.show(&Found { targets: found })
}

/// The longest file of metadata, in bytes.
fn file_bytes_max() -> u64 {
    u64::try_from(BYTES_MAX).unwrap_or(u64::MAX)
}

fn needed<T>(given: Option<T>, option: &str) -> Result<T, Failure> {
    given
        .ok_or_else(|| Failure::usage(format!("{option} is missing"), "the options of tuf-client come before its verb"))
}
