use std::os::unix::fs::PermissionsExt as _;

use trust_hsm::doctor::{AlgorithmFinding, Latency, SessionLimit, Throughput, ThroughputStep};

use super::*;
use crate::config::Config;

fn identity() -> Identity {
    Identity {
        serial: "0123".to_owned(),
        label: "release".to_owned(),
        manufacturer: "Someone".to_owned(),
        model: "One".to_owned(),
        hardware: "1.0".to_owned(),
        firmware: "2.1".to_owned(),
        module: "A module 3.4".to_owned(),
    }
}

fn facts() -> TokenFacts {
    TokenFacts::new("release", "0123", "Someone", "One", "2.1", "A module 3.4")
}

fn report() -> Report {
    let latency = Latency { p50_us: 5000, p90_us: 6000, p99_us: 7000, max_us: 400_000 };
    let step = |sessions, per_second| ThroughputStep { sessions, per_second, latency };
    let works = Works::Yes { signatures: 9, generation_us: 1000, latency };
    Report {
        identity: identity(),
        flags: Vec::new(),
        algorithms: vec![
            AlgorithmFinding { algorithm: "ecdsa-p256-sha256".to_owned(), is_listed: true, works },
            AlgorithmFinding {
                algorithm: "ed25519".to_owned(),
                is_listed: true,
                works: Works::No { why: "sign: CKR_MECHANISM_INVALID".to_owned() },
            },
        ],
        throughput: Some(Throughput {
            algorithm: "ecdsa-p256-sha256".to_owned(),
            steps: vec![step(1, 200.0), step(16, 3000.0)],
            enough: 16,
            ended: String::new(),
        }),
        session_limit: SessionLimit { opened: 16, refused: None, stated: None },
        stability: None,
        quirks: vec![Quirk::HandlesChange, Quirk::ListsWhatFails],
        swept: 0,
        left_behind: Vec::new(),
    }
}

fn config(more: &str) -> TokenConfig {
    let text = format!(
        "data_directory = \"/d\"\nlog_origin = \"log.example.org\"\nsocket = \"/s\"\n[root_kek]\nfile = \"/k\"\n\
         [[token]]\nname = \"hsm\"\nmodule = \"/m.so\"\nlabel = \"release\"\npin_file = \"/p\"\n{more}"
    );
    Config::parse(&text).unwrap().tokens.remove(0)
}

fn profile() -> Profile {
    Profile::of(&report(), 1_790_000_000)
}

#[test]
fn a_profile_comes_back_as_it_was_written_and_nobody_else_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens/hsm.profile");
    assert_eq!(Profile::read(&path).unwrap(), None);

    profile().write(&path).unwrap();
    profile().write(&path).unwrap();

    assert_eq!(Profile::read(&path).unwrap(), Some(profile()));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("sessions = 16\nhang_after_ms = 8000\n"), "{text}");
}

#[test]
fn a_profile_that_no_measurement_wrote_is_not_used_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hsm.profile");
    profile().write(&path).unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    for (bad, expected) in [
        (good.replace("version = 1\n", "version = 2\n"), "version 2"),
        (good.replacen("sessions = 16", "sessions = 65", 1), "sessions"),
        (good.replace("hang_after_ms = 8000", "hang_after_ms = 1"), "hang_after_ms"),
        (good.replace("handles-change", "bites"), "bites"),
        (good.replace("serial", "cereal"), "cereal"),
        (format!("{good}#{}", " ".repeat(65_536)), "64 KiB"),
    ] {
        std::fs::write(&path, &bad).unwrap();

        let tuning = Tuning::of(&config(""), Profile::read(&path), Some(&facts()));

        assert!(matches!(&tuning.profile, Standing::Unreadable(why) if why.contains(expected)), "{:?}", tuning.profile);
        assert_eq!(tuning.sessions, (TokenConfig::SESSIONS, Source::Default));
    }
}

#[test]
fn the_configuration_wins_over_the_profile_and_the_profile_over_the_default() {
    let tuned = |more: &str| Tuning::of(&config(more), Ok(Some(profile())), Some(&facts()));

    let silent = tuned("");
    assert_eq!((silent.sessions, silent.hang_after.1), ((16, Source::Profile), Source::Profile));
    assert_eq!(silent.hang_after.0, Duration::from_secs(8));
    assert_eq!(silent.session_idle_max(), Some(Duration::from_secs(1)));
    assert_eq!((silent.quirks, silent.profile), (report().quirks, Standing::Used));
    let outspoken = tuned("sessions = 2\nhang_after_ms = 700\n");
    assert_eq!(outspoken.sessions, (2, Source::Configuration));
    assert_eq!(outspoken.hang_after, (Duration::from_millis(700), Source::Configuration));
    let without = Tuning::of(&config(""), Ok(None), Some(&facts()));
    assert_eq!(without.hang_after, (TokenConfig::HANG_AFTER, Source::Default));
    assert_eq!((without.session_idle_max(), without.profile), (None, Standing::None));
}

#[test]
fn another_tokens_profile_is_not_used_nor_one_of_a_token_that_nobody_has_seen() {
    let others = [
        TokenFacts::new("release", "4567", "Someone", "One", "2.1", "A module 3.4"),
        TokenFacts::new("release", "0123", "Someone", "One", "2.2", "A module 3.4"),
        TokenFacts::new("release", "0123", "Someone", "One", "2.1", "A module 3.5"),
    ];
    for other in others {
        let tuning = Tuning::of(&config(""), Ok(Some(profile())), Some(&other));

        assert!(matches!(tuning.profile, Standing::Foreign(_)), "{other:?}");
        assert_eq!((tuning.sessions.1, tuning.quirks), (Source::Default, Vec::new()));
    }
    // A label may be changed without anything else.
    let renamed = TokenFacts::new("other", "0123", "Someone", "One", "2.1", "A module 3.4");
    assert_eq!(Tuning::of(&config(""), Ok(Some(profile())), Some(&renamed)).profile, Standing::Used);
    assert_eq!(Tuning::of(&config(""), Ok(Some(profile())), None).profile, Standing::Waiting);
}
