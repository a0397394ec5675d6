//! `[[token]]`: a PKCS#11 token that keys can be made in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use trust_hsm::{TokenName, TokenSelector};

use super::reader::Section;
use super::sections::credentials;
use super::{HANG_AFTER, SESSIONS};

/// The most tokens.
const TOKENS_MAX: usize = 16;
/// The most entries of one list.
const ENTRIES_MAX: usize = 32;
/// What `environment` takes.
const VARIABLES: &str = "a list of at most 32 NAME=/absolute/path or NAME=kind:address";
/// The longest of its texts, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// One token of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenConfig {
    /// What keys call it, for ever.
    pub(crate) name: TokenName,
    /// The module's shared library.
    pub(crate) module: PathBuf,
    /// The token in it.
    pub(crate) token: TokenSelector,
    /// The file with the user PIN; without one an operator logs in.
    pub(crate) pin_file: Option<PathBuf>,
    /// Session threads; the token's profile, or else the default, says it where this does not.
    pub(crate) sessions: Option<usize>,
    /// When a silent worker is replaced; likewise.
    pub(crate) hang_after: Option<Duration>,
    /// Whether the daemon does not start without it.
    pub(crate) required: bool,
    /// The module's environment: names, and files or addresses.
    pub(crate) environment: Vec<(String, OsString)>,
    /// What the module may read.
    pub(crate) readable: Vec<PathBuf>,
    /// Where the module may change everything.
    pub(crate) writable: Vec<PathBuf>,
    /// Where the module may connect to with TCP.
    pub(crate) connect: Vec<SocketAddr>,
    /// The Unix sockets it is for.
    pub(crate) sockets: Vec<PathBuf>,
    /// The devices it may use.
    pub(crate) devices: Vec<PathBuf>,
}

impl TokenConfig {
    /// Session threads where nobody says how many.
    pub(crate) const SESSIONS: usize = SESSIONS;
    /// When a silent worker is replaced where nobody says it.
    pub(crate) const HANG_AFTER: Duration = HANG_AFTER;
    /// The most session threads.
    pub(crate) const SESSIONS_MAX: usize = 64;
}

/// Every `[[token]]`.
pub(super) fn tokens(root: &mut Section) -> Vec<TokenConfig> {
    let sections = root.sections("token");
    if sections.len() > TOKENS_MAX {
        root.fault("token", "at most 16 of them");
    }
    let mut names = BTreeSet::new();
    let mut tokens = Vec::new();
    for section in sections.into_iter().take(TOKENS_MAX) {
        tokens.extend(token(section, &mut names));
    }
    tokens
}

fn token(mut section: Section, names: &mut BTreeSet<TokenName>) -> Option<TokenConfig> {
    let name = section.text("name", "1 to 32 of a-z, 0-9 and -, a letter first, not `software`", |text| {
        text.parse::<TokenName>().is_ok()
    });
    let name = name.parse::<TokenName>().ok();
    if let Some(name) = &name
        && !names.insert(name.clone())
    {
        section.fault("name", "a name that no other token has");
    }
    let module = section.path("module");
    let token = selector(&mut section);
    let pin_file = pin(&mut section);
    let absolute = |text: &str| text.starts_with('/') && text.len() <= TEXT_BYTES_MAX;
    let expected = "a list of at most 32 absolute paths";
    let paths = |texts: Vec<String>| texts.into_iter().map(PathBuf::from).collect::<Vec<_>>();
    let environment = section
        .texts("environment", VARIABLES, ENTRIES_MAX, |text| text.len() <= TEXT_BYTES_MAX && variable(text).is_some());
    let mut listed = |key: &'static str| paths(section.texts(key, expected, ENTRIES_MAX, absolute));
    let (readable, writable, devices, sockets) =
        (listed("readable"), listed("writable"), listed("devices"), listed("sockets"));
    let connect = section
        .texts("connect", "a list of at most 32 IP addresses with ports", ENTRIES_MAX, |text| address(text).is_some());
    let required = section.flag("required", false);
    if required && pin_file.is_none() {
        section.fault("required", "false where no pin_file or pin_credential is: nobody can log in before the start");
    }
    Some(TokenConfig {
        module,
        pin_file,
        sessions: section.optional_count("sessions", 1..=64, SESSIONS),
        hang_after: section.optional_milliseconds("hang_after_ms", 100..=600_000, HANG_AFTER),
        required,
        environment: environment.iter().filter_map(|text| variable(text)).collect(),
        readable,
        writable,
        connect: connect.iter().filter_map(|text| address(text)).collect(),
        sockets,
        devices,
        name: name?,
        token: token?,
    })
}

fn selector(section: &mut Section) -> Option<TokenSelector> {
    let fits = |bytes_max: usize| move |text: &str| (1..=bytes_max).contains(&text.len());
    let serial = section.optional_text("serial", "1 to 16 bytes", fits(TokenSelector::SERIAL_BYTES_MAX));
    let label = section.optional_text("label", "1 to 32 bytes", fits(TokenSelector::LABEL_BYTES_MAX));
    match (serial, label) {
        (Some(serial), None) => Some(TokenSelector::Serial(serial)),
        (None, Some(label)) => Some(TokenSelector::Label(label)),
        (Some(_), Some(_)) | (None, None) => {
            section.fault("serial", "exactly one of serial, label");
            None
        }
    }
}

fn pin(section: &mut Section) -> Option<PathBuf> {
    let file = section.optional_path("pin_file");
    let credential = section.optional_text("pin_credential", "a credential's name", |text| {
        !text.is_empty() && !text.contains('/') && !text.starts_with('.')
    });
    match (file, credential) {
        (Some(_), Some(_)) => {
            section.fault("pin_file", "at most one of pin_file, pin_credential");
            None
        }
        (file, credential) => file.or_else(|| credential.map(|name| credentials().join(name))),
    }
}

/// `10.0.0.5:9004` or `[fd00::5]:9004`: no name, for the module's process asks nobody what a name means.
fn address(text: &str) -> Option<SocketAddr> {
    text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0)
}

/// `NAME=/path`, or `NAME=kind:…` for an address. What the loader itself reads is none of a module's business.
fn variable(text: &str) -> Option<(String, OsString)> {
    let (name, value) = text.split_once('=')?;
    let sound = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with("LD_")
        && !name.starts_with("GLIBC_");
    (sound && (value.starts_with('/') || is_address(name, value))).then(|| (name.to_owned(), value.into()))
}

/// `device:/dev/tpmrm0`, `unix:path=/run/…`: where a module finds what it speaks to, in the words of TPMs and of D-Bus.
/// Other text is refused, for the sake of whoever would write a PIN here.
fn is_address(name: &str, value: &str) -> bool {
    let Some((kind, rest)) = value.split_once(':') else { return false };
    let is_kind = kind.starts_with(|c: char| c.is_ascii_lowercase())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let is_for_a_secret =
        name.split('_').any(|word| word.ends_with("PIN") || word.contains("PASS") || word.contains("SECRET"));
    is_kind && !is_for_a_secret && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const HEAD: &str = "data_directory = \"/d\"\nlog_origin = \"log.example.org\"\nsocket = \"/s\"\n\
                        [root_kek]\nfile = \"/k\"\n";
    const GOOD: &str = "[[token]]\nname = \"hsm\"\nmodule = \"/m.so\"\nlabel = \"l\"\npin_file = \"/p\"\n";

    fn faults(text: &str) -> Vec<String> {
        Config::parse(&format!("{HEAD}{text}")).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_token_needs_a_name_a_module_one_selector_and_at_most_one_pin() {
        assert_eq!(faults(GOOD), Vec::<String>::new());
        assert_eq!(faults(&GOOD.replace("pin_file = \"/p\"\n", "")), Vec::<String>::new());
        for (bad, place) in [
            (GOOD.replace("name = \"hsm\"\n", ""), "[token] name"),
            (GOOD.replace("\"hsm\"", "\"software\""), "[token] name"),
            (GOOD.repeat(2), "[token] name"),
            (GOOD.replace("module = \"/m.so\"\n", ""), "[token] module"),
            (GOOD.replace("label = \"l\"\n", ""), "[token] serial"),
            (GOOD.to_owned() + "serial = \"1\"\n", "[token] serial"),
            (GOOD.replace("pin_file = \"/p\"", "required = true"), "[token] required"),
            (GOOD.to_owned() + "pin_credential = \"pin\"\n", "[token] pin_file"),
            (GOOD.to_owned() + "pin = \"1234\"\n", "[token] pin"),
        ] {
            let faults = faults(&bad);
            assert!(faults.iter().any(|fault| fault.starts_with(place)), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn a_module_connects_to_addresses_with_ports_and_to_no_names() {
        let with = |value: &str| faults(&format!("{GOOD}connect = [\"{value}\"]\n"));

        for good in ["10.0.0.5:9004", "[fd00::5]:9004", "127.0.0.1:12345"] {
            assert_eq!(with(good), Vec::<String>::new());
        }
        for bad in ["10.0.0.5", "10.0.0.5:0", "hsm.example.com:9004", "10.0.0.0/8:9004", ":9004", ""] {
            assert_eq!(with(bad).len(), 1, "{bad}");
        }
        for key in ["sockets", "devices"] {
            assert_eq!(faults(&format!("{GOOD}{key} = [\"run/pcscd\"]\n")).len(), 1, "{key}");
        }
    }

    #[test]
    fn a_modules_environment_names_files_and_addresses_and_nothing_of_the_loader() {
        let with = |value: &str| faults(&format!("{GOOD}environment = [\"{value}\"]\n"));

        for good in [
            "SOFTHSM2_CONF=/etc/softhsm2.conf",
            "TPM2_PKCS11_TCTI=device:/dev/tpmrm0",
            "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket",
            "TPM2_PKCS11_TCTI=tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=system",
        ] {
            assert_eq!(with(good), Vec::<String>::new());
        }
        for bad in ["PIN=1234", "softhsm=/x", "LD_PRELOAD=/x.so", "GLIBC_TUNABLES=/x", "=/x", "A", "A=x"] {
            assert_eq!(with(bad).len(), 1, "{bad}");
        }
        for bad in ["HSM_PIN=user:1234", "A=:x", "A=device:", "A=CU:x", "A=device:a b", "LD_AUDIT=device:/x"] {
            assert_eq!(with(bad).len(), 1, "{bad}");
        }
    }
}
