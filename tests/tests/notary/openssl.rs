//! Keys of kinds that the daemon makes none of, with openssl for a hand.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use trust_tests::program::{self, run};

use super::workshop::{base64, canonical_of, entry, id_of};

/// A key in a file.
pub struct OpensslKey {
    pub id: String,
    pub entry: Value,
    path: PathBuf,
    /// None for RSA.
    coordinate_bytes: Option<usize>,
}

impl OpensslKey {
    pub fn rsa(directory: &Path, bits: u32) -> Self {
        let path = directory.join(format!("rsa-{bits}.pem"));
        Self::made(path, &["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], None)
    }

    pub fn p224(directory: &Path) -> Self {
        let path = directory.join("p224.pem");
        Self::made(path, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"], Some(28))
    }

    pub fn p384(directory: &Path) -> Self {
        let path = directory.join("p384.pem");
        Self::made(path, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], Some(48))
    }

    fn made(path: PathBuf, arguments: &[&str], coordinate_bytes: Option<usize>) -> Self {
        openssl(program::openssl().unwrap().arg("genpkey").args(arguments).arg("-out").arg(&path));
        let public = path.with_extension("der");
        let mut command = program::openssl().unwrap();
        openssl(command.args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&path).arg("-out").arg(&public));
        let kind = if coordinate_bytes.is_none() { "rsa" } else { "ecdsa" };
        let entry = entry(kind, &std::fs::read(public).unwrap());
        Self { id: id_of(&entry), entry, path, coordinate_bytes }
    }

    /// A line of a file's signatures, over SHA-256.
    pub fn sign(&self, signed: &Value) -> Value {
        let (input, output) = (self.path.with_extension("input"), self.path.with_extension("signature"));
        std::fs::write(&input, canonical_of(signed)).unwrap();
        let mut command = program::openssl().unwrap();
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.path).arg("-out").arg(&output);
        if self.coordinate_bytes.is_none() {
            command.args(["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]);
        }
        openssl(command.arg(&input));
        let signature = std::fs::read(output).unwrap();
        match self.coordinate_bytes {
            None => json!({"keyid": self.id, "method": "rsapss", "sig": base64(&signature)}),
            Some(bytes) => json!({"keyid": self.id, "method": "ecdsa", "sig": base64(&fixed(&signature, bytes))}),
        }
    }
}

fn openssl(command: &mut Command) {
    run(command).unwrap().ok().unwrap();
}

/// Two numbers of `bytes` each, from a DER sequence of them that is shorter than 128 bytes.
fn fixed(der: &[u8], bytes: usize) -> Vec<u8> {
    assert_eq!(der[0], 0x30);
    let mut rest = &der[2..];
    let mut both = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(bytes)..];
        both.resize(both.len() + bytes - number.len(), 0);
        both.extend_from_slice(number);
        rest = after;
    }
    both
}
