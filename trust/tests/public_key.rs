//! Public keys in the encodings of other programs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use trust::{Algorithm, PublicKey};

/// Makes a key with openssl and returns the PEM of its public half.
fn openssl_public_key(arguments: &[&str]) -> String {
    let private = Command::new("openssl").args(["genpkey"]).args(arguments).stderr(Stdio::null()).output();
    let private = private.expect("openssl is missing: apt-get install openssl").stdout;
    let mut public =
        Command::new("openssl").args(["pkey", "-pubout"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    public.stdin.take().unwrap().write_all(&private).unwrap();
    String::from_utf8(public.wait_with_output().unwrap().stdout).unwrap()
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA3072: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"];

#[test]
fn openssl_keys_are_read_and_written_to_the_byte() {
    for (arguments, algorithm) in [
        (&P256[..], Algorithm::EcdsaP256Sha256),
        (&P384[..], Algorithm::EcdsaP384Sha256),
        (&["-algorithm", "ED25519"][..], Algorithm::Ed25519),
        (&RSA3072[..], Algorithm::Rsa3072Pkcs1Sha256),
    ] {
        let pem = openssl_public_key(arguments);

        let key = PublicKey::from_pem(&pem).unwrap();

        assert_eq!(key.algorithm(), algorithm);
        assert_eq!(key.to_pem(), pem);
    }
}

#[test]
fn ssh_keygen_reads_what_we_write() {
    let directory = std::env::temp_dir().join(format!("trust-openssh-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (index, arguments) in [&P256[..], &P384, &["-algorithm", "ED25519"], &RSA3072].into_iter().enumerate() {
        let pem = openssl_public_key(arguments);
        let key = PublicKey::from_pem(&pem).unwrap();
        let line = directory.join(format!("{index}.pub"));
        std::fs::write(&line, format!("{}\n", key.to_openssh())).unwrap();

        let converted = Command::new("ssh-keygen").args(["-e", "-m", "PKCS8", "-f"]).arg(&line).output();

        let converted = converted.expect("ssh-keygen is missing: apt-get install openssh-client").stdout;
        if index != 2 {
            assert_eq!(String::from_utf8(converted).unwrap(), pem);
        } else {
            // ssh-keygen has no PKCS8 form of Ed25519; its fingerprint shows that it read the line.
            let fingerprint = Command::new("ssh-keygen").args(["-l", "-f"]).arg(&line).output().unwrap();
            assert!(fingerprint.status.success());
        }
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

/// RFC 8037 §A.2 and §A.3.
#[test]
fn the_thumbprint_of_rfc_8037_comes_out() {
    let bytes = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();

    let key = PublicKey::from_ed25519_bytes(bytes.as_slice().try_into().unwrap()).unwrap();

    assert_eq!(
        key.to_jwk(),
        r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig"}"#
    );
}

#[test]
fn a_key_is_never_read_as_one_of_another_algorithm() {
    let key = PublicKey::from_pem(&openssl_public_key(&P256)).unwrap();
    for algorithm in Algorithm::ALL {
        let read = PublicKey::from_spki_der(algorithm, key.spki_der());
        assert_eq!(read.is_ok(), algorithm == Algorithm::EcdsaP256Sha256, "{algorithm}");
    }
}

#[test]
fn weak_short_and_oddly_encoded_keys_are_refused() {
    let short_rsa = openssl_public_key(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let odd_exponent = openssl_public_key(&[&RSA3072[..], &["-pkeyopt", "rsa_keygen_pubexp:3"]].concat());
    let secp256k1 = openssl_public_key(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]);
    for pem in [&short_rsa, &odd_exponent, &secp256k1] {
        assert!(PublicKey::from_pem(pem).is_err(), "{pem}");
    }

    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(PublicKey::from_ed25519_bytes(&identity).is_err(), "small order");
    assert!(PublicKey::from_ed25519_bytes(&[0xff; 32]).is_err(), "not canonical");

    let good = PublicKey::from_pem(&openssl_public_key(&P256)).unwrap();
    let mut trailing = good.spki_der().to_vec();
    trailing.push(0);
    assert!(PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &trailing).is_err(), "trailing byte");
    let mut off_curve = good.spki_der().to_vec();
    *off_curve.last_mut().unwrap() ^= 1;
    assert!(PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &off_curve).is_err(), "off the curve");
    let two = format!("{}{}", good.to_pem(), good.to_pem());
    assert!(PublicKey::from_pem(&two).is_err(), "two blocks");
    assert!(PublicKey::from_pem(&" ".repeat(1 << 20)).is_err(), "oversize");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_parsers_panic(der in proptest::collection::vec(any::<u8>(), 0..600), text in ".{0,300}") {
        for algorithm in Algorithm::ALL {
            let _ = PublicKey::from_spki_der(algorithm, &der);
        }
        let _ = PublicKey::from_pem(&text);
    }

    #[test]
    fn a_key_with_any_flipped_bit_is_refused(position in 0usize..91, bit in 0u8..8) {
        let mut der = hex::decode(concat!(
            "3059301306072a8648ce3d020106082a8648ce3d0301070342000404aaec73635726f213fb8a9e64da3b8632e41495a944d0045b522eba",
            "7240fad587d9315798aaa3a5ba01775787ced05eaaf7b4e09fc81d6d1aa546e8365d525d"
        )).unwrap();
        prop_assert!(PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &der).is_ok());
        der[position] ^= 1 << bit;
        let changed = PublicKey::from_spki_der(Algorithm::EcdsaP256Sha256, &der);
        prop_assert!(changed.is_err());
    }
}
