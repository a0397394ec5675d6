//! Getting past a registry's door: Basic, or a bearer token from the realm that it names.
//!
//! We ask for the rights that we need, not for those the registry names, and bring credentials to realms of the
//! registry's own domain only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::address::Address;
use super::credential::{Credential, Secret};
use super::error::{RegistryError, said};
use super::exchange::{Ask, Exchange};

const TOKEN_BYTES_MAX: usize = 256 * 1024;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read what is about all repositories.
    Catalog,
    /// Read.
    Pull,
    /// Read and write.
    PullAndPush,
}

impl Access {
    fn scope(self, path: &str) -> String {
        match self {
            Self::Catalog => "registry:catalog:*".to_owned(),
            Self::Pull => format!("repository:{path}:pull"),
            Self::PullAndPush => format!("repository:{path}:pull,push"),
        }
    }
}

/// How the registry wants to be convinced.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The value of `Authorization` that answers the challenge in `headers`.
///
/// # Errors
/// When there is no challenge that we know, the realm is not one we go to, or it refuses.
pub(super) async fn authorize(
    exchange: &Exchange,
    headers: &HeaderMap,
    credential: Option<&Credential>,
    access: Access,
    path: &str,
) -> Result<HeaderValue, RegistryError> {
    let denied = || RegistryError::Denied {
        registry: exchange.address().registry().to_owned(),
        status: StatusCode::UNAUTHORIZED,
        said: ": no credentials for it are known".to_owned(),
    };
    match (challenge(headers).ok_or_else(denied)?, credential) {
        (Challenge::Basic, Some(Credential::Password { user, password })) => {
            basic(user, password.expose()).ok_or_else(denied)
        }
        (Challenge::Basic, _) => Err(denied()),
        (Challenge::Bearer { realm, service }, credential) => {
            let url = realm_url(exchange, &realm)?;
            let ask = token_request(url, service.as_deref(), &access.scope(path), credential);
            let basic = match credential {
                Some(Credential::Password { user, password }) => basic(user, password.expose()),
                _ => None,
            };
            let token = token(exchange, &ask, basic.as_ref()).await?;
            sensitive(&Zeroizing::new(format!("Bearer {}", token.expose()))).ok_or_else(denied)
        }
    }
}

/// `Basic base64(user:password)`.
fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    sensitive(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The first challenge that we can answer: a token where there is a choice.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values: Vec<&str> = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let scheme = |name: &str| {
        values.iter().find_map(|value| {
            let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
            scheme.eq_ignore_ascii_case(name).then_some(rest)
        })
    };
    if let Some(rest) = scheme("bearer") {
        let realm = parameter(rest, "realm")?;
        return Some(Challenge::Bearer { realm, service: parameter(rest, "service") });
    }
    scheme("basic").map(|_| Challenge::Basic)
}

/// The parameter `name` of a challenge: `name="quoted \"text\""` or `name=token` (RFC 9110 §11.2).
fn parameter(mut rest: &str, name: &str) -> Option<String> {
    loop {
        let (key, value) = rest.trim_start_matches([' ', ',', '\t']).split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value.get(..end)?.to_owned(), value.get(end..)?)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// Reads up to the closing quote; the text, and what follows.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((text, quoted.get(at.saturating_add(1)..)?)),
            '\\' => text.push(characters.next()?.1),
            _ => text.push(c),
        }
    }
    None
}

/// The realm, if it is the registry's own.
fn realm_url(exchange: &Exchange, realm: &str) -> Result<Url, RegistryError> {
    let own = exchange.address().base();
    let url = own.join(realm).map_err(|_| exchange.detour(own, "a token realm that is no URL"))?;
    exchange.way(&url)?;
    if !is_own_realm(exchange.address(), &url) {
        return Err(exchange.detour(&url, "a token realm of another domain"));
    }
    Ok(url)
}

/// True for the registry itself, and over https for its parent domain and its siblings: `registry.gitlab.com` sends to
/// `gitlab.com`, `registry-1.docker.io` to `auth.docker.io`.
fn is_own_realm(home: &Address, url: &Url) -> bool {
    if home.is_home(url) {
        return true;
    }
    let (Some(url::Host::Domain(own)), Some(url::Host::Domain(realm))) = (home.base().host(), url.host()) else {
        return false;
    };
    let https = home.base().scheme() == "https" && url.scheme() == "https";
    let parent = |host: &str| host.split_once('.').map(|(_, parent)| parent.to_owned());
    let Some(above) = parent(own).filter(|above| above.contains('.')) else { return false };
    https && (realm == above || parent(realm).as_deref() == Some(above.as_str()))
}

/// GET with the scope (distribution's token protocol), or POST with a refresh token (its OAuth2 form).
fn token_request(url: Url, service: Option<&str>, scope: &str, credential: Option<&Credential>) -> Ask {
    let mut pairs = vec![("scope", scope)];
    pairs.extend(service.map(|service| ("service", service)));
    let Some(Credential::IdentityToken(token)) = credential else {
        let mut url = url;
        url.query_pairs_mut().extend_pairs(pairs);
        return Ask::new(Method::GET, url, TOKEN_BYTES_MAX);
    };
    pairs.extend([("grant_type", "refresh_token"), ("client_id", "trustctl"), ("refresh_token", token.expose())]);
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mut ask = Ask::new(Method::POST, url, TOKEN_BYTES_MAX);
    ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    ask.body = Bytes::from(form);
    ask
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Secret,
    #[serde(default)]
    access_token: Secret,
}

async fn token(exchange: &Exchange, ask: &Ask, basic: Option<&HeaderValue>) -> Result<Secret, RegistryError> {
    let answer = exchange.token(ask, basic).await?;
    if !answer.status.is_success() {
        let registry = exchange.address().registry().to_owned();
        return Err(RegistryError::Denied { registry, status: answer.status, said: said(&answer.body) });
    }
    let body = Zeroizing::new(answer.body);
    let parsed: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|_| exchange.lied("its token realm gives an answer that is not the protocol's".to_owned()))?;
    let token = if parsed.token.expose().is_empty() { parsed.access_token } else { parsed.token };
    if token.expose().is_empty() {
        return Err(exchange.lied("its token realm gives no token".to_owned()));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::super::address::PlainHttp;
    use super::*;

    fn read(values: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(value));
        }
        challenge(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push""#;
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };

        assert_eq!(read(&[hub]), bearer("https://auth.docker.io/token", Some("registry.docker.io")));
        assert_eq!(read(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(read(&["Basic realm=\"x\"", "bearer realm=/t"]), bearer("/t", None));
        assert_eq!(read(&[r#"Bearer service="a\"b, realm=c", realm="d""#]), bearer("d", Some("a\"b, realm=c")));
        for broken in ["", "Negotiate", "Bearer", "Bearer realm", "Bearer realm=\"never closed", "Bearer service=x"] {
            assert_eq!(read(&[broken]), None, "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_makes_us_panic(rest in "[a-z=\",\\\\ é]{0,64}") {
            let _ = parameter(&rest, "realm");
        }
    }

    #[test]
    fn credentials_go_to_realms_of_the_registry_s_own_domain() {
        let own = |registry: &str, realm: &str| {
            is_own_realm(&Address::of(registry, PlainHttp::LoopbackOnly).unwrap(), &Url::parse(realm).unwrap())
        };

        assert!(own("docker.io", "https://auth.docker.io/token"));
        assert!(own("registry.gitlab.com", "https://gitlab.com/jwt/auth"));
        assert!(own("registry.example.com", "https://registry.example.com/token"));
        assert!(own("localhost:5000", "http://localhost:5000/token"));
        assert!(!own("registry.example.com", "http://registry.example.com/token"));
        assert!(!own("registry.example.com", "https://auth.example.org/token"));
        assert!(!own("ghcr.io", "https://evil.io/token"));
        assert!(!own("ghcr.io", "https://io/token"));
        assert!(!own("localhost:5000", "http://localhost:5001/token"));
        assert!(!own("10.0.0.1:5000", "https://10.0.0.2/token"));
    }

    #[test]
    fn a_refresh_token_goes_into_the_body_and_never_into_the_url() {
        let credential = Credential::IdentityToken(Secret::new("s3cret".to_owned()));

        let ask = token_request(Url::parse("https://r/t").unwrap(), Some("r"), "repository:a:pull", Some(&credential));

        assert_eq!(ask.url.as_str(), "https://r/t");
        assert!(ask.body.windows(6).any(|window| window == b"s3cret"));
    }
}
