//! The seam against registries that lie, stall, redirect and ask for too much.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::hostile::{Hostile, Reply, Seen};
use super::*;

const IMPATIENT: Patience =
    Patience { tries_max: 3, first_wait: Duration::from_millis(1), wait_max: Duration::from_millis(5) };

fn registry_at(host: &str, credentials: CredentialFiles) -> Registry {
    let repository = Repository::parse(&format!("{host}/team/app")).unwrap();
    let mut registry = Registry::open(&repository, Access::PullAndPush, PlainHttp::LoopbackOnly, credentials).unwrap();
    registry.channel.exchange = Exchange::new(registry.channel.exchange.address().clone(), &[], IMPATIENT).unwrap();
    registry
}

fn registry(peer: &Hostile) -> Registry {
    registry_at(&peer.host, CredentialFiles::of(Vec::new()))
}

/// user:hunter2 for this peer.
fn known_at(peer: &Hostile) -> (tempfile::TempDir, Registry) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpodW50ZXIy"}}}}}}"#, peer.host)).unwrap();
    let registry = registry_at(&peer.host, CredentialFiles::of(vec![file]));
    (directory, registry)
}

fn tag() -> Place {
    Place::Tag("1.0".parse().unwrap())
}

fn is_manifest(seen: &Seen) -> bool {
    seen.line.contains("/manifests/")
}

#[tokio::test]
async fn a_manifest_is_its_bytes_and_404_is_none() {
    let peer = Hostile::answering(|seen| match seen.line.as_str() {
        "GET /v2/team/app/manifests/1.0" => Reply::new(200, "{}").with("Content-Type", "a/b; charset=utf-8"),
        _ => Reply::new(404, "{}"),
    })
    .await;

    let found = registry(&peer).manifest(&tag()).await.unwrap().unwrap();

    assert_eq!((found.bytes.as_slice(), found.digest), (b"{}".as_slice(), Sha256Digest::of(b"{}")));
    assert_eq!(found.media_type, "a/b");
    let absent = Place::Digest(Sha256Digest::of(b"x"));
    assert!(registry(&peer).manifest(&absent).await.unwrap().is_none());
}

#[tokio::test]
async fn other_bytes_than_asked_for_or_announced_are_a_lie() {
    let announced = Sha256Digest::of(b"another").to_string();
    let peer = Hostile::answering(move |_| Reply::new(200, "{}").with("Docker-Content-Digest", &announced)).await;

    let by_tag = registry(&peer).manifest(&tag()).await.unwrap_err();
    let by_digest = registry(&peer).manifest(&Place::Digest(Sha256Digest::of(b"asked"))).await.unwrap_err();
    let blob = registry(&peer).blob(&Sha256Digest::of(b"as"), 2).await.unwrap_err();

    for error in [by_tag, by_digest, blob] {
        assert!(matches!(error, RegistryError::Lied { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_digest_in_another_hash_function_is_a_lie() {
    let peer = Hostile::answering(|_| Reply::new(200, "{}").with("Docker-Content-Digest", "md5:00")).await;

    assert!(matches!(registry(&peer).manifest(&tag()).await, Err(RegistryError::Lied { .. })));
}

#[tokio::test]
async fn too_many_bytes_are_refused_announced_or_not() {
    let long = vec![b' '; MANIFEST_BYTES_MAX + 1];
    for reply in [Reply::new(200, "").announcing(1 << 40), Reply::new(200, long)] {
        let peer = Hostile::answering(move |_| reply.clone()).await;

        let error = registry(&peer).manifest(&tag()).await.unwrap_err();

        assert!(matches!(error, RegistryError::Lied { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_blob_of_another_size_is_a_lie_before_it_is_hashed() {
    let peer = Hostile::answering(|_| Reply::new(200, "four")).await;

    let short = registry(&peer).blob(&Sha256Digest::of(b"four"), 5).await.unwrap_err();
    let long = registry(&peer).blob(&Sha256Digest::of(b"four"), 3).await.unwrap_err();

    assert!(short.to_string().contains("4 bytes"), "{short}");
    assert!(long.to_string().contains("more than the 3 bytes"), "{long}");
    assert_eq!(registry(&peer).blob(&Sha256Digest::of(b"four"), 4).await.unwrap().unwrap(), b"four");
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_outage() {
    let peer = Hostile::answering(|_| Reply::new(200, "{}").announcing(10)).await;

    assert!(matches!(registry(&peer).manifest(&tag()).await, Err(RegistryError::Unreachable { .. })));
}

#[tokio::test]
async fn an_outage_or_a_denial_is_never_absence() {
    for status in [500, 501, 502, 503, 504, 429] {
        let peer = Hostile::answering(move |_| Reply::new(status, "{}")).await;

        let error = registry(&peer).manifest(&tag()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{status}: {error}");
        let error = registry(&peer).referrers(&Sha256Digest::of(b"")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreachable { .. }), "{status}: {error}");
    }
    for status in [401, 403] {
        let peer = Hostile::answering(move |_| Reply::new(status, "{}")).await;

        let error = registry(&peer).manifest(&tag()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{status}: {error}");
        let error = registry(&peer).referrers(&Sha256Digest::of(b"")).await.unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{status}: {error}");
    }
    let gone = TcpPort::closed().await;
    let error = registry_at(&gone.0, CredentialFiles::of(Vec::new())).manifest(&tag()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

/// An address nobody listens at.
struct TcpPort(String);

impl TcpPort {
    async fn closed() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self(listener.local_addr().unwrap().to_string())
    }
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_but_not_for_ever() {
    let count = AtomicU32::new(0);
    let peer = Hostile::answering(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429, "").with("Retry-After", "86400"),
        1 => Reply::new(503, ""),
        _ => Reply::new(200, "{}"),
    })
    .await;

    registry(&peer).manifest(&tag()).await.unwrap().unwrap();

    assert_eq!(peer.seen().len(), 3);
    let busy = Hostile::answering(|_| Reply::new(429, "")).await;
    registry(&busy).manifest(&tag()).await.unwrap_err();
    assert_eq!(busy.seen().len(), 3);
}

#[tokio::test]
async fn basic_credentials_go_to_the_registry_and_not_where_it_redirects() {
    let storage = Hostile::answering(|_| Reply::new(200, "blob")).await;
    let elsewhere = format!("http://{}/stolen?signature=1", storage.host);
    let peer = Hostile::answering(move |seen| match seen.header("authorization") {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::new(307, "").with("Location", &elsewhere),
    })
    .await;
    let (_directory, registry) = known_at(&peer);

    let blob = registry.blob(&Sha256Digest::of(b"blob"), 4).await.unwrap().unwrap();

    assert_eq!(blob, b"blob");
    assert_eq!(peer.seen()[1].header("authorization"), Some("Basic dXNlcjpodW50ZXIy"));
    assert_eq!(storage.seen().len(), 1);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_host_we_were_redirected_to_gets_no_credentials_by_asking_for_them() {
    let thief = Hostile::answering(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"give\"")).await;
    let elsewhere = format!("http://{}/", thief.host);
    let peer = Hostile::answering(move |_| Reply::new(302, "").with("Location", &elsewhere)).await;
    let (_directory, registry) = known_at(&peer);

    let error = registry.manifest(&tag()).await.unwrap_err();

    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    for seen in peer.seen().iter().chain(&thief.seen()) {
        assert_eq!(seen.header("authorization"), None);
    }
}

#[tokio::test]
async fn an_upload_elsewhere_takes_no_credentials_along() {
    let storage = Hostile::answering(|_| Reply::new(201, "")).await;
    let elsewhere = format!("http://{}/upload?state=a", storage.host);
    let peer = Hostile::answering(move |seen| match seen.header("authorization") {
        None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if seen.line.starts_with("HEAD") => Reply::new(404, ""),
        Some(_) => Reply::new(202, "").with("Location", &elsewhere),
    })
    .await;
    let (_directory, registry) = known_at(&peer);

    let digest = registry.put_blob(b"payload").await.unwrap();

    let seen = storage.seen();
    assert_eq!(seen[0].line, format!("PUT /upload?state=a&digest=sha256%3A{}", digest.to_hex()));
    assert_eq!((seen[0].body.as_slice(), seen[0].header("authorization")), (b"payload".as_slice(), None));
}

#[tokio::test]
async fn redirects_into_this_machine_and_without_end_are_not_followed() {
    for target in ["http://169.254.169.254/latest", "ftp://example.com/", "http://u:p@127.0.0.1/", "gopher:x", "/again"]
    {
        let peer = Hostile::answering(move |_| Reply::new(302, "").with("Location", target)).await;

        let error = registry(&peer).manifest(&tag()).await.unwrap_err();

        assert!(matches!(error, RegistryError::Detour { .. }), "{target}: {error}");
        assert!(peer.seen().len() <= 6, "{target}");
    }
    let peer = Hostile::answering(|_| Reply::new(302, "")).await;
    assert!(matches!(registry(&peer).manifest(&tag()).await, Err(RegistryError::Detour { .. })));
}

#[tokio::test]
async fn a_token_is_fetched_from_the_registry_s_own_realm_for_the_rights_we_need() {
    let peer = Hostile::answering(|seen| match seen.header("authorization") {
        _ if seen.line.starts_with("GET /token") => Reply::new(200, r#"{"token": "t0k", "expires_in": 60}"#),
        Some("Bearer t0k") => Reply::new(200, "{}"),
        _ => Reply::new(401, "").with(
            "WWW-Authenticate",
            &format!(
                r#"Bearer realm="http://{}/token",service="s",scope="repository:other:delete""#,
                seen.header("host").unwrap()
            ),
        ),
    })
    .await;
    let (_directory, registry) = known_at(&peer);

    registry.manifest(&tag()).await.unwrap().unwrap();
    registry.manifest(&tag()).await.unwrap().unwrap();

    let lines = peer.lines();
    assert_eq!(lines[1], "GET /token?scope=repository%3Ateam%2Fapp%3Apull%2Cpush&service=s");
    assert_eq!(peer.seen()[1].header("authorization"), Some("Basic dXNlcjpodW50ZXIy"));
    assert_eq!(lines.len(), 4, "the token is used again: {lines:?}");
}

#[tokio::test]
async fn a_token_realm_elsewhere_gets_nothing() {
    let thief = Hostile::answering(|_| Reply::new(200, r#"{"token": "t"}"#)).await;
    let challenge = format!(r#"Bearer realm="http://{}/token""#, thief.host);
    let peer = Hostile::answering(move |_| Reply::new(401, "").with("WWW-Authenticate", &challenge)).await;
    let (_directory, registry) = known_at(&peer);

    let error = registry.manifest(&tag()).await.unwrap_err();

    assert!(matches!(error, RegistryError::Detour { .. }), "{error}");
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn a_token_answer_that_is_none_is_an_error() {
    for body in ["", "[]", r#"{"token": ""}"#, r#"{"token": 1}"#, &"[".repeat(100_000), "{\"token\": \"a\nb\"}"] {
        let body = body.to_owned();
        let peer = Hostile::answering(move |seen| match seen.line.starts_with("GET /token") {
            true => Reply::new(200, body.clone()),
            false => Reply::new(401, "").with("WWW-Authenticate", "Bearer realm=\"/token\""),
        })
        .await;

        assert!(registry(&peer).manifest(&tag()).await.is_err());
    }
}

#[tokio::test]
async fn another_digest_after_the_push_is_a_lie_and_a_moved_tag_is_said() {
    let other = Sha256Digest::of(b"other").to_string();
    let peer = Hostile::answering(move |_| Reply::new(201, "").with("Docker-Content-Digest", &other)).await;
    let put = registry(&peer).put_manifest(&tag(), "a/b", b"{}", &Version::Any).await;
    assert!(matches!(put, Err(RegistryError::Lied { .. })));

    let peer = Hostile::answering(|_| Reply::new(412, "")).await;
    let version = Version::Tagged(HeaderValue::from_static("\"v1\""));
    assert_eq!(registry(&peer).put_manifest(&tag(), "a/b", b"{}", &version).await.unwrap(), Put::Moved);
    assert_eq!(peer.seen()[0].header("if-match"), Some("\"v1\""));
}

#[tokio::test]
async fn referrers_are_read_page_by_page_and_not_without_end() {
    let peer = Hostile::answering(|seen| match seen.line.contains("n=2") {
        false => Reply::new(200, "one").with("Link", "</v2/team/app/referrers/x?n=2>; rel=\"next\""),
        true => Reply::new(200, "two"),
    })
    .await;
    let found = registry(&peer).referrers(&Sha256Digest::of(b"")).await.unwrap();
    assert!(matches!(found, Referrers::Pages { pages, more: false } if pages == [b"one", b"two"]));

    let endless = Hostile::answering(|_| Reply::new(200, "{}").with("Link", "</v2/a>; rel=\"next\"")).await;
    let found = registry(&endless).referrers(&Sha256Digest::of(b"")).await.unwrap();
    assert!(matches!(found, Referrers::Pages { pages, more: true } if pages.len() == 8));
}

#[tokio::test]
async fn the_next_page_is_not_fetched_from_another_host() {
    let other = Hostile::answering(|_| Reply::new(200, "{}")).await;
    let link = format!("<http://{}/>; rel=\"next\"", other.host);
    let peer = Hostile::answering(move |_| Reply::new(200, "{}").with("Link", &link)).await;

    let error = registry(&peer).referrers(&Sha256Digest::of(b"")).await.unwrap_err();

    assert!(matches!(error, RegistryError::Detour { .. }), "{error}");
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn without_the_api_the_fallback_is_named_but_a_later_404_is_an_error() {
    for status in [400, 404, 405, 406] {
        let peer = Hostile::answering(move |_| Reply::new(status, "404 page not found")).await;

        let found = registry(&peer).referrers(&Sha256Digest::of(b"")).await.unwrap();
        assert!(matches!(found, Referrers::NoApi), "{status}");
    }
    let peer = Hostile::answering(|seen| match seen.line.contains("n=2") {
        false => Reply::new(200, "one").with("Link", "</v2/team/app/referrers/x?n=2>; rel=\"next\""),
        true => Reply::new(404, ""),
    })
    .await;
    assert!(registry(&peer).referrers(&Sha256Digest::of(b"")).await.is_err());
}

#[tokio::test]
async fn a_status_that_the_protocol_does_not_have_there_is_an_error_with_the_registry_s_words() {
    let peer = Hostile::answering(|seen| match is_manifest(seen) {
        true => Reply::new(418, r#"{"errors": [{"code": "TEAPOT", "message": "short\u001b[2J and stout"}]}"#),
        false => Reply::new(204, ""),
    })
    .await;

    let error = registry(&peer).manifest(&tag()).await.unwrap_err().to_string();

    assert!(error.contains("TEAPOT") && !error.contains('\u{1b}'), "{error}");
    assert!(registry(&peer).blob(&Sha256Digest::of(b""), 0).await.is_err());
}
