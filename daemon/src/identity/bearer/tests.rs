use std::path::PathBuf;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// 2026-06-01.
const NOW: u64 = 1_780_272_000;

/// A key with a certificate, and what signs tokens with it.
struct Signer {
    certificate: rcgen::Certificate,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Signer {
    fn with(key: KeyPair, params: CertificateParams) -> Self {
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, params, key }
    }

    fn new(kind: &'static SignatureAlgorithm) -> Self {
        Self::with(KeyPair::generate_for(kind).unwrap(), params("token issuer"))
    }

    fn authority() -> Self {
        let mut params = params("token authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self::with(KeyPair::generate().unwrap(), params)
    }

    /// A certificate of this authority, for a key of its own.
    fn below(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params("token issuer");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        Self { certificate: params.signed_by(&key, &issuer).unwrap(), params, key }
    }

    fn der(&self) -> String {
        STANDARD.encode(self.certificate.der())
    }

    fn ecdsa(&self, algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        let key = EcdsaKeyPair::from_pkcs8(algorithm, &self.key.serialize_der()).unwrap();
        key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

/// A bundle on disk, and its reader.
struct Scene {
    _directory: TempDir,
    path: PathBuf,
    bearer: Bearer,
}

impl Scene {
    fn of(certificates: &[&Signer]) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("bundle.pem");
        write(&path, certificates);
        let config = BearerConfig {
            realm: "https://auth.example.com/token".to_owned(),
            service: "notary".to_owned(),
            issuer: "auth".to_owned(),
            rootcertbundle: path.clone(),
        };
        Self { bearer: Bearer::load(&config).unwrap(), _directory: directory, path }
    }

    fn read(&self, token: &str) -> Result<Grant, String> {
        self.bearer.read(token, NOW).map_err(|refusal| refusal.to_string())
    }
}

fn write(path: &std::path::Path, certificates: &[&Signer]) {
    let text: String = certificates.iter().map(|signer| signer.certificate.pem()).collect();
    std::fs::write(path, text).unwrap();
}

fn claims() -> Value {
    json!({
        "iss": "auth", "sub": "alice", "aud": "notary", "exp": NOW + 300, "nbf": NOW - 10, "iat": NOW, "jti": "1",
        "access": [{"type": "repository", "name": "r.example/a", "actions": ["pull", "push"]}],
    })
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", text(header), text(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn es256(signer: &Signer, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [signer.der()]});
    token(&header, claims, |message| signer.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, message))
}

fn changed(member: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[member] = value;
    claims
}

#[test]
fn a_token_says_who_it_is_for_and_what_it_grants() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);

    let grant = scene.read(&es256(&signer, &claims())).unwrap();

    assert_eq!(grant.account.as_ref().map(ToString::to_string).as_deref(), Some("account:alice@auth"));
    for (kind, name, action, expected) in [
        ("repository", "r.example/a", "pull", true),
        ("repository", "r.example/a", "push", true),
        ("repository", "r.example/a", "*", false),
        ("repository", "r.example/ab", "pull", false),
        ("registry", "r.example/a", "pull", false),
        ("registry", "catalog", "*", false),
    ] {
        assert_eq!(grant.covers(kind, name, action), expected, "{kind} {name} {action}");
    }
    let all = changed("access", json!([{"type": "repository", "name": "a", "actions": ["*"]}]));
    let grant = scene.read(&es256(&signer, &all)).unwrap();
    assert!(grant.covers("repository", "a", "push") && grant.covers("repository", "a", "*"));
    assert!(scene.read(&es256(&signer, &changed("access", Value::Null))).is_ok());
    let nothing = changed("access", json!([{"type": "repository", "name": "a", "actions": null}]));
    assert!(!scene.read(&es256(&signer, &nothing)).unwrap().covers("repository", "a", "pull"));
}

#[test]
fn a_token_that_is_too_long_or_grants_too_much_is_not_taken() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);
    let granting = |entries: usize, actions: usize| {
        let entry = json!({"type": "repository", "name": "a", "actions": vec!["pull"; actions]});
        scene.read(&es256(&signer, &changed("access", json!(vec![entry; entries])))).map(|_| ())
    };
    let saying = |letters: usize| scene.read(&es256(&signer, &changed("jti", json!("x".repeat(letters))))).map(|_| ());

    assert_eq!((granting(128, 1), granting(1, 256), saying(8 * 1024)), (Ok(()), Ok(()), Ok(())));
    assert!(granting(1, 257).unwrap_err().contains("too much at once"));
    assert!(saying(16 * 1024).unwrap_err().contains("16 KiB"));
}

#[test]
fn a_token_for_nobody_names_no_account() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);

    for nobody in [json!(""), Value::Null] {
        assert!(scene.read(&es256(&signer, &changed("sub", nobody))).unwrap().account.is_none());
    }
    for bad in ["a b", "a\nb", "\u{e9}", "a@b@c d"] {
        assert!(scene.read(&es256(&signer, &changed("sub", json!(bad)))).unwrap_err().contains("printable"), "{bad}");
    }
}

#[test]
fn what_the_claims_say_of_issuer_service_and_time_is_held() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);
    let says = |claims: &Value| scene.read(&es256(&signer, claims)).map(|_| ()).unwrap_or_else(|why| panic!("{why}"));

    says(&changed("aud", json!(["other", "notary"])));
    // A minute of skew on either side, and no more.
    says(&changed("exp", json!(NOW - 59)));
    says(&changed("nbf", json!(NOW + 60)));
    let mut without = claims();
    without.as_object_mut().unwrap().remove("nbf");
    says(&without);
    for (member, value, why) in [
        ("iss", json!("other"), "another issuer's"),
        ("aud", json!("other"), "for another service"),
        ("aud", json!([]), "for another service"),
        ("exp", json!(NOW - 60), "expired"),
        ("nbf", json!(NOW + 61), "not valid yet"),
        ("exp", json!("soon"), "its claims"),
        ("exp", json!(1.0e300), "its claims"),
        ("access", json!([{"type": "repository"}]), "its claims"),
    ] {
        let refused = scene.read(&es256(&signer, &changed(member, value.clone()))).map(|_| ()).unwrap_err();
        assert!(refused.contains(why), "{member} {value}: {refused}");
    }
    let mut forever = claims();
    forever.as_object_mut().unwrap().remove("exp");
    assert!(scene.read(&es256(&signer, &forever)).unwrap_err().contains("its claims"));
}

#[test]
fn each_algorithm_of_the_table_is_taken_from_its_own_keys_only() {
    let p256 = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let p384 = Signer::new(&PKCS_ECDSA_P384_SHA384);
    let rsa = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = PrivatePkcs8KeyDer::from(rsa.as_der().unwrap().as_ref().to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256).unwrap();
    let certified = Signer::with(key, params("rsa issuer"));
    let scene = Scene::of(&[&p256, &p384, &certified]);
    let by_rsa = |padding: &'static dyn RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let of = |signer: &Signer, algorithm: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = json!({"alg": algorithm, "x5c": [signer.der()]});
        scene.read(&token(&header, &claims(), sign)).map(|_| ())
    };

    assert_eq!(of(&p256, "ES256", &|m| p256.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, m)), Ok(()));
    assert_eq!(of(&p384, "ES384", &|m| p384.ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, m)), Ok(()));
    assert_eq!(of(&certified, "RS256", &|m| by_rsa(&RSA_PKCS1_SHA256, m)), Ok(()));
    assert_eq!(of(&certified, "RS512", &|m| by_rsa(&RSA_PKCS1_SHA512, m)), Ok(()));
    assert_eq!(of(&certified, "PS256", &|m| by_rsa(&RSA_PSS_SHA256, m)), Ok(()));

    for name in ["none", "None", "NONE", "", "HS256", "EdDSA", "es256", "ES256K"] {
        let refused = of(&p256, name, &|m| p256.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, m)).unwrap_err();
        assert!(refused.contains("algorithm"), "{name}: {refused}");
    }
    // A MAC under the public key, and a key that is another algorithm's.
    assert!(
        of(&p384, "ES256", &|m| p384.ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, m)).unwrap_err().contains("algorithm")
    );
    assert!(of(&p256, "RS256", &|m| by_rsa(&RSA_PKCS1_SHA256, m)).unwrap_err().contains("algorithm"));
    assert!(of(&certified, "RS384", &|m| by_rsa(&RSA_PKCS1_SHA256, m)).unwrap_err().contains("signature"));
    assert!(of(&certified, "RS256", &|_| Vec::new()).unwrap_err().contains("signature"));
}

#[test]
fn a_key_is_believed_by_the_bundle_only() {
    let (signer, stranger) = (Signer::new(&PKCS_ECDSA_P256_SHA256), Signer::new(&PKCS_ECDSA_P256_SHA256));
    let authority = Signer::authority();
    let below = authority.below(|_| {});
    let expired = authority.below(|params| params.not_after = date_time_ymd(2026, 5, 1));
    let scene = Scene::of(&[&signer, &authority]);
    let with = |header: &Value, by: &Signer| {
        let sign = |message: &[u8]| by.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, message);
        scene.read(&token(header, &claims(), sign)).map(|_| ())
    };
    let chain = |chain: &[&Signer]| {
        let chain: Vec<String> = chain.iter().map(|signer| signer.der()).collect();
        json!({"alg": "ES256", "x5c": chain})
    };

    assert_eq!(with(&chain(&[&below]), &below), Ok(()));
    assert_eq!(with(&chain(&[&below, &authority]), &below), Ok(()));
    assert_eq!(with(&chain(&[&authority]), &authority), Ok(()));
    assert!(with(&chain(&[&stranger]), &stranger).unwrap_err().contains("leads to no certificate"));
    assert!(with(&chain(&[&stranger, &signer]), &stranger).unwrap_err().contains("leads to no certificate"));
    assert!(with(&chain(&[&expired]), &expired).unwrap_err().contains("leads to no certificate"));
    // A certificate of the bundle in the header, and somebody else's signature.
    assert!(with(&chain(&[&signer]), &stranger).unwrap_err().contains("signature"));
    assert!(with(&chain(&[]), &signer).unwrap_err().contains("cannot be read"));
    assert!(with(&chain(&[&below; 9]), &below).unwrap_err().contains("cannot be read"));
    // A verifier would try every order of them.
    assert!(with(&chain(&[&below, &authority, &authority]), &below).unwrap_err().contains("one subject"));
    for header in [json!({"alg": "ES256", "x5c": ["!"]}), json!({"alg": "ES256", "x5c": ["AAAA"]})] {
        assert!(with(&header, &signer).unwrap_err().contains("cannot be read"), "{header}");
    }
    assert!(with(&json!({"alg": "ES256"}), &signer).unwrap_err().contains("does not name its key"));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let header = json!({"alg": "ES256", "jwk": jwk, "jku": "https://evil.example/"});
    assert!(with(&header, &stranger).unwrap_err().contains("does not name its key"));
    let header = json!({"alg": "ES256", "x5c": [signer.der()], "crit": ["exp"]});
    assert!(with(&header, &signer).unwrap_err().contains("crit"));
    let twice = r#"{"alg":"none","alg":"ES256","kid":"x"}"#;
    let text = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(twice), URL_SAFE_NO_PAD.encode(claims().to_string()));
    assert!(scene.read(&text).unwrap_err().contains("its header"));
}

#[test]
fn a_key_may_be_named_as_libtrust_names_it() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);
    let name = bundle::name_of(&rcgen::PublicKeyData::subject_public_key_info(&signer.key));
    let named = |name: &str| {
        let header = json!({"alg": "ES256", "kid": name});
        scene.read(&token(&header, &claims(), |m| signer.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, m))).map(|_| ())
    };

    // The issuer of docker's registry writes the name into the key that it sends along.
    let stranger = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let sent_along = |name: &str, by: &Signer| {
        let header = json!({"alg": "ES256", "jwk": {"kty": "EC", "crv": "P-256", "kid": name, "x": "AA", "y": "AA"}});
        scene.read(&token(&header, &claims(), |m| by.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, m))).map(|_| ())
    };

    assert_eq!(named(&name), Ok(()));
    assert_eq!(sent_along(&name, &signer), Ok(()));
    assert!(sent_along(&name, &stranger).unwrap_err().contains("signature"), "the key in the token counts for nothing");
    let other = bundle::name_of(&rcgen::PublicKeyData::subject_public_key_info(&stranger.key));
    assert!(sent_along(&other, &stranger).unwrap_err().contains("no certificate of the bundle"));
    assert!(named(&name.to_lowercase()).unwrap_err().contains("no certificate of the bundle"));
    assert!(named("").unwrap_err().contains("no certificate of the bundle"));
}

#[test]
fn every_letter_of_a_token_counts() {
    let signer = Signer::new(&PKCS_ECDSA_P256_SHA256);
    let scene = Scene::of(&[&signer]);
    let whole = es256(&signer, &claims());
    assert!(scene.read(&whole).is_ok());

    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(scene.read(&changed).is_err(), "{at}");
        assert!(scene.read(&whole[..at]).is_err(), "{at}");
    }
    assert!(scene.read(&"a.".repeat(9000)).is_err());
    assert!(scene.read(&format!("{whole}.{whole}")).is_err());
}

#[test]
fn the_file_is_followed_and_a_broken_one_leaves_the_old_in_force() {
    let (old, new) = (Signer::new(&PKCS_ECDSA_P256_SHA256), Signer::new(&PKCS_ECDSA_P256_SHA256));
    let scene = Scene::of(&[&old]);
    let is_believed = |signer: &Signer| scene.read(&es256(signer, &claims())).is_ok();
    assert!(is_believed(&old) && !is_believed(&new));

    // Another file in its place, as configuration tools write.
    let next = scene.path.with_extension("new");
    write(&next, &[&new]);
    std::fs::rename(&next, &scene.path).unwrap();
    scene.bearer.follow(NOW);
    assert!(!is_believed(&old) && is_believed(&new));

    std::fs::write(&scene.path, "nothing\n").unwrap();
    scene.bearer.follow(NOW + 5);
    assert!(is_believed(&new));
    assert!(scene.bearer.reload().is_err());

    write(&scene.path, &[&old, &new]);
    scene.bearer.follow(NOW + 10);
    assert!(is_believed(&old) && is_believed(&new));
}

#[test]
fn a_bundle_holds_keys_that_may_sign_tokens() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bundle.pem");
    let fault = |signers: &[&Signer]| {
        write(&path, signers);
        Bundle::read(&path).map(|_| ()).unwrap_err().to_string()
    };

    let edwards = Signer::new(&PKCS_ED25519);
    assert!(fault(&[&edwards]).contains("neither RSA nor NIST's"));
    assert!(fault(&[]).contains("no PEM certificate"));
    let one = Signer::new(&PKCS_ECDSA_P256_SHA256);
    assert!(fault(&vec![&one; 65]).contains("65 certificates, expected at most 64"));
}
