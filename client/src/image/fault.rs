//! What a registry's faults mean for who called us.

use crate::failure::Failure;
use crate::registry::RegistryError;

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let what = error.to_string();
        let failure = match error {
            RegistryError::Unreachable { registry, why } if why.contains("certificate") => Self::unreachable(
                what,
                format!("if its CA is your own: put the CA's certificate into /etc/docker/certs.d/{registry}/ca.crt"),
            ),
            RegistryError::Unreachable { .. } => Self::unreachable(
                what,
                "nothing is known about the image until it answers: try again; --plain-http if it has no TLS",
            ),
            RegistryError::Denied { registry, .. } => {
                Self::other(what, format!("log in with an account that may: docker login {registry}"))
            }
            RegistryError::Credentials { .. } => {
                Self::other(what, "repair the file or helper; `docker login` writes a new one")
            }
            RegistryError::Detour { .. } | RegistryError::Lied { .. } => Self::refused(
                what,
                "the registry, or something between here and there, cannot be trusted; tell who runs it",
            ),
            RegistryError::Raced { .. } => Self::other(what, "try again when the others are done"),
            RegistryError::Refused { .. } => Self::other(what, "does it speak the OCI distribution protocol?"),
        };
        failure.of_registry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_exits_with_3_a_lie_with_1_and_a_denial_with_neither() {
        let registry = || "r.example.com".to_owned();
        let code = |error: RegistryError| Failure::from(error).exit().code();

        assert_eq!(code(RegistryError::Unreachable { registry: registry(), why: String::new() }), 3);
        assert_eq!(code(RegistryError::Lied { registry: registry(), why: String::new() }), 1);
        let status = reqwest::StatusCode::UNAUTHORIZED;
        assert_eq!(code(RegistryError::Denied { registry: registry(), status, said: String::new() }), 4);
    }
}
