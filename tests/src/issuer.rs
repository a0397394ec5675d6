//! The token server of docker's registry: accounts with a password, and tokens for repositories whose names begin with
//! the account's own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::http::{free_address, http};
use crate::peer;
use crate::process::Running;
use crate::program::{openssl, run};

/// The password of every account.
pub const PASSWORD: &str = "a password of tests";
/// The same by bcrypt, the one form that is read.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuf6jy9oofv/1FTtdWDUJPpjhojBhQQ.S";
/// What it calls itself in its tokens.
pub const ISSUER: &str = "issuer-of-the-tests";

const READY_LIMIT: Duration = Duration::from_secs(30);

/// A token server with a key of its own, gone when it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    realm: String,
    directory: TempDir,
    _process: Running,
}

impl TokenServer {
    /// Starts it with these accounts.
    ///
    /// # Errors
    /// When it is not built, openssl is not installed, or it does not start.
    pub fn of(accounts: &[&str]) -> Result<Self> {
        let directory = TempDir::new().context("make a directory for the token server")?;
        let at = |name: &str| directory.path().join(name);
        let key = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"];
        run(openssl()?.args(key).arg(at("key.pem")))?.ok()?;
        let certificate = ["req", "-x509", "-new", "-days", "1000", "-subj", "/CN=token issuer", "-key"];
        run(openssl()?.args(certificate).arg(at("key.pem")).arg("-out").arg(at("tokens.pem")))?.ok()?;
        let passwords: String = accounts.iter().map(|account| format!("{account}:{HASH}\n")).collect();
        std::fs::write(at("passwords"), passwords).context("write the accounts")?;
        let address = free_address()?;
        let mut command = Command::new(peer::path("tokens")?);
        command.args(["-addr", &address.to_string(), "-issuer", ISSUER, "-realm", "tests"]);
        command.arg("-key").arg(at("key.pem")).arg("-passwd").arg(at("passwords"));
        let mut process = Running::start(&mut command, &at("log"))?;
        // Whoever asks without a name is told so: it serves.
        process.ready(READY_LIMIT, || http(address, "GET /token/ HTTP/1.1").ok())?;
        Ok(Self { realm: format!("http://{address}/token/"), directory, _process: process })
    }

    /// Where tokens are had.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// A certificate with the key that signs its tokens.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("tokens.pem")
    }
}
