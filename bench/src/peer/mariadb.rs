//! Debian's MariaDB in a directory of its own, reached over a socket there; its defaults otherwise, so each commit
//! is on disk when it returns (`innodb_flush_log_at_trx_commit = 1`).

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use trust_tests::process::Running;
use trust_tests::program::{run, run_with_input, tool};

const REMEDY: &str = "apt-get install mariadb-server";
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The tables that notary-signer and notary-server 0.7 expect; Debian's package has no migrations.
const TABLES: &str = "\
CREATE DATABASE signer CHARACTER SET utf8;
CREATE TABLE signer.private_keys (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  created_at timestamp NULL, updated_at timestamp NULL, deleted_at timestamp NULL,
  key_id varchar(255) NOT NULL UNIQUE,
  encryption_alg varchar(255) NOT NULL, keywrap_alg varchar(255) NOT NULL,
  algorithm varchar(50) NOT NULL, passphrase_alias varchar(50) NOT NULL,
  public blob NOT NULL, private blob NOT NULL,
  gun varchar(255) NOT NULL, role varchar(255) NOT NULL, last_used timestamp NULL,
  UNIQUE KEY key_and_algorithm (key_id, algorithm)
) ENGINE=InnoDB;
CREATE DATABASE server CHARACTER SET utf8;
CREATE TABLE server.tuf_files (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  created_at timestamp NULL, updated_at timestamp NULL, deleted_at timestamp NULL,
  gun varchar(255) NOT NULL, role varchar(255) NOT NULL, version int NOT NULL, data longblob NOT NULL,
  sha256 char(64) DEFAULT NULL,
  UNIQUE KEY gun (gun, role, version), INDEX sha256 (sha256)
) ENGINE=InnoDB;
CREATE TABLE server.changefeed (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY, created_at timestamp NULL DEFAULT CURRENT_TIMESTAMP,
  gun varchar(255) NOT NULL, version int NOT NULL, sha256 char(64) DEFAULT NULL,
  category varchar(20) NOT NULL DEFAULT 'update',
  INDEX gun (gun)
) ENGINE=InnoDB;
";

/// A running server with the tables of both.
#[derive(Debug)]
pub(crate) struct MariaDb {
    socket: PathBuf,
    _process: Running,
}

impl MariaDb {
    /// A new one below `directory`.
    ///
    /// # Errors
    /// When it is not installed, or does not start; with its log.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let (install, server) = (tool("mariadb-install-db", REMEDY)?, tool("mariadbd", REMEDY)?);
        let client = tool("mariadb", REMEDY)?;
        std::fs::create_dir(directory).context("make MariaDB's directory")?;
        let data = directory.join("data");
        let user = format!("--user={}", user()?);
        run(Command::new(install)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &user])
            .arg(format!("--datadir={}", data.display())))?
        .ok()
        .context("make MariaDB's data")?;

        let socket = directory.join("sock");
        let mut command = Command::new(server);
        command.args(["--no-defaults", "--skip-networking", &user]);
        command.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        command.arg(format!("--pid-file={}", directory.join("pid").display()));
        let mut process = Running::start(&mut command, &directory.join("log"))?;
        process.ready(READY_LIMIT, || UnixStream::connect(&socket).ok())?;

        let mut command = Command::new(client);
        command.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", socket.display()));
        run_with_input(&mut command, TABLES.as_bytes())?.ok().context("make the tables")?;
        Ok(Self { socket, _process: process })
    }

    /// The data source of a database as both take it.
    pub(crate) fn source(&self, database: &str) -> String {
        format!("root@unix({})/{database}?parseTime=true", self.socket.display())
    }
}

/// The server refuses to run as root unless it is told to.
fn user() -> Result<String> {
    let id = rustix::process::geteuid().as_raw();
    let text = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == id).then(|| name.to_owned())
    });
    Ok(name.unwrap_or_else(|| id.to_string()))
}
