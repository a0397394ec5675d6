use super::*;

const LEAST: &str = r#"
data_directory = "/var/lib/trustd"
log_origin = "log.example.org"
root_kek = { file = "/etc/trustd/root.kek" }
socket = "/run/trustd/trustd.sock"
"#;

fn faults(text: &str) -> Vec<String> {
    Config::parse(text).err().unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn the_least_configuration_has_bounds_for_everything() {
    let config = Config::parse(LEAST).unwrap();

    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.policy, PolicyConfig::Default);
    assert_eq!(config.unix.mode, 0o660);
    assert_eq!(config.tls, None);
    assert_eq!(config.metrics, None);
}

#[test]
fn five_faults_are_named_in_one_answer() {
    let text = LEAST
        .replace("log.example.org", "https://Log")
        .replace("{ file =", "{ fiel =")
        .replace("/run/trustd/trustd.sock\"", "trustd.sock\"\nsocket_mode = \"0666\"\nmetrics = \"0.0.0.0:9\"");
    let found = faults(&format!("{text}\n[limits]\nin_flight_max = 0\n"));

    for expected in [
        "log_origin: expected a bare host name",
        "[root_kek] fiel: expected no such key here; is `file` meant?",
        "[root_kek] file: expected exactly one of",
        "socket: expected an absolute path",
        "socket_mode: expected an octal mode",
        "[limits] in_flight_max: expected a whole number from 1 to 65536",
        "metrics: expected a loopback address",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn an_empty_file_names_everything_that_is_missing() {
    let found = faults("");

    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn a_tls_listener_without_an_authority_is_a_fault() {
    let found =
        faults(&format!("{LEAST}\n[tls]\nlisten = \"127.0.0.1:7443\"\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n"));

    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found.iter().all(|fault| fault.starts_with("[tls] client_ca")));
}

#[test]
fn two_sources_of_the_root_key_are_a_fault() {
    let text = LEAST.replace("{ file", "{ passphrase = true, file");

    assert_eq!(faults(&text).len(), 1);
}

#[test]
fn what_is_no_toml_is_one_fault_with_its_line() {
    let found = faults("[store\n");

    assert_eq!(found.len(), 1);
    assert!(found.iter().all(|fault| fault.contains("line 1")), "{found:#?}");
}

#[test]
fn without_a_file_everything_is_below_one_directory() {
    let config = Config::without_file(Path::new("/d"), Path::new("/r/s"), 7);

    assert!(config.store_directory().starts_with("/d"));
    assert!(config.log_directory().starts_with("/d"));
    assert!(config.ring().starts_with("/d"));
    assert_eq!(config.unix.mode, 0o600);
    assert_eq!(config.policy, PolicyConfig::DefaultFor(7));
    assert!(origin_ok(&config.log_origin), "{}", config.log_origin);
}

#[test]
fn a_configuration_is_a_regular_file_with_an_end() {
    let directory = tempfile::TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let long = directory.path().join("long.toml");
    std::fs::write(&long, "#".repeat(256 * 1024 + 1)).unwrap();

    for (path, expected) in
        [(Path::new("/dev/zero"), "a regular file"), (&pipe, "a regular file"), (&long, "at most 256 KiB")]
    {
        let faults = Config::read(path).whole().unwrap_err();

        assert!(faults.iter().all(|fault| fault.what.contains(expected)), "{faults:?}");
    }
}

#[test]
fn nothing_of_a_key_reaches_the_terminal_as_it_is() {
    let found = faults(&format!("\"a\\u001b[31m\\nb\\u202ec\" = 1\n{LEAST}"));

    assert!(found.iter().all(|fault| !fault.chars().any(|c| c.is_control() || c == '\u{202e}')), "{found:?}");
    assert!(found.iter().any(|fault| fault.starts_with("a\\u{1b}[31m\\nb\\u{202e}c: ")), "{found:?}");
}
