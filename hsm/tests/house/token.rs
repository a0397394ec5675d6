//! A SoftHSM token of a test's own, in this process or behind a worker.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trust_hsm::worker::{Supervisor, TokenConfig, TokenWorker};
use trust_hsm::{Custodian, Pin, Pkcs11Custodian, TokenPlace, TokenSelector};

use super::STORE;

pub const PIN: &str = "918273";
pub const LABEL: &str = "trustd-test";
/// Names the token's directory to the test's second process.
const PLACE: &str = "TRUST_HSM_TEST_TOKEN";

pub struct TokenHouse {
    pub directory: TempDir,
}

impl TokenHouse {
    /// A new token with its user PIN, and a PIN file.
    pub fn new() -> Self {
        let house = Self { directory: TempDir::new().unwrap() };
        std::fs::create_dir(house.tokens()).unwrap();
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", house.tokens().display());
        std::fs::write(house.softhsm_conf(), text + "log.level = ERROR\nslots.removable = false\n").unwrap();
        house.add_token(LABEL);
        house.write_pin(PIN);
        house
    }

    pub fn add_token(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.softhsm_conf())
            .args(["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN])
            .output()
            .unwrap_or_else(|error| panic!("softhsm2-util: {error}; apt-get install softhsm2"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    pub fn tokens(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    pub fn softhsm_conf(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    pub fn pin_file(&self) -> PathBuf {
        self.directory.path().join("pin")
    }

    pub fn write_pin(&self, pin: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let new = self.directory.path().join("pin.new");
        std::fs::write(&new, format!("{pin}\n")).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, self.pin_file()).unwrap();
    }

    /// How a worker is told to mount it.
    pub fn config(&self) -> TokenConfig {
        TokenConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_custody-worker")),
            arguments: Vec::new(),
            place: place(),
            pin_file: Some(self.pin_file()),
            pin_mark: self.directory.path().join("hsm.wrong-pin"),
            environment: vec![("SOFTHSM2_CONF".to_owned(), self.softhsm_conf())],
            readable: Vec::new(),
            writable: vec![self.tokens()],
            connect: Vec::new(),
            sockets: Vec::new(),
            devices: Vec::new(),
            sessions_max: 8,
            hang_after: Duration::from_secs(20),
        }
    }

    pub fn mount(&self) -> Arc<TokenWorker> {
        Supervisor::mount(self.config()).unwrap()
    }

    /// What `pkcs11-tool` answers, logged in.
    pub fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        self.try_pkcs11_tool(arguments).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// The same, or what it complains of.
    pub fn try_pkcs11_tool(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("pkcs11-tool")
            .env("SOFTHSM2_CONF", self.softhsm_conf())
            .arg("--module")
            .arg(softhsm())
            .args(["--token-label", LABEL, "--login", "--pin", PIN])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("pkcs11-tool: {error}; apt-get install opensc"));
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

pub fn place() -> TokenPlace {
    TokenPlace {
        name: "test".parse().unwrap(),
        store: STORE,
        module: softhsm(),
        token: TokenSelector::Label(LABEL.to_owned()),
    }
}

/// SoftHSM's module, where Debian has it.
pub fn softhsm() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
    places
        .iter()
        .map(PathBuf::from)
        .find(|place| place.exists())
        .unwrap_or_else(|| panic!("no SoftHSM at {places:?}; apt-get install softhsm2"))
}

/// Runs a test over a token that is mounted in its own process.
///
/// A module has one state per process and takes its configuration from the environment, so each test is run
/// again, alone, in a second process; `name` is the test's own.
pub fn alone(name: &str, test: impl FnOnce(&dyn Custodian)) {
    if std::env::var_os(PLACE).is_some() {
        let pin = Pin::take(&mut PIN.as_bytes().to_vec()).unwrap();
        let custodian = Pkcs11Custodian::mount(&place(), pin).unwrap();
        return test(&custodian);
    }
    let house = TokenHouse::new();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(PLACE, house.directory.path())
        .env("SOFTHSM2_CONF", house.softhsm_conf())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{complained}");
}

pub fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// A token behind the module that breaks on command.
pub struct FaultHouse {
    pub token: TokenHouse,
}

impl FaultHouse {
    pub fn new() -> Self {
        let house = Self { token: TokenHouse::new() };
        std::fs::create_dir(house.directory()).unwrap();
        house
    }

    pub fn directory(&self) -> PathBuf {
        self.token.directory.path().join("fault")
    }

    pub fn config(&self) -> TokenConfig {
        let mut config = self.token.config();
        config.place.module = fault_module();
        config.environment.push(("FAULT_REAL".to_owned(), softhsm()));
        config.environment.push(("FAULT_DIRECTORY".to_owned(), self.directory()));
        config.writable.push(self.directory());
        config
    }

    pub fn mount(&self) -> Arc<TokenWorker> {
        Supervisor::mount(self.config()).unwrap()
    }

    /// Replaces the commands, whole at every instant.
    pub fn command(&self, commands: &str) {
        let new = self.directory().join("commands.new");
        std::fs::write(&new, commands).unwrap();
        std::fs::rename(new, self.directory().join("commands")).unwrap();
    }

    /// How often the function was called, or, with an action behind it as in `C_Sign.abort`, broken.
    pub fn calls(&self, function: &str) -> u64 {
        std::fs::metadata(self.directory().join(function)).map_or(0, |counted| counted.len())
    }

    /// Breaks the `nth` call of the function from now on.
    pub fn at(&self, function: &str, nth: u64, action: &str) {
        self.command(&format!("{function} {} {action}", self.calls(function) + nth));
    }
}

/// The fault module, which cargo builds beside the test programs.
fn fault_module() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let module = deps.join("libtrust_hsm_fault.so");
    assert!(module.exists(), "{} is missing: cargo build -p trust-hsm-fault", module.display());
    module
}
