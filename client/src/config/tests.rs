use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::failure::Exit;
use crate::trust_server::TrustRoot;

const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(TempDir::new().unwrap());
        std::fs::create_dir(home.0.path().join("config")).unwrap();
        home
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Config, Failure> {
        Config::load(Places::below(self.0.path()))
    }
}

#[test]
fn nothing_configured_is_a_whole_configuration() {
    let config = Home::new().load().unwrap();

    assert!(!config.enforce && config.pins.is_empty() && config.endpoint.is_none() && config.remarks.is_empty());
}

#[test]
fn the_host_and_the_user_are_both_read() {
    let home = Home::new();
    home.file("etc.toml", "enforce = true\nserver_user = \"trustd\"\n", 0o644);
    home.file("config/config.toml", "endpoint = \"https://t.example.com\"\ncertificate = \"c.pem\"\n", 0o600);
    home.file(
        "config/pins.toml",
        &format!("[[pins]]\nrepository = \"r.example.com/team/*\"\npublic_key = \"\"\"{PEM}\"\"\"\nany_tag = true\n"),
        0o600,
    );

    let config = home.load().unwrap();

    assert!(config.enforce);
    assert_eq!(config.server_user.as_deref(), Some("trustd"));
    assert_eq!(config.tls.certificate, Some(home.0.path().join("config/c.pem")));
    assert_eq!(config.pins.len(), 1);
    assert!(config.pins[0].any_tag && !config.pins[0].required);
}

#[test]
fn a_host_file_that_others_can_write_is_ignored_with_a_word() {
    let home = Home::new();
    home.file("etc.toml", "enforce = true\n", 0o664);

    let config = home.load().unwrap();

    assert!(!config.enforce);
    assert!(config.remarks[0].contains("etc.toml"), "{:?}", config.remarks);
}

#[test]
fn a_file_of_pins_that_everybody_can_write_is_refused() {
    let home = Home::new();
    home.file("config/pins.toml", "", 0o646);

    let failure = home.load().unwrap_err();

    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.remedy().contains("chmod"), "{failure:?}");
}

#[test]
fn unknown_keys_are_refused_and_named() {
    for (file, text) in [("etc.toml", "enforced = true\n"), ("config/config.toml", "\nenforce = true\n")] {
        let home = Home::new();
        home.file(file, text, 0o600);

        let failure = home.load().unwrap_err();

        assert!(failure.what().contains("enforce") && failure.what().contains("line"), "{failure:?}");
    }
}

#[test]
fn a_pin_that_cannot_be_read_is_named() {
    let home = Home::new();
    home.file("config/config.toml", "[[pins]]\nrepository = \"r.example.com/*x\"\npublic_key = \"no\"\n", 0o600);

    let failure = home.load().unwrap_err();

    assert!(failure.what().contains("r.example.com/*x"), "{failure:?}");
}

/// The client's part of docs/config.md.
fn document() -> &'static str {
    include_str!("../../../docs/config.md").split("\n## The client\n").nth(1).unwrap()
}

#[test]
fn the_samples_of_the_document_are_read() {
    let samples: Vec<&str> =
        document().split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [host, user] = samples[..] else { panic!("{samples:?}") };
    let home = Home::new();
    home.file("etc.toml", host, 0o644);
    home.file("config/config.toml", user, 0o600);

    let config = home.load().unwrap();

    assert!(config.enforce && config.pins.len() == 1 && config.pins[0].required);
    assert!(config.endpoint.is_some() && config.tls.key.is_some());
    let [server] = &config.trust_servers[..] else { panic!("{:?}", config.trust_servers) };
    assert!(
        server.is_required() && server.root() == Some(&TrustRoot::File(home.0.path().join("config/team-root.json")))
    );
}

#[test]
fn the_sample_of_content_trust_is_read() {
    let page = include_str!("../../../docs/content-trust.md").split("\n## Reading without").nth(1).unwrap();
    let sample = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let home = Home::new();
    home.file("config/config.toml", sample, 0o600);

    assert_eq!(home.load().unwrap().trust_servers.len(), 1);
}

#[test]
fn a_trust_server_that_cannot_be_read_is_named() {
    for (line, word) in [("repository = \"r.example.com/*x\"", "*x"), ("repository = \"a\"\nroot = \"\"", "root")] {
        let home = Home::new();
        let text = format!("[[trust_servers]]\nurl = \"https://n.example.com\"\n{line}\n");
        home.file("config/config.toml", &text, 0o600);

        let failure = home.load().unwrap_err();

        assert!(failure.exit() == Exit::Usage && failure.what().contains(word), "{failure:?}");
    }
}

#[test]
fn the_document_has_every_key() {
    fn keys<T: DeserializeOwned + std::fmt::Debug>() -> Vec<String> {
        let error = toml::from_str::<T>("no_such_key = 1").unwrap_err();
        let named = error.message().split("expected").nth(1).unwrap().split('`').map(str::to_owned);
        named.skip(1).step_by(2).collect()
    }
    let mut keys = [
        keys::<HostFile>(),
        keys::<UserFile>(),
        keys::<PinEntry>(),
        keys::<ReleasePinEntry>(),
        keys::<TrustServerEntry>(),
    ]
    .concat();
    keys.sort();
    keys.dedup();

    assert!(keys.len() >= 10, "{keys:?}");
    for key in keys {
        assert!(document().contains(&format!("| `{key}` |")), "{key}");
    }
}
