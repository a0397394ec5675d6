//! From a request line to what is asked for: SPEC §2.2, in the order and with the greed of the original's router.
//!
//! The name of a repository has slashes, and so have delegations, so no table of patterns by segments fits: the last
//! `/_trust/tuf/` behind which something known stands divides them.

use http::Method;
use trust::format::tuf::Gun;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `GET /v2/`
    Ping,
    /// `POST /v2/GUN/_trust/tuf/`
    Publish(Name),
    /// `DELETE /v2/GUN/_trust/tuf/`
    Delete(Name),
    /// `GET …/ROLE.json`, or one that is named; the role as it was written.
    File { gun: Name, role: String, which: Which },
    /// `GET …/ROLE.key`
    Key { gun: Name, role: KeyRole },
    /// `POST …/ROLE.key`
    RotateKey { gun: Name, role: KeyRole },
    /// `GET /v2/_trust/changefeed`, and of one repository.
    Changes(Option<Name>),
    /// `GET /_notary_server/health`
    Health,
    /// `GET /metrics`
    Metrics,
    /// Nothing that is here.
    Elsewhere,
}

/// Which of a role's files; hash and version as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// `ROLE.json`
    Current,
    /// `ROLE.HASH.json`
    ByHash(String),
    /// `VERSION.ROLE.json`
    ByVersion(String),
}

/// A repository as it was asked for; `None` for a name that none can have.
pub(super) type Name = Option<Gun>;

/// The roles whose keys are the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRole {
    Snapshot,
    Timestamp,
}

/// What is to be done with a request line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Answer this.
    To(Route),
    /// Send the client to this path, as a URL has it.
    Move(String),
    /// No method that is here, anywhere.
    NoMethod,
}

/// Reads method and path.
pub(super) fn turn(method: &Method, path: &str) -> Turn {
    let Some(path) = decoded(path) else { return Turn::To(Route::Elsewhere) };
    let clean = cleaned(&path);
    if clean != path {
        return Turn::Move(encoded(&clean));
    }
    if !matches!(*method, Method::GET | Method::POST | Method::PUT | Method::HEAD | Method::DELETE) {
        return Turn::NoMethod;
    }
    Turn::To(route(method, &path))
}

fn route(method: &Method, path: &str) -> Route {
    if *method == Method::GET {
        match path {
            "/v2/" => return Route::Ping,
            "/_notary_server/health" => return Route::Health,
            "/metrics" => return Route::Metrics,
            "/v2/_trust/changefeed" => return Route::Changes(None),
            _ => {}
        }
    }
    let Some(below) = path.strip_prefix("/v2/") else { return Route::Elsewhere };
    for (end, between) in below.rmatch_indices("/_trust/tuf/") {
        let (Some(name), Some(file)) = (below.get(..end), below.get(end.saturating_add(between.len())..)) else {
            continue;
        };
        if name.is_empty() || name.contains('*') {
            continue;
        }
        if let Some(route) = of_repository(method, name, file) {
            return route;
        }
    }
    match below.strip_suffix("/_trust/changefeed") {
        Some(name) if *method == Method::GET && !name.is_empty() && !name.contains('*') => {
            Route::Changes(Some(name.parse().ok()))
        }
        _ => Route::Elsewhere,
    }
}

/// What stands behind `_trust/tuf/`; `None` for nothing that is known.
fn of_repository(method: &Method, name: &str, file: &str) -> Option<Route> {
    let gun = || name.parse::<Gun>().ok();
    let key_role = || match file {
        "snapshot.key" => Some(KeyRole::Snapshot),
        "timestamp.key" => Some(KeyRole::Timestamp),
        _ => None,
    };
    match *method {
        Method::POST if file.is_empty() => Some(Route::Publish(gun())),
        Method::POST => Some(Route::RotateKey { gun: gun(), role: key_role()? }),
        Method::DELETE if file.is_empty() => Some(Route::Delete(gun())),
        Method::GET => {
            if let Some(role) = key_role() {
                return Some(Route::Key { gun: gun(), role });
            }
            metadata(gun(), file.strip_suffix(".json")?)
        }
        _ => None,
    }
}

fn metadata(gun: Name, file: &str) -> Option<Route> {
    if let Some((role, hash)) = file.rsplit_once('.')
        && matches!(hash.len(), 64 | 96 | 128)
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
        && is_role(role)
    {
        return Some(Route::File { gun, role: role.to_owned(), which: Which::ByHash(hash.to_owned()) });
    }
    if let Some((version, role)) = file.split_once('.')
        && !version.is_empty()
        && version.bytes().all(|b| b.is_ascii_digit())
        && is_role(role)
    {
        return Some(Route::File { gun, role: role.to_owned(), which: Which::ByVersion(version.to_owned()) });
    }
    is_role(file).then(|| Route::File { gun, role: file.to_owned(), which: Which::Current })
}

/// The original's pattern: any segments below `targets`. Which of them are roles is asked later, for the answers differ.
fn is_role(text: &str) -> bool {
    match text {
        "root" | "snapshot" | "timestamp" => true,
        _ => text.strip_prefix("targets").is_some_and(|below| {
            below.is_empty()
                || below.strip_prefix('/').is_some_and(|below| {
                    below.split('/').all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
                })
        }),
    }
}

/// A path without percent-encoding (RFC 3986 §2.1); `None` for one that is broken, or no text.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Without empty segments and without `.` and `..`, always beginning with one slash; one at the end stays.
fn cleaned(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut clean = String::with_capacity(path.len().saturating_add(1));
    for segment in &kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if clean.is_empty() || path.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// The path as a URL has it.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(method: &Method, path: &str) -> Route {
        match turn(method, path) {
            Turn::To(route) => route,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn gun(name: &str) -> Name {
        Some(name.parse().unwrap())
    }

    fn file(name: &str, role: &str, which: Which) -> Route {
        Route::File { gun: gun(name), role: role.to_owned(), which }
    }

    #[test]
    fn each_row_of_the_table_is_found() {
        let hash = "0a".repeat(32);
        for (method, path, expected) in [
            (Method::GET, "/v2/".to_owned(), Route::Ping),
            (Method::POST, "/v2/h:1/a/_trust/tuf/".to_owned(), Route::Publish(gun("h:1/a"))),
            (Method::DELETE, "/v2/a/_trust/tuf/".to_owned(), Route::Delete(gun("a"))),
            (
                Method::GET,
                format!("/v2/a/b/_trust/tuf/targets/releases.{hash}.json"),
                file("a/b", "targets/releases", Which::ByHash(hash.clone())),
            ),
            (
                Method::GET,
                "/v2/a/_trust/tuf/01.root.json".to_owned(),
                file("a", "root", Which::ByVersion("01".to_owned())),
            ),
            (Method::GET, "/v2/a/_trust/tuf/targets/UP.json".to_owned(), file("a", "targets/UP", Which::Current)),
            (
                Method::GET,
                "/v2/a/_trust/tuf/timestamp.key".to_owned(),
                Route::Key { gun: gun("a"), role: KeyRole::Timestamp },
            ),
            (
                Method::POST,
                "/v2/a/_trust/tuf/snapshot.key".to_owned(),
                Route::RotateKey { gun: gun("a"), role: KeyRole::Snapshot },
            ),
            (Method::GET, "/v2/_trust/changefeed".to_owned(), Route::Changes(None)),
            (Method::GET, "/v2/a/b/_trust/changefeed".to_owned(), Route::Changes(Some(gun("a/b")))),
            (Method::GET, "/_notary_server/health".to_owned(), Route::Health),
            (Method::GET, "/metrics".to_owned(), Route::Metrics),
        ] {
            assert_eq!(to(&method, &path), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_is_in_no_row_is_elsewhere() {
        for (method, path) in [
            (Method::GET, "/"),
            (Method::GET, "/v2"),
            (Method::POST, "/v2/"),
            (Method::GET, "/v2/_trust/tuf/root.json"),
            (Method::GET, "/v2/a/_trust/tuf/"),
            (Method::GET, "/v2/a/_trust/tuf/foo.json"),
            (Method::GET, "/v2/a/_trust/tuf/root.key"),
            (Method::POST, "/v2/a/_trust/tuf/targets.key"),
            (Method::POST, "/v2/a/_trust/tuf"),
            (Method::HEAD, "/v2/a/_trust/tuf/root.json"),
            (Method::PUT, "/v2/a/_trust/tuf/root.json"),
            (Method::DELETE, "/v2/a/_trust/tuf/root.json"),
            (Method::GET, "/v2/a*b/_trust/tuf/root.json"),
            (Method::GET, "/v2/a/_trust/tuf/targets.0a.json"),
            (Method::GET, "/v2/a/_trust/tuf/root%20.json"),
            (Method::GET, "/v2/%zz"),
            (Method::GET, "/v2/%ff"),
            (Method::GET, "/v2/%"),
        ] {
            assert_eq!(to(&method, path), Route::Elsewhere, "{method} {path}");
        }
        for (method, path) in [(Method::PATCH, "/v2/a/_trust/tuf/root.json"), (Method::OPTIONS, "/v2/")] {
            assert_eq!(turn(&method, path), Turn::NoMethod, "{method} {path}");
        }
    }

    #[test]
    fn the_last_boundary_with_something_known_behind_it_divides() {
        let current = |name: &str, role: &str| file(name, role, Which::Current);

        assert_eq!(to(&Method::GET, "/v2/a/_trust/tuf/b/_trust/tuf/root.json"), current("a/_trust/tuf/b", "root"));
        assert_eq!(
            to(&Method::GET, "/v2/a/_trust/tuf/targets/_trust/tuf/c.json"),
            current("a", "targets/_trust/tuf/c")
        );
        let ninth = file("a", "targets/b", Which::ByVersion("9".to_owned()));
        assert_eq!(to(&Method::GET, "/v2/a/_trust/tuf/9.targets/b.json"), ninth);
    }

    #[test]
    fn a_name_that_no_repository_has_is_kept_apart_from_a_path_that_is_none() {
        for name in ["a%22b", "a%25b", "%C3%A9", "a%3Fb"] {
            let path = format!("/v2/{name}/_trust/tuf/");
            assert_eq!(to(&Method::POST, &path), Route::Publish(None), "{path}");
        }
        assert_eq!(to(&Method::POST, "/v2/h%3A5000/a/_trust/tuf/"), Route::Publish(gun("h:5000/a")));
    }

    #[test]
    fn a_path_is_cleaned_before_anything_else() {
        for (path, clean) in [
            ("/v2//_trust/tuf/root.json", "/v2/_trust/tuf/root.json"),
            ("/v2/a//_trust/tuf/root.json", "/v2/a/_trust/tuf/root.json"),
            ("/v2/a/../b/", "/v2/b/"),
            ("/v2/./a", "/v2/a"),
            ("/../..", "/"),
            ("//host/v2/", "/host/v2/"),
            ("/v2/%2e%2e/x", "/x"),
            ("/v2//a%20b%22", "/v2/a%20b%22"),
            ("", "/"),
            ("*", "/*"),
        ] {
            assert_eq!(turn(&Method::GET, path), Turn::Move(clean.to_owned()), "{path}");
        }
        assert_eq!(turn(&Method::PATCH, "/v2//"), Turn::Move("/v2/".to_owned()));
    }
}
