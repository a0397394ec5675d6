//! What `main` calls: reads the command line and runs one command.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{CommandFactory as _, Parser as _};
use tracing::warn;
use trust_hsm::Passphrase;
use zeroize::Zeroizing;

use crate::command_line::{Command, CommandLine, Place, StoreCommand};
use crate::config::{Config, Reading, RootConfig};
use crate::{assemble, check, harden, init, telemetry};

/// Longest passphrase that is read, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 1024;
/// How long the process waits for threads that block, when all else has ended.
const BLOCKED_MAX: Duration = Duration::from_secs(1);
/// Stack of an async thread, in bytes. Policies are evaluated on it, and Cedar denies what needs more than there is.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Runs `trustd`.
#[must_use]
pub fn trustd() -> ExitCode {
    let command = CommandLine::parse().command;
    if matches!(command, Command::CustodyWorker) {
        return trust_hsm::worker::run();
    }
    match run(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("trustd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Init(place) => {
            harden::process()?;
            let config = load(&place)?;
            let key = runtime()?.block_on(init::init(&config, passphrase(&config, Asking::Twice)?))?;
            println!("made {}", config.data_directory.display());
            println!("the log's key: {key}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(place) => serve(&place),
        Command::Check(place) => Ok(check::run(&name(&place), read(&place)?)),
        Command::Recover(place) => {
            harden::process()?;
            let config = load(&place)?;
            let passphrase = passphrase(&config, Asking::Once)?;
            let passphrase = passphrase.map(|mut typed| Passphrase::take(&mut typed)).transpose()?;
            runtime()?.block_on(assemble::recover(&config, passphrase))
        }
        Command::Store(StoreCommand::Import { place, identity, backup }) => {
            harden::process()?;
            let config = load(&place)?;
            let made = runtime()?.block_on(init::import(&config, &identity, &backup))?;
            println!("made {} with {} keys from {}", config.data_directory.display(), made.key_count, backup.display());
            println!("next: {}", made.next);
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "trustd", &mut script);
            let mut stdout = std::io::stdout().lock();
            match stdout.write_all(&script).and_then(|()| stdout.flush()) {
                // Whoever reads has enough of it.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                written => written.context("write to standard output")?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => {
            clap_mangen::generate_to(CommandLine::command(), &directory)
                .with_context(|| format!("write manual pages to {}", directory.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        // Handled before anything else is touched.
        Command::CustodyWorker => Ok(ExitCode::FAILURE),
    }
}

fn serve(place: &Place) -> Result<ExitCode> {
    harden::process()?;
    let config = load(place)?;
    telemetry::start(&config.logging);
    let runtime = runtime()?;
    if place.config.is_none()
        && let Some(parent) = config.unix.path.parent()
    {
        init::private_directory(parent)?;
    }
    if place.config.is_none() && !config.data_directory.exists() {
        runtime.block_on(init::init(&config, None))?;
        warn!(
            directory = %config.data_directory.display(),
            "no configuration: made a directory whose root key lies beside the keys it seals; in production keep it elsewhere"
        );
    }
    check::before_serving(&name(place), &config)?;
    let served = runtime.block_on(assemble::serve(config));
    // By itself it would wait for every thread that blocks, also for one that waits for a token's module that hangs.
    runtime.shutdown_timeout(BLOCKED_MAX);
    served?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .context("start the runtime")
}

fn load(place: &Place) -> Result<Config> {
    read(place)?.whole().map_err(|faults| check::refusal(&name(place), &faults))
}

/// The configuration, as far as it can be read, and all of its faults.
fn read(place: &Place) -> Result<Reading> {
    match &place.config {
        None => Ok(Reading { config: Some(default_config()?), faults: Vec::new() }),
        Some(path) => Ok(Config::read(path)),
    }
}

/// What the configuration is called in messages.
fn name(place: &Place) -> String {
    place.config.as_ref().map_or_else(|| "the default configuration".to_owned(), |path| path.display().to_string())
}

/// Where a daemon without a configuration lives (D25).
fn default_config() -> Result<Config> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(Config::without_file(
            &PathBuf::from("/var/lib/trustd"),
            &PathBuf::from("/run/trustd/trustd.sock"),
            uid.as_raw(),
        ));
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .context("neither XDG_DATA_HOME nor HOME says where to live: give --config FILE")?
        .join("trustd");
    let socket =
        absolute("XDG_RUNTIME_DIR").map_or_else(|| data.with_extension("sock"), |run| run.join("trustd/trustd.sock"));
    Ok(Config::without_file(&data, &socket, uid.as_raw()))
}

/// Whether a mistyped passphrase would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// The right one is known.
    Once,
    /// It is new: asked for twice on a terminal.
    Twice,
}

fn passphrase(config: &Config, asking: Asking) -> Result<Option<Zeroizing<Vec<u8>>>> {
    if config.root_kek != RootConfig::Passphrase {
        return Ok(None);
    }
    if std::io::stdin().is_terminal() {
        let prompt = if asking == Asking::Once { "Passphrase: " } else { "New passphrase: " };
        let first = Zeroizing::new(rpassword::prompt_password(prompt)?);
        if asking == Asking::Twice && *first != *Zeroizing::new(rpassword::prompt_password("Once more: ")?) {
            bail!("the two differ; nothing was made");
        }
        return Ok(Some(Zeroizing::new(first.as_bytes().to_vec())));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(1025));
    std::io::stdin().take(PASSPHRASE_BYTES_MAX + 1).read_to_end(&mut bytes).context("read the passphrase")?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(Some(bytes))
}
