//! Where configuration and memory of `trustctl` lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The directories of one user, and the host's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// `/etc/trustctl/config.toml`: counts only when root owns it.
    pub(crate) host_file: PathBuf,
    /// Whose host configuration counts: root's.
    pub(crate) host_owner: u32,
    configuration: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Places {
    /// From the environment: the XDG base directories, then `HOME`.
    pub(crate) fn of_this_user() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        // A relative path is to be ignored (XDG Base Directory Specification).
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |name: &str, home: &str| {
            absolute(name)
                .or_else(|| absolute("HOME").map(|directory| directory.join(home)))
                .map(|d| d.join("trustctl"))
        };
        Self {
            host_file: PathBuf::from("/etc/trustctl/config.toml"),
            host_owner: 0,
            configuration: below("XDG_CONFIG_HOME", ".config"),
            state: below("XDG_STATE_HOME", ".local/state"),
        }
    }

    /// Everything below one directory.
    #[cfg(test)]
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            host_file: directory.join("etc.toml"),
            host_owner: rustix::process::geteuid().as_raw(),
            configuration: Some(directory.join("config")),
            state: Some(directory.join("state")),
        }
    }

    /// The user's configuration directory, if the environment says where.
    pub(crate) fn configuration(&self) -> Option<&Path> {
        self.configuration.as_deref()
    }

    /// The user's configuration directory, for who must write there.
    pub(crate) fn configuration_or_fail(&self) -> Result<&Path, Failure> {
        self.configuration().ok_or_else(|| homeless("XDG_CONFIG_HOME"))
    }

    /// What is remembered from one call to the next.
    pub(crate) fn state_or_fail(&self) -> Result<&Path, Failure> {
        self.state.as_deref().ok_or_else(|| homeless("XDG_STATE_HOME"))
    }
}

fn homeless(variable: &str) -> Failure {
    Failure::usage(
        format!("neither HOME nor {variable} says where your files are"),
        format!("set HOME or {variable} to an absolute path"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xdg_directories_go_before_home_and_relative_ones_are_ignored() {
        let places = Places::from_variables(|name| match name {
            "HOME" => Some("/home/a".into()),
            "XDG_CONFIG_HOME" => Some("relative".into()),
            "XDG_STATE_HOME" => Some("/state".into()),
            _ => None,
        });

        assert_eq!(places.configuration(), Some(Path::new("/home/a/.config/trustctl")));
        assert_eq!(places.state_or_fail().unwrap(), Path::new("/state/trustctl"));
        assert!(Places::from_variables(|_| None).configuration_or_fail().is_err());
    }
}
