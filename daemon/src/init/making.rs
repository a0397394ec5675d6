//! A data directory while it is made.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config::{Config, RootConfig};

/// Where it is made when the data directory is there already: inside, for the parent may not be ours to write.
pub(crate) const UNFINISHED: &str = ".unfinished";
/// Comes into its place last: a directory without the ring is not whole.
const LAST: &str = "kek";

/// A directory that is no data directory yet; dropped before [`Making::finish`], it goes away again.
pub(super) struct Making {
    target: PathBuf,
    config: Config,
    /// What is made in the target, where it is made inside; none where it is made beside.
    inside: Option<Vec<OsString>>,
    is_finished: bool,
}

impl Making {
    /// Begins to make the data directory of `config`, which must be empty or not there. `who` is for the refusal.
    pub(super) fn begin(config: &Config, who: &str) -> Result<Self> {
        let target = config.data_directory.clone();
        let children = children(config);
        if is_used(&target, &children)? {
            bail!(
                "{} is in use: {who} makes a new directory and never touches an old one. Name another \
                 data_directory, or move this one away",
                target.display()
            );
        }
        let (made, inside) = if target.exists() {
            take_over(&target, who)?;
            remove_leftovers(&target, &children)?;
            (target.join(UNFINISHED), Some(children))
        } else {
            let made = beside(&target)?;
            remove(&made)?;
            (made, None)
        };
        private_directory(&made)?;
        // A root key below the data directory is made with it.
        let root_kek = match &config.root_kek {
            RootConfig::File(path) => RootConfig::File(moved(path, &target, &made)),
            other @ (RootConfig::Passphrase | RootConfig::Token(_)) => other.clone(),
        };
        let config = Config { data_directory: made, root_kek, ..config.clone() };
        Ok(Self { target, config, inside, is_finished: false })
    }

    /// The configuration with every path where it is for now.
    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    /// Puts everything in its place, durably.
    pub(super) fn finish(mut self) -> Result<()> {
        let (made, target) = (&self.config.data_directory, &self.target);
        sync(made)?;
        if self.inside.is_none() {
            rename(made, target)?;
            self.is_finished = true;
            return self.target.parent().map_or(Ok(()), sync);
        }
        let looking = || format!("look into {}", made.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(made).with_context(looking)? {
            names.push(entry.with_context(looking)?.file_name());
        }
        names.sort_by_key(|name| (name == LAST, name.clone()));
        for name in names {
            if name == LAST {
                sync(target)?;
            }
            rename(&made.join(&name), &target.join(&name))?;
        }
        // Empty now. Should it stay, it is in nobody's way.
        let _ = std::fs::remove_dir(made);
        self.is_finished = true;
        sync(&self.target)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // What is left of it is removed by the next attempt.
        let _ = match &self.inside {
            Some(children) => remove_leftovers(&self.target, children),
            None => remove(&self.config.data_directory),
        };
    }
}

/// Whether making `directory` ended between the first and the last rename: its ring never came into its place, so
/// nothing was ever served from it.
pub(crate) fn was_cut_short(directory: &Path) -> bool {
    directory.join(UNFINISHED).join(LAST).join("ring").exists() && !directory.join(LAST).exists()
}

/// What is renamed into the data directory before the ring.
fn children(config: &Config) -> Vec<OsString> {
    let mut children: Vec<OsString> = ["log", "store"].map(OsString::from).into();
    if let RootConfig::File(path) = &config.root_kek
        && let Ok(below) = path.strip_prefix(&config.data_directory)
        && let Some(Component::Normal(first)) = below.components().next()
        && first != LAST
    {
        children.push(first.to_owned());
    }
    children
}

/// Takes an empty directory that is there: only our own, and closed to others.
fn take_over(target: &Path, who: &str) -> Result<()> {
    let metadata = std::fs::metadata(target).with_context(|| format!("look at {}", target.display()))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        bail!(
            "{} belongs to uid {}, not to us\nrun {who} as that user, so that the daemon may read what is made",
            target.display(),
            metadata.uid()
        );
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(target, Permissions::from_mode(0o700))
            .with_context(|| format!("close {} to others", target.display()))?;
    }
    Ok(())
}

/// Removes what an attempt that was cut short left in `target`.
fn remove_leftovers(target: &Path, children: &[OsString]) -> Result<()> {
    // The proof that they are leftovers goes last.
    if was_cut_short(target) {
        children.iter().try_for_each(|child| remove(&target.join(child)))?;
    }
    remove(&target.join(UNFINISHED))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the unfinished {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("rename {} to {}", from.display(), to.display()))
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

/// Whether something is in the way; what an attempt that was cut short left is not.
fn is_used(directory: &Path, children: &[OsString]) -> Result<bool> {
    let is_cut_short = was_cut_short(directory);
    let is_leftover = |name: &OsStr| name == UNFINISHED || is_cut_short && children.iter().any(|child| child == name);
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.into_iter().any(|entry| !entry.is_ok_and(|entry| is_leftover(&entry.file_name())))),
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
