//! Tokens, as registries hand them out.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use super::NOT_FOUND;
use super::scene::{Plan, Scene};

/// An issuer of tokens, as registries have one.
struct TokenIssuer {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl TokenIssuer {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "token issuer");
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// A token that is good until the year 2096.
    fn token(&self, account: &str, access: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": "auth", "sub": account, "aud": "notary-server", "exp": 3_976_214_400_u64, "nbf": 0, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

pub(crate) const REALM: &str = "https://auth.example.com/token";

fn token_plan() -> Plan {
    Plan {
        notary: "auth = \"token\"\n".to_owned(),
        tables: format!(
            "[notary.token]\nrealm = \"{REALM}\"\nservice = \"notary-server\"\nissuer = \"auth\"\n\
             rootcertbundle = \"DIRECTORY/tokens.pem\"\n"
        ),
        policy: "permit (principal is RegistryAccount, action, resource) when { principal.account == \"carol\" };\n\
                 permit (principal is Anonymous, action == Action::\"read-trust\", resource);\n"
            .to_owned(),
    }
}

#[test]
fn a_client_is_sent_for_a_token_and_let_in_with_it() {
    let issuer = TokenIssuer::new();
    let mut scene = Scene::new(&token_plan());
    std::fs::write(scene.directory.path().join("tokens.pem"), issuer.certificate.pem()).unwrap();
    scene.start();
    let gun = "localhost:5001/tok/app";
    let grants = |actions: &[&str]| json!([{"type": "repository", "name": gun, "actions": actions}]);
    let with = |line: &str, token: &str| scene.ask_with(line, &format!("authorization: Bearer {token}\r\n"), b"");
    let challenge = |scope: &str, error: &str| {
        let error = if error.is_empty() { String::new() } else { format!(",error=\"{error}\"") };
        format!("Bearer realm=\"{REALM}\",service=\"notary-server\",scope=\"{scope}\"{error}")
    };

    let ping = scene.ask("GET /v2/");
    assert_eq!(ping.status, 401);
    assert_eq!(ping.header("www-authenticate"), Some(challenge("registry:catalog:*", "").as_str()));
    assert_eq!(
        ping.text(),
        "{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"authentication required\",\"detail\":\
         [{\"Type\":\"registry\",\"Class\":\"\",\"Name\":\"catalog\",\"Action\":\"*\"}]}]}\n"
    );
    assert_eq!(scene.ask("GET /elsewhere").status, 401);
    assert_eq!(scene.ask("GET /_notary_server/health").status, 200);

    let root = format!("GET /v2/{gun}/_trust/tuf/root.json");
    let key = format!("GET /v2/{gun}/_trust/tuf/timestamp.key");
    let pull = issuer.token("", &grants(&["pull"]));
    let answer = with(&root, &pull);
    assert_eq!((answer.status, answer.error()), (404, (NOT_FOUND.to_owned(), "{}".to_owned())));
    let answer = with(&key, &pull);
    assert_eq!(answer.status, 401);
    let expected = challenge(&format!("repository:{gun}:pull,push"), "insufficient_scope");
    assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()));
    let actions: Vec<&str> = ["push", "pull"]
        .into_iter()
        .filter(|action| answer.text().contains(&format!("\"Action\":\"{action}\"")))
        .collect();
    assert_eq!(actions, ["push", "pull"]);

    // The token grants it; the policy has its own mind.
    let (carol, dave) = (issuer.token("carol", &grants(&["push", "pull"])), issuer.token("dave", &grants(&["*"])));
    assert_eq!(with(&key, &dave).status, 403);
    let answer = with(&format!("DELETE /v2/{gun}/_trust/tuf/"), &carol);
    assert_eq!(
        answer.header("www-authenticate"),
        Some(challenge(&format!("repository:{gun}:*"), "insufficient_scope").as_str())
    );

    let stranger = TokenIssuer::new().token("carol", &grants(&["*"]));
    assert_eq!(with(&key, "").status, 401);
    for bad in [stranger.as_str(), "a.b.c", &carol[..carol.len() - 4]] {
        let answer = with(&key, bad);
        assert_eq!(answer.status, 401, "{bad}");
        let said = answer.header("www-authenticate").unwrap();
        assert!(said.ends_with(",error=\"invalid_token\""), "{said}");
    }
}

#[test]
fn the_issuers_certificates_are_followed() {
    let (old, new) = (TokenIssuer::new(), TokenIssuer::new());
    let mut scene = Scene::new(&token_plan());
    let bundle = scene.directory.path().join("tokens.pem");
    std::fs::write(&bundle, old.certificate.pem()).unwrap();
    scene.start();
    let status = |issuer: &TokenIssuer| {
        let token = issuer.token("carol", &json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]));
        scene.ask_with("GET /v2/", &format!("authorization: Bearer {token}\r\n"), b"").status
    };
    assert_eq!((status(&old), status(&new)), (200, 401));

    let next = bundle.with_extension("new");
    std::fs::write(&next, new.certificate.pem()).unwrap();
    std::fs::rename(&next, &bundle).unwrap();

    let limit = std::time::Duration::from_secs(30);
    trust_tests::wait::until("the new issuer", limit, || Ok((status(&new) == 200).then_some(()))).unwrap();
    assert_eq!(status(&old), 401);
}
