use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

fn config(directory: &Path) -> Config {
    let mut config = Config::without_file(&directory.join("data"), &directory.join("trustd.sock"), 0);
    config.root_kek = RootConfig::File(directory.join("root.kek"));
    config
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A data directory with the places that `init` makes.
fn inhabited(config: &Config) {
    std::fs::create_dir_all(config.ring().parent().unwrap()).unwrap();
    std::fs::write(config.ring(), "ring").unwrap();
    std::fs::create_dir(config.log_directory()).unwrap();
    std::fs::create_dir(config.store_directory()).unwrap();
    mode(&config.data_directory, 0o700);
}

fn places(faults: &[ConfigFault]) -> Vec<&str> {
    faults.iter().map(|fault| fault.place.as_str()).collect()
}

#[test]
fn before_init_nothing_is_wrong_and_something_is_missing() {
    let directory = TempDir::new().unwrap();

    let findings = examine(&config(directory.path()), tls::faults);

    assert_eq!(places(&findings.faults), Vec::<&str>::new());
    assert_eq!(places(&findings.missing), ["data_directory", "[root_kek] file"]);
    assert!(findings.missing.iter().all(|missing| missing.what.contains("trustd init")), "{findings:?}");
}

#[test]
fn a_root_key_that_went_missing_is_a_fault() {
    let directory = TempDir::new().unwrap();
    let config = config(directory.path());
    inhabited(&config);

    let findings = examine(&config, tls::faults);

    assert_eq!(places(&findings.faults), ["[root_kek] file"]);
}

#[test]
fn every_fault_of_the_files_is_named_at_once() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    inhabited(&config);
    mode(&config.data_directory, 0o755);
    std::fs::remove_dir(config.log_directory()).unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("root.kek"), [7; 32]).unwrap();
    mode(&at("root.kek"), 0o644);
    std::fs::write(at("policy.cedar"), "permit(principal, action, resource) when { nonsense };\n").unwrap();
    mode(&at("policy.cedar"), 0o666);
    config.policy = PolicyConfig::File(at("policy.cedar"));
    config.backup_recipients = Some(at("recipients"));
    config.unix.group = Some("no-such-group".to_owned());
    config.unix.path = at("nowhere").join("x".repeat(120));

    let findings = examine(&config, tls::faults);

    let found = places(&findings.faults);
    for (place, count) in [
        ("data_directory", 2),
        ("[root_kek] file", 1),
        ("socket", 1),
        ("socket_group", 1),
        ("policy", 2),
        ("backup_recipients", 1),
    ] {
        assert_eq!(found.iter().filter(|found| **found == place).count(), count, "{place}: {findings:#?}");
    }
    assert_eq!(places(&findings.missing), ["socket"]);
}

#[test]
fn a_directory_of_somebody_else_is_not_taken_for_ours() {
    let directory = TempDir::new().unwrap();
    let config = config(directory.path());
    std::fs::create_dir(&config.data_directory).unwrap();
    mode(&config.data_directory, 0o700);
    std::fs::write(config.data_directory.join("thesis.tex"), "").unwrap();

    let findings = examine(&config, tls::faults);

    assert!(findings.faults.iter().any(|fault| fault.what.contains("holds something else")), "{findings:?}");
}

#[test]
fn one_address_for_two_listeners_is_a_fault() {
    let directory = TempDir::new().unwrap();
    let mut config = config(directory.path());
    let address = "127.0.0.1:7443".parse().unwrap();
    config.metrics = Some(address);
    config.tls = Some(TlsConfig {
        listen: address,
        certificate: directory.path().join("server.pem"),
        key: directory.path().join("server.key"),
        client_cas: Vec::new(),
    });

    let findings = examine(&config, tls::faults);

    assert!(places(&findings.faults).contains(&"metrics"), "{findings:?}");
}

#[test]
fn a_refusal_says_what_happened_and_what_to_do() {
    let faults = [ConfigFault { place: "socket".to_owned(), what: "expected an absolute path".to_owned() }];

    let text = refusal("trustd.toml", &faults).to_string();

    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.first(), Some(&"trustd.toml has 1 fault"));
    assert_eq!(lines.get(1), Some(&"  socket: expected an absolute path"));
    assert!(lines.last().is_some_and(|line| line.contains("trustd check")));
}
