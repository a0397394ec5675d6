//! What each section of the file may say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use trust_hsm::TokenName;
use trust_proto::codec::{SIGN_ITEMS_MAX, VERIFY_ITEMS_MAX};

use super::reader::Section;
use super::{
    ClientCaConfig, CustodyConfig, DESTROY_AFTER, HANG_AFTER, KeysConfig, Limits, LogFormat, LoggingConfig,
    OPENED_KEYS_MAX, RootConfig, SESSIONS, TlsConfig, UNUSED_DAYS, UnixConfig,
};

pub(super) fn root_kek(mut section: Section) -> RootConfig {
    let file = section.optional_path("file");
    let credential = section.optional_text("credential", "a credential's name", |text| {
        !text.is_empty() && !text.contains('/') && !text.starts_with('.')
    });
    let token = section.optional_text("token", "the name of a [[token]]", |text| text.parse::<TokenName>().is_ok());
    let token = token.and_then(|name| name.parse().ok());
    match (file, credential, token, section.flag("passphrase", false)) {
        (Some(file), None, None, false) => RootConfig::File(file),
        (None, Some(name), None, false) => RootConfig::File(credentials().join(name)),
        (None, None, Some(name), false) => RootConfig::Token(name),
        (None, None, None, true) => RootConfig::Passphrase,
        _ => {
            section.fault("file", "exactly one of file, credential, token, passphrase = true");
            RootConfig::Passphrase
        }
    }
}

/// Where systemd puts this service's credentials; outside of the service, where it would put them.
pub(super) fn credentials() -> PathBuf {
    std::env::var_os("CREDENTIALS_DIRECTORY")
        .map(PathBuf::from)
        .filter(|directory| directory.is_absolute())
        .unwrap_or_else(|| PathBuf::from("/run/credentials/trustd.service"))
}

pub(super) fn custody(mut section: Section) -> CustodyConfig {
    CustodyConfig {
        sessions: section.count("sessions", 1..=64, SESSIONS),
        opened_keys_max: section.count("opened_keys_max", 1..=1_000_000, OPENED_KEYS_MAX),
        hang_after: section.milliseconds("hang_after_ms", 100..=600_000, HANG_AFTER),
    }
}

pub(super) fn unix(root: &mut Section) -> UnixConfig {
    let path = root.path("socket");
    let mode = root.optional_text("socket_mode", "an octal mode such as 0660, closed to others", |text| {
        u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o777 && mode & 0o007 == 0)
    });
    UnixConfig {
        path,
        mode: mode.and_then(|text| u32::from_str_radix(&text, 8).ok()).unwrap_or(0o660),
        group: root.optional_text("socket_group", "a group's name", |text| !text.is_empty()),
    }
}

pub(super) fn tls(mut section: Section) -> TlsConfig {
    let listen = section.address("listen");
    let (certificate, key) = (section.path("certificate"), section.path("key"));
    let client_cas = client_cas(&mut section);
    if client_cas.is_empty() {
        section.fault("client_ca", "at least one: without it nobody could come in");
    }
    TlsConfig { listen, certificate, key, client_cas }
}

/// The authorities that vouch for clients of a listener.
pub(super) fn client_cas(section: &mut Section) -> Vec<ClientCaConfig> {
    let tables = section.sections("client_ca").into_iter();
    let read = |mut ca: Section| ClientCaConfig {
        trust_domain: ca.text("trust_domain", "a SPIFFE trust domain: acme.example", |text| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
        }),
        certificate: ca.path("certificate"),
        crl: ca.optional_path("crl"),
    };
    tables.map(read).collect()
}

pub(super) fn keys(mut section: Section) -> KeysConfig {
    KeysConfig {
        destroy_after: section.seconds("destroy_after_seconds", 0..=31_536_000, DESTROY_AFTER.as_secs()),
        unused_trust_keys_after: days(section.number("unused_trust_key_days_max", 0..=3650, UNUSED_DAYS)),
    }
}

/// That many days; 0 is no time at all.
pub(super) fn days(number: u64) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(number.saturating_mul(24 * 3600)))
}

pub(super) fn limits(mut section: Section) -> Limits {
    let default = Limits::default();
    let sign_items_max = u64::try_from(SIGN_ITEMS_MAX).unwrap_or(u64::MAX);
    let verify_items_max = u64::try_from(VERIFY_ITEMS_MAX).unwrap_or(u64::MAX);
    let limits = Limits {
        connections_max: section.count("connections_max", 1..=65_536, default.connections_max),
        in_flight_max: section.count("in_flight_max", 1..=65_536, default.in_flight_max),
        work_max: section.count("work_max", 1..=65_536, default.work_max),
        request_time_max: section.milliseconds("request_ms_max", 100..=600_000, default.request_time_max),
        message_bytes_max: section.count("message_kib_max", 64..=65_536, default.message_bytes_max >> 10) << 10,
        batch_items_max: section.count("batch_items_max", 1..=sign_items_max, default.batch_items_max),
        verify_items_max: section.count("verify_items_max", 1..=verify_items_max, default.verify_items_max),
        verify_items_at_work_max: section.count(
            "verify_items_at_work_max",
            1..=16_000_000,
            default.verify_items_at_work_max,
        ),
        verify_tables_max: section.count("verify_tables_max", 0..=65_536, default.verify_tables_max),
        trust_keys_max: section.count("trust_keys_max", 0..=1_000_000, default.trust_keys_max),
        log_free_bytes_min: section.number("log_free_mib_min", 0..=1_048_576, default.log_free_bytes_min >> 20) << 20,
        log_waiting_max: section.count("log_waiting_max", 16..=1_000_000, default.log_waiting_max),
        custody_waiting_max: section.count("custody_waiting_max", 1..=1_000_000, default.custody_waiting_max),
        rate_per_second: section.count32("rate_per_second", 1..=1_000_000, default.rate_per_second),
        rate_burst: section.count32("rate_burst", 1..=1_000_000, default.rate_burst),
        replays_per_principal_max: section.count(
            "idempotency_keys_per_principal_max",
            1..=1_000_000,
            default.replays_per_principal_max,
        ),
        replays_max: section.count("idempotency_keys_max", 1..=10_000_000, default.replays_max),
    };
    if limits.replays_per_principal_max > limits.replays_max {
        section.fault("idempotency_keys_per_principal_max", "at most idempotency_keys_max");
    }
    if limits.verify_items_at_work_max < limits.verify_items_max {
        section.fault("verify_items_at_work_max", "at least verify_items_max");
    }
    limits
}

pub(super) fn metrics(root: &mut Section) -> Option<SocketAddr> {
    if !root.has("metrics") {
        return None;
    }
    let address = root.address("metrics");
    if !address.ip().is_loopback() {
        root.fault("metrics", "a loopback address: metrics have no authentication");
    }
    Some(address)
}

pub(super) fn logging(mut section: Section) -> LoggingConfig {
    let format = section.optional_text("format", "text or json", |text| matches!(text, "text" | "json"));
    let level = section.optional_text("level", "error, warn, info, debug or trace", |text| {
        matches!(text, "error" | "warn" | "info" | "debug" | "trace")
    });
    LoggingConfig {
        format: if format.as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text },
        level: level.unwrap_or_else(|| "info".to_owned()),
    }
}
