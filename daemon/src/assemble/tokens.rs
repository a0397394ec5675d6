//! Mounting the tokens of the configuration, all at the same time and beside the start of the daemon.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::oneshot;
use tracing::{error, info, warn};
use trust_hsm::worker::{self, Supervisor, TokenWorker};
use trust_hsm::{Custodian as _, TokenPlace};

use super::CustodyStarter;
use crate::config::{Config, TokenConfig};
use crate::custody::{Mounted, Token, Usage};

/// How long the start waits in all for tokens that are not required. One that is wrong (a module that does not load)
/// answers in time and stops the start (D24); one that hangs is waited for by nobody but its own thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a worker for each token. One that is not there is mounted all the same, unless it is required.
pub(super) async fn mount(config: &Config, store: [u8; 16], start: &CustodyStarter) -> Result<Vec<Arc<Token>>> {
    if !config.tokens.is_empty() {
        make_marks(config)?;
    }
    let mut mounting = Vec::new();
    for token in &config.tokens {
        let slot = Arc::new(Token::new(token.name.clone()));
        let profile = config.token_profile(&token.name);
        let ended = begin(token_worker(config, token, store), token.clone(), profile, Arc::clone(&slot), start)?;
        mounting.push((token, slot, ended));
    }
    let mut patience = pin!(tokio::time::sleep(PATIENCE));
    let mut tokens = Vec::new();
    for (token, slot, ended) in mounting {
        let name = &token.name;
        tokio::select! {
            biased;
            ended = ended => ended.context("its thread ended")?.with_context(|| format!("mount token {name}"))?,
            () = &mut patience, if !token.required => {
                warn!(token = name.as_str(), "a token does not answer; the start goes on without it");
            }
        }
        match slot.worker().and_then(|worker| worker.trouble()) {
            Some(trouble) if token.required => bail!("token {name} is required: {trouble}"),
            Some(_) | None => tokens.push(slot),
        }
    }
    Ok(tokens)
}

/// The workers alone, one after the other: for what opens the ring once, and serves nobody meanwhile.
pub(super) fn mount_one_by_one(config: &Config, store: [u8; 16]) -> Result<Vec<Arc<TokenWorker>>> {
    make_marks(config)?;
    let mount = |token: &TokenConfig| {
        Supervisor::mount(token_worker(config, token, store)).with_context(|| format!("mount token {}", token.name))
    };
    config.tokens.iter().map(mount).collect()
}

/// Where PINs that a token refused are remembered.
fn make_marks(config: &Config) -> Result<()> {
    let marks = config.token_marks();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&marks);
    made.with_context(|| format!("make {}", marks.display()))
}

/// Mounts one token in a thread of its own, which blocks as long as the token may. Not among the runtime's threads,
/// for whose end the end of the daemon would wait.
fn begin(
    config: worker::TokenConfig,
    token: TokenConfig,
    profile: PathBuf,
    slot: Arc<Token>,
    start: &CustodyStarter,
) -> Result<oneshot::Receiver<Result<()>>> {
    let (answer, ended) = oneshot::channel();
    let start = Arc::clone(start);
    let mount = move || {
        let name = config.place.name.clone();
        let mounted = Supervisor::mount(config).and_then(|worker| {
            let usage = Usage::decide(token, profile, &worker);
            let custody =
                start(Arc::<TokenWorker>::clone(&worker), TokenWorker::callers_for(usage.tuning().sessions.0))?;
            Ok(Mounted { custody, worker, usage })
        });
        let end = match &mounted {
            Ok(mounted) => {
                match mounted.worker.trouble() {
                    Some(trouble) => {
                        warn!(token = name.as_str(), %trouble, "a token does not serve; it is tried again");
                    }
                    None => info!(token = name.as_str(), state = mounted.worker.state().name(), "token mounted"),
                }
                Ok(())
            }
            Err(error) => Err(anyhow::Error::new(error.clone())),
        };
        slot.settle(mounted.map_err(|error| format!("{error}; start trustd again when it is mended")));
        if let Err(Err(error)) = answer.send(end) {
            // The start did not wait for it.
            error!(token = name.as_str(), %error, "a token could not be mounted");
        }
    };
    std::thread::Builder::new().name("token-mount".to_owned()).spawn(mount).context("start a thread for a token")?;
    Ok(ended)
}

/// How a token's worker is run: this very program, as [`super::spawn_worker`] does it.
pub(crate) fn token_worker(config: &Config, token: &TokenConfig, store: [u8; 16]) -> worker::TokenConfig {
    worker::TokenConfig {
        program: PathBuf::from("/proc/self/exe"),
        arguments: vec!["custody-worker".into()],
        place: TokenPlace { name: token.name.clone(), store, module: token.module.clone(), token: token.token.clone() },
        pin_file: token.pin_file.clone(),
        pin_mark: config.token_marks().join(format!("{}.wrong-pin", token.name)),
        environment: token.environment.clone(),
        readable: token.readable.clone(),
        writable: token.writable.clone(),
        connect: token.connect.clone(),
        sockets: token.sockets.clone(),
        devices: token.devices.clone(),
        // As many as any profile may ask for, and those that have not noticed yet that they are to end.
        callers_max: TokenWorker::callers_for(TokenConfig::SESSIONS_MAX).saturating_mul(2),
        // The profile's say comes when it is known which token is there.
        hang_after: token.hang_after.unwrap_or(TokenConfig::HANG_AFTER),
    }
}
