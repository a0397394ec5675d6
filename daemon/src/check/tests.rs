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

    // Nor does `init` help where the ring went with it.
    std::fs::remove_file(config.ring()).unwrap();
    let findings = examine(&config, tls::faults);

    assert_eq!(places(&findings.faults), ["data_directory", "[root_kek] file"]);
    assert!(findings.faults.iter().all(|fault| !fault.what.contains("trustd init")), "{findings:?}");
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

/// A document and files with one fault of each kind.
fn faulty(directory: &TempDir) -> String {
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::create_dir(at("data")).unwrap();
    std::fs::write(at("data/thesis.tex"), "").unwrap();
    mode(Path::new(&at("data")), 0o755);
    std::fs::write(at("root.kek"), [7; 32]).unwrap();
    mode(Path::new(&at("root.kek")), 0o644);
    format!(
        "log_origin = \"https://Log\"\nbogus = 1\n\"a\\u001b[31m\\nline\" = 1\nmetrics = \"0.0.0.0:9\"\n\
         data_directory = \"{}\"\nroot_kek = {{ file = \"{}\" }}\nsocket = \"{}\"\nsocket_group = \"no-such-group\"\n\
         policy = \"{}\"\nbackup_recipients = \"{}\"\n[limits]\nin_flight_max = 0\n\
         [tls]\nlisten = \"here\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [[tls.client_ca]]\ntrust_domain = \"acme.example\"\ncertificate = \"{}\"\n",
        at("data"),
        at("root.kek"),
        at(&"x".repeat(120)),
        at("policy.cedar"),
        at("recipients"),
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
    )
}

#[test]
fn faults_of_the_document_and_of_its_files_are_named_at_once() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trustd.toml");
    std::fs::write(&file, faulty(&directory)).unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();

    let findings = everything(Config::read(&file));

    let found = places(&findings.faults);
    let in_files = [at("server.pem"), at("server.key"), at("ca.pem")];
    let named = [
        "log_origin",
        "bogus",
        "a\u{1b}[31m\nline",
        "metrics",
        "[limits] in_flight_max",
        "[tls] listen",
        "data_directory",
        "[root_kek] file",
        "socket",
        "socket_group",
        "policy",
        "backup_recipients",
    ];
    for place in named.into_iter().chain(in_files.iter().map(String::as_str)) {
        assert!(found.contains(&place), "{place:?}: {findings:#?}");
    }
    let shown = refusal("trustd.toml", &findings.faults).to_string();
    assert!(shown.contains("a\\u{1b}[31m\\nline"), "{shown}");
    assert_eq!(shown.lines().count(), findings.faults.len() + 2, "{shown}");
}

#[test]
fn what_could_not_be_read_is_one_fault_and_no_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("trustd.toml");
    std::fs::write(&file, "").unwrap();

    let findings = everything(Config::read(&file));

    assert_eq!(findings.faults.len(), 4, "{findings:#?}");
    assert!(findings.missing.is_empty(), "{findings:#?}");
}

#[test]
fn a_data_directory_of_another_user_is_refused_to_root_too() {
    let directory = TempDir::new().unwrap();
    let config = config(directory.path());
    inhabited(&config);
    let foreign = if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&config.data_directory, Some(4242), None).unwrap();
        config.data_directory.as_path()
    } else {
        // Only root can give a directory away; this one is root's.
        Path::new("/")
    };
    let mut findings = Findings::default();

    guarded("it", &std::fs::metadata(foreign).unwrap(), &mut findings);

    assert!(findings.faults.iter().any(|fault| fault.what.contains("belongs to uid")), "{findings:?}");
}

#[test]
fn root_takes_secret_files_of_the_user_whom_the_data_directory_belongs_to_and_of_no_other() {
    // Whoever is not root cannot give a file away, and finds another's a fault: nothing else is to be seen then.
    let is_root = rustix::process::geteuid().is_root();
    let directory = TempDir::new().unwrap();
    let config = config(directory.path());
    inhabited(&config);
    let pin = directory.path().join("pin");
    std::fs::write(&pin, "736451").unwrap();
    mode(&pin, 0o600);
    let fault = CustodyError::Refused { why: "the PIN file belongs to uid 4242, not to us or root".to_owned() };
    if is_root {
        std::os::unix::fs::chown(&pin, Some(4242), None).unwrap();
    }

    assert!(!is_the_services(&config, &pin, &fault));

    if is_root {
        std::os::unix::fs::chown(&config.data_directory, Some(4242), None).unwrap();
    }
    assert_eq!(is_the_services(&config, &pin, &fault), is_root);
    let loose = CustodyError::Refused { why: "the PIN file has mode 0644".to_owned() };
    assert!(!is_the_services(&config, &pin, &loose));
    std::fs::remove_dir_all(&config.data_directory).unwrap();
    assert_eq!(is_the_services(&config, &pin, &fault), is_root);
}
