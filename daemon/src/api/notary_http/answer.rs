//! Answers that give what was asked for: bodies and headers of SPEC §2.3.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, PRAGMA};
use http::{Response, StatusCode};
use http_body_util::Full;
use tracing::warn;
use trust::Principal;
use trust::format::tuf::{self, Expires};

use super::Answer;
use crate::scrape;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// How long a file of metadata is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Until the next publication.
    Current,
    /// For ever: it was asked for by hash or version.
    Consistent,
}

/// Who may be given an answer that a cache has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Everybody: whoever asked gave no name.
    All,
    /// Whoever asked: others may not be allowed to read it.
    Asking,
}

impl Readers {
    /// Those of what this principal was given.
    pub(super) const fn beside(who: &Principal) -> Self {
        if matches!(who, Principal::Anonymous(_)) { Self::All } else { Self::Asking }
    }
}

/// A file of metadata, as it is stored.
pub(super) fn metadata(
    bytes: Bytes,
    stored_at_unix_seconds: u64,
    readers: Readers,
    (age, max_age): (Age, Duration),
) -> Answer {
    let mut answer = with(bytes, TEXT);
    let seconds = max_age.as_secs();
    let whose = match readers {
        Readers::All => format!("public, max-age={seconds}, s-maxage={seconds}"),
        Readers::Asking => format!("private, max-age={seconds}"),
    };
    let control = match (seconds, age) {
        (0, _) => "max-age=0, no-cache, no-store".to_owned(),
        (_, Age::Current) => format!("{whose}, must-revalidate"),
        (_, Age::Consistent) => whose,
    };
    put(&mut answer, CACHE_CONTROL, &control);
    if seconds == 0 {
        put(&mut answer, PRAGMA, "no-cache");
    }
    put(&mut answer, LAST_MODIFIED, &last_modified(stored_at_unix_seconds));
    answer
}

/// A key of the server's own.
pub(super) fn key(key: &tuf::Key) -> Answer {
    with(key.served(), TEXT)
}

/// A page of the changefeed.
pub(super) fn changes(page: &str) -> Answer {
    with(page.to_owned(), TEXT)
}

/// Something was done, and there is nothing to say. Clients take any other status than 200 for a failure.
pub(super) fn done() -> Answer {
    Response::new(Full::default())
}

/// The server is one.
pub(super) fn ping() -> Answer {
    with("{}", TEXT)
}

/// Whether the server does all it is for: what is wrong, by name.
pub(super) fn health(troubles: &[(&'static str, &'static str)]) -> Answer {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut members: Vec<String> = Vec::new();
    for (name, _) in troubles {
        let words: Vec<&str> = troubles.iter().filter(|(other, _)| other == name).map(|(_, what)| *what).collect();
        let member = format!("{}:{}", text(name), text(&words.join(", ")));
        if !members.contains(&member) {
            members.push(member);
        }
    }
    let mut answer = with(format!("{{{}}}", members.join(",")), JSON);
    if !troubles.is_empty() {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// The daemon's metrics.
pub(super) fn metrics(page: String) -> Answer {
    with(page, HeaderValue::from_static(scrape::TEXT))
}

/// Where the path without its dots and double slashes is.
pub(super) fn moved(path: &str, query: Option<&str>) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let to = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    put(&mut answer, LOCATION, &to);
    answer
}

/// There is nothing that has this method.
pub(super) fn no_method() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    answer
}

/// The same for HEAD, which wants no body.
pub(super) fn without_body(answer: Answer) -> Answer {
    let (head, _) = answer.into_parts();
    Response::from_parts(head, Full::default())
}

fn with(bytes: impl Into<Bytes>, content_type: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::new(bytes.into()));
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

fn put(answer: &mut Answer, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(answer.headers_mut().insert(name, value)),
        Err(error) => warn!(%error, header = %name, "what was to be said does not fit into a header"),
    }
}

/// `Mon, 23 Nov 2026 05:23:32 UTC`: not `GMT`, as RFC 9110 §5.6.7 has it; the original writes its zone's name.
fn last_modified(unix_seconds: u64) -> String {
    let date = i64::try_from(unix_seconds).ok().and_then(|seconds| Expires::at(seconds).ok());
    date.map(|date| date.http_date()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use trust::principal::Name;

    use super::*;

    #[test]
    fn caches_are_told_how_long_it_is_true() {
        let of = |age, seconds| {
            metadata(Bytes::from_static(b"{}"), 1_795_411_412, Readers::All, (age, Duration::from_secs(seconds)))
        };
        let header = |answer: &Answer, name| {
            answer.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned())
        };

        let current = of(Age::Current, 300);
        assert_eq!(
            header(&current, CACHE_CONTROL).as_deref(),
            Some("public, max-age=300, s-maxage=300, must-revalidate")
        );
        assert_eq!(header(&current, LAST_MODIFIED).as_deref(), Some("Mon, 23 Nov 2026 05:23:32 UTC"));
        assert_eq!(header(&current, CONTENT_TYPE).as_deref(), Some("text/plain; charset=utf-8"));
        let consistent = of(Age::Consistent, 2_592_000);
        assert_eq!(header(&consistent, CACHE_CONTROL).as_deref(), Some("public, max-age=2592000, s-maxage=2592000"));
        assert_eq!(header(&consistent, PRAGMA), None);
        let never = of(Age::Consistent, 0);
        assert_eq!(header(&never, CACHE_CONTROL).as_deref(), Some("max-age=0, no-cache, no-store"));
        assert_eq!(header(&never, PRAGMA).as_deref(), Some("no-cache"));
    }

    #[test]
    fn what_was_read_under_a_name_is_kept_for_nobody_else() {
        let of = |who: &Principal, age, seconds| {
            let readers = Readers::beside(who);
            let answer = metadata(Bytes::from_static(b"{}"), 0, readers, (age, Duration::from_secs(seconds)));
            answer.headers()[CACHE_CONTROL].to_str().unwrap().to_owned()
        };

        let nobody = Principal::Anonymous(Name::parse("notary").unwrap());
        let named = Principal::LocalUid(1000);
        assert_eq!(of(&nobody, Age::Consistent, 60), "public, max-age=60, s-maxage=60");
        assert_eq!(of(&named, Age::Consistent, 60), "private, max-age=60");
        assert_eq!(of(&named, Age::Current, 60), "private, max-age=60, must-revalidate");
        assert_eq!(of(&named, Age::Current, 0), "max-age=0, no-cache, no-store");
    }

    #[test]
    fn each_check_is_named_once() {
        assert_eq!(health(&[]).status(), StatusCode::OK);
        let troubles = [("Trust operational", "custody is unavailable"), ("Trust operational", "sealed")];
        assert_eq!(health(&troubles).status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = format!("{:?}", health(&troubles).into_body());
        assert_eq!(body.matches("Trust operational").count(), 1, "{body}");
        assert!(body.contains("custody is unavailable, sealed"), "{body}");
    }

    #[test]
    fn a_move_keeps_the_query() {
        assert_eq!(moved("/v2/a", Some("records=1")).headers()[LOCATION], "/v2/a?records=1");
        assert_eq!(moved("/v2/a", None).headers()[LOCATION], "/v2/a");
        assert_eq!(moved("/v2/a", None).status(), StatusCode::MOVED_PERMANENTLY);
    }
}
