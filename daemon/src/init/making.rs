//! A data directory while it is made.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config::{Config, RootConfig};

/// A directory beside its place; dropped before [`Making::finish`], it goes away again.
pub(super) struct Making {
    target: PathBuf,
    config: Config,
    is_finished: bool,
}

impl Making {
    /// Begins to make the data directory of `config`, which must be empty or not there. `who` is for the refusal.
    pub(super) fn begin(config: &Config, who: &str) -> Result<Self> {
        let target = config.data_directory.clone();
        if is_used(&target)? {
            bail!(
                "{} is in use: {who} makes a new directory and never touches an old one. Name another \
                 data_directory, or move this one away",
                target.display()
            );
        }
        let made = beside(&target)?;
        if made.exists() {
            std::fs::remove_dir_all(&made).with_context(|| format!("remove the unfinished {}", made.display()))?;
        }
        private_directory(&made)?;
        // A root key below the data directory is made with it.
        let root_kek = match &config.root_kek {
            RootConfig::File(path) => RootConfig::File(moved(path, &target, &made)),
            RootConfig::Passphrase => RootConfig::Passphrase,
        };
        let config = Config { data_directory: made, root_kek, ..config.clone() };
        Ok(Self { target, config, is_finished: false })
    }

    /// The configuration with every path where it is for now.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// Puts the directory in its place, durably.
    pub(super) fn finish(mut self) -> Result<()> {
        let (made, target) = (&self.config.data_directory, &self.target);
        sync(made)?;
        if target.exists() {
            std::fs::remove_dir(target).with_context(|| format!("replace the empty {}", target.display()))?;
        }
        std::fs::rename(made, target).with_context(|| format!("rename {} to {}", made.display(), target.display()))?;
        self.is_finished = true;
        self.target.parent().map_or(Ok(()), sync)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_finished {
            // What is left of it is removed by the next attempt.
            let _ = std::fs::remove_dir_all(&self.config.data_directory);
        }
    }
}

/// Makes a directory for us alone, with its parents.
pub(crate) fn private_directory(directory: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("make {}", directory.display()))
}

/// Whether something is in the way.
fn is_used(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("look into {}", directory.display())),
    }
}

/// Where the directory is made before it is renamed.
fn beside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().context("data_directory has no name")?.to_string_lossy();
    let parent = target.parent().context("data_directory has no parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    Ok(parent.join(format!(".{name}.unfinished")))
}

/// A path below `target`, as it is while everything still is below `made`.
fn moved(path: &Path, target: &Path, made: &Path) -> PathBuf {
    path.strip_prefix(target).map_or_else(|_| path.to_owned(), |below| made.join(below))
}

fn sync(directory: &Path) -> Result<()> {
    std::fs::File::open(directory)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("flush {}", directory.display()))
}
