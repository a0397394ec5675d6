//! A token behind a module that breaks on command (`hsm/tests/fault-module`), as a daemon is told of it.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::daemon::Setup;
use crate::token::{LABEL, MODULE, Token};

/// A token of a test's own whose module does as it is told.
#[derive(Debug)]
pub struct Breakable {
    /// The token itself, past the module.
    pub token: Token,
}

impl Breakable {
    /// An empty token, whose module breaks nothing yet.
    ///
    /// # Errors
    /// As [`Token::new`].
    pub fn new() -> Result<Self> {
        let token = Token::new()?;
        fs::create_dir(token.path("fault")).context("make the directory of commands")?;
        Ok(Self { token })
    }

    /// As [`Token::setup_as`], with the module that breaks and more lines in the token's table.
    ///
    /// # Errors
    /// Without the module, naming the command that builds it.
    pub fn setup(&self, more: &str) -> Result<Setup> {
        let module = std::env::current_exe()?.with_file_name("libtrust_hsm_fault.so");
        ensure!(module.exists(), "{} is missing: cargo build -p trust-hsm-fault", module.display());
        let setup = self.token.setup_as(module.to_str().context("a path in UTF-8")?, LABEL, more);
        let fault = self.token.path("fault").display().to_string();
        let reached = setup
            .more
            .replace(
                "softhsm2.conf\"]",
                &format!("softhsm2.conf\", \"FAULT_REAL={MODULE}\", \"FAULT_DIRECTORY={fault}\"]"),
            )
            .replace("/tokens\"]", &format!("/tokens\", \"{fault}\"]"));
        Ok(Setup { more: reached, ..setup })
    }

    /// How often the function was called, or, with an action behind it as in `C_Sign.abort`, broken.
    #[must_use]
    pub fn calls(&self, function: &str) -> u64 {
        fs::metadata(self.token.path("fault").join(function)).map_or(0, |counted| counted.len())
    }

    /// What the module does from now on, a line each: `C_Sign * abort`.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn command(&self, commands: &str) -> Result<()> {
        fs::write(self.token.path("fault/commands.new"), commands).context("write the commands")?;
        fs::rename(self.token.path("fault/commands.new"), self.token.path("fault/commands"))
            .context("place the commands")
    }
}
