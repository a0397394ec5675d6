//! A token of a test's own, SoftHSM's or kryoptic's, in this process or behind a worker.

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

/// The real modules that custody is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Kryoptic,
    Softhsm,
}

impl Make {
    pub fn module(self) -> PathBuf {
        match self {
            Self::Kryoptic => kryoptic(),
            Self::Softhsm => softhsm(),
        }
    }

    /// The variable in which the module looks for its configuration.
    fn variable(self) -> &'static str {
        match self {
            Self::Kryoptic => "KRYOPTIC_CONF",
            Self::Softhsm => "SOFTHSM2_CONF",
        }
    }
}

pub struct TokenHouse {
    pub directory: TempDir,
    make: Make,
}

impl TokenHouse {
    /// A new token of SoftHSM's with its user PIN, and a PIN file.
    pub fn new() -> Self {
        Self::of(Make::Softhsm)
    }

    /// The same of either module.
    pub fn of(make: Make) -> Self {
        let house = Self { directory: TempDir::new().unwrap(), make };
        std::fs::create_dir(house.tokens()).unwrap();
        match make {
            Make::Kryoptic => house.make_kryoptic_token(),
            Make::Softhsm => house.make_softhsm_token(),
        }
        house.write_pin(PIN);
        house
    }

    fn make_softhsm_token(&self) {
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", self.tokens().display());
        std::fs::write(self.conf(), text + "log.level = ERROR\nslots.removable = false\n").unwrap();
        self.add_token(LABEL);
    }

    fn make_kryoptic_token(&self) {
        let tool = |arguments: &[&str]| {
            let ran = self.tool().args(arguments).output();
            let ran = ran.unwrap_or_else(|error| panic!("pkcs11-tool: {error}; apt-get install opensc"));
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        };
        tool(&["--init-token", "--label", LABEL, "--so-pin", "12345678"]);
        tool(&["--init-pin", "--token-label", LABEL, "--login", "--so-pin", "12345678", "--new-pin", PIN]);
    }

    pub fn add_token(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", self.conf())
            .args(["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN])
            .output()
            .unwrap_or_else(|error| panic!("softhsm2-util: {error}; apt-get install softhsm2"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    pub fn tokens(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    /// The module's configuration; kryoptic's is the token itself.
    pub fn conf(&self) -> PathBuf {
        match self.make {
            Make::Kryoptic => self.tokens().join("token.sql"),
            Make::Softhsm => self.directory.path().join("softhsm2.conf"),
        }
    }

    fn tool(&self) -> Command {
        let mut command = Command::new("pkcs11-tool");
        command.env(self.make.variable(), self.conf()).arg("--module").arg(self.make.module());
        command
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
            place: place(self.make),
            pin_file: Some(self.pin_file()),
            pin_mark: self.directory.path().join("hsm.wrong-pin"),
            environment: vec![(self.make.variable().to_owned(), self.conf().into())],
            readable: Vec::new(),
            writable: vec![self.tokens()],
            connect: Vec::new(),
            sockets: Vec::new(),
            devices: Vec::new(),
            callers_max: 8,
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
        let output = self
            .tool()
            .args(["--token-label", LABEL, "--login", "--pin", PIN])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("pkcs11-tool: {error}; apt-get install opensc"));
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

pub fn place(make: Make) -> TokenPlace {
    TokenPlace {
        name: "test".parse().unwrap(),
        store: STORE,
        module: make.module(),
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

/// kryoptic's module, where `scripts/build_peers.sh` has put it.
pub fn kryoptic() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/build_peers.sh");
    let said = Command::new(&script).args(["path", "kryoptic"]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let module = PathBuf::from(String::from_utf8(said.stdout).unwrap().trim());
    let how = "scripts/build_peers.sh kryoptic (about 3 minutes; needs clang and perl)";
    assert!(module.is_file(), "missing: the PKCS#11 module kryoptic. Build it: {how}");
    module
}

/// Runs a test over a token that is mounted in its own process.
///
/// A module has one state per process and takes its configuration from the environment, so each test is run
/// again, alone, in a second process; `name` is the test's own.
pub fn alone(make: Make, name: &str, test: impl FnOnce(&dyn Custodian)) {
    if std::env::var_os(PLACE).is_some() {
        let pin = Pin::take(&mut PIN.as_bytes().to_vec()).unwrap();
        let custodian = Pkcs11Custodian::mount(&place(make), pin).unwrap();
        return test(&custodian);
    }
    let house = TokenHouse::of(make);
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(PLACE, house.directory.path())
        .env(make.variable(), house.conf())
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
        config.environment.push(("FAULT_REAL".to_owned(), softhsm().into()));
        config.environment.push(("FAULT_DIRECTORY".to_owned(), self.directory().into()));
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
