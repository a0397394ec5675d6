//! Somebody whom the owner of a repository lets sign, with a key of openssl.

use std::path::{Path, PathBuf};

use trust_tests::Notary;
use trust_tests::program::{openssl, run};

/// A private key of openssl, and a certificate of it, in files of somebody's home.
fn certified(home: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (key, certificate) = (home.join(format!("{name}.key.pem")), home.join(format!("{name}.crt")));
    let mut command = openssl().unwrap();
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1000"]);
    command.args(["-subj", &format!("/CN={name}"), "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    run(&mut command).unwrap().ok().unwrap();
    (key, certificate)
}

/// Lets a new key sign for a delegation, and gives it to the owner.
pub fn delegated(owner: &Notary, gun: &str, role: &str) {
    let (key, certificate) = certified(owner.home(), &role.replace('/', "-"));
    let (key, certificate) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    owner.run(&["delegation", "add", "--publish", gun, role, certificate, "--all-paths"]).unwrap().ok().unwrap();
    owner.run(&["key", "import", key, "--role", role]).unwrap().ok().unwrap();
}
