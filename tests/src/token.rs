//! A PKCS#11 token of a test's own: SoftHSM, with its configuration, its PIN file and what a daemon is told of it.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::daemon::Setup;
use crate::program::{Ran, run, tool};

/// SoftHSM's module, where Debian puts it.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The token's label.
pub const LABEL: &str = "trustd-e2e";
/// Its user PIN.
pub const PIN: &str = "736451";

/// A token that is gone when it is dropped.
#[derive(Debug)]
pub struct Token {
    directory: TempDir,
}

impl Token {
    /// An empty token.
    ///
    /// # Errors
    /// When SoftHSM is not installed.
    pub fn new() -> Result<Self> {
        let directory = TempDir::new().context("make a directory for the token")?;
        let token = Self { directory };
        std::fs::create_dir(token.objects()).context("make a directory of objects")?;
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.objects().display());
        std::fs::write(token.path("softhsm2.conf"), text).context("write SoftHSM's configuration")?;
        token.write_pin(PIN, 0o600)?;
        token.add()?;
        Ok(token)
    }

    /// Makes a token of the same label: the only one, or another beside it.
    ///
    /// # Errors
    /// When SoftHSM is not installed.
    pub fn add(&self) -> Result<()> {
        let mut command = Command::new(tool("softhsm2-util", "apt-get install softhsm2")?);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN]);
        run(&mut command)?.ok().map(drop)
    }

    /// A file in the token's directory: `pin`, `softhsm2.conf`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn objects(&self) -> PathBuf {
        self.path("tokens")
    }

    /// Puts another PIN file in the place of the one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_pin(&self, pin: &str, mode: u32) -> Result<()> {
        let new: &Path = &self.path("pin.new");
        std::fs::write(new, pin).context("write the PIN")?;
        std::fs::set_permissions(new, PermissionsExt::from_mode(mode)).context("close the PIN file")?;
        std::fs::rename(new, self.path("pin")).context("place the PIN file")
    }

    /// A daemon's set-up with this token under the name `hsm`.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup_as(MODULE, LABEL, "")
    }

    /// The same with another module, another label, and more lines in its table.
    #[must_use]
    pub fn setup_as(&self, module: &str, label: &str, more: &str) -> Setup {
        let place = self.directory.path().display();
        let more = format!(
            "\n[[token]]\nname = \"hsm\"\nmodule = \"{module}\"\nlabel = \"{label}\"\npin_file = \"{place}/pin\"\n\
             environment = [\"SOFTHSM2_CONF={place}/softhsm2.conf\"]\nwritable = [\"{place}/tokens\"]\n{more}\n"
        );
        Setup { more, ..Setup::default() }
    }

    /// Takes the token's objects away, as if somebody pulled it out.
    ///
    /// # Errors
    /// When it is away already.
    pub fn take_away(&self) -> Result<()> {
        std::fs::rename(self.objects(), self.path("aside")).context("take the token away")
    }

    /// Puts them back.
    ///
    /// # Errors
    /// When it is there.
    pub fn put_back(&self) -> Result<()> {
        std::fs::rename(self.path("aside"), self.objects()).context("put the token back")
    }

    /// Puts another token's objects in the place of these: the same label, other keys.
    ///
    /// # Errors
    /// When either is away.
    pub fn exchange(&self, other: &Self) -> Result<()> {
        self.take_away()?;
        std::fs::rename(other.objects(), self.objects()).context("put the other token in")
    }

    /// `pkcs11-tool` as the token's user.
    ///
    /// # Errors
    /// When OpenSC is not installed.
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = Command::new(tool("pkcs11-tool", "apt-get install opensc")?);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).env("TOKEN_PIN", PIN);
        command.args(["--module", MODULE, "--token-label", LABEL, "--login", "--pin", "env:TOKEN_PIN"]);
        run(command.args(arguments))
    }

    /// The serial numbers of the tokens there are.
    ///
    /// # Errors
    /// When SoftHSM is not installed.
    pub fn serials(&self) -> Result<Vec<String>> {
        let mut command = Command::new(tool("softhsm2-util", "apt-get install softhsm2")?);
        command.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).arg("--show-slots");
        let shown = run(&mut command)?.ok()?.stdout;
        let serial = |line: &str| Some(line.trim().strip_prefix("Serial number:")?.trim().to_owned());
        Ok(shown.lines().filter_map(serial).filter(|serial| !serial.is_empty()).collect())
    }

    /// The private keys in it, by `CKA_ID` in hexadecimal, with their labels.
    ///
    /// # Errors
    /// As [`Token::pkcs11_tool`], and where that fails or prints something else.
    pub fn private_keys(&self) -> Result<BTreeMap<String, String>> {
        let listed = self.pkcs11_tool(&["--list-objects", "--type", "privkey"])?.ok()?.stdout;
        let (mut keys, mut label) = (BTreeMap::new(), String::new());
        for line in listed.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("label:") {
                text.trim().clone_into(&mut label);
            }
            if let Some(id) = line.strip_prefix("ID:") {
                let before = keys.insert(id.trim().to_owned(), std::mem::take(&mut label));
                ensure!(before.is_none(), "two private keys have the id {id}");
            }
        }
        Ok(keys)
    }
}
