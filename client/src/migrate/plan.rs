//! What a key of docker's is to be here: its name, what it is for, and for which repositories.

use std::collections::BTreeSet;

use trust::{Gun, KeyName, Purpose, Scope, Sha256Digest};

use super::keys::directory::Listed;
use super::keys::docker_key::DockerKey;
use crate::failure::Failure;

/// How much of a key's own name, or of the hash of a repository's, is in the name that it gets.
const SHORT: usize = 8;
const GUN_SHORT: usize = 16;

/// What a key is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: KeyName,
    pub(super) purpose: Purpose,
    /// At least one.
    pub(super) repositories: Vec<Gun>,
}

impl Plan {
    /// By what the file says, what the directory's metadata lists, and the repositories that the call names.
    ///
    /// # Errors
    /// Where it is not known which repositories it is for, or there are more than one key may have.
    pub(super) fn of(key: &DockerKey, listed: &Listed, named: &[Gun]) -> Result<Self, Failure> {
        let purpose = key.purpose();
        let by = match purpose {
            Purpose::Root => listed.roots.get(&key.id),
            Purpose::Delegation => listed.delegates.get(&key.id),
            _ => None,
        };
        let known: BTreeSet<Gun> = key.gun.iter().chain(by.into_iter().flatten()).cloned().collect();
        let repositories = if purpose == Purpose::Root { every(known, named)? } else { only(&known, named)? };
        let of_one = repositories.first().filter(|_| purpose != Purpose::Root);
        Ok(Self { name: name(&key.role, of_one, &key.id)?, purpose, repositories })
    }

    /// Of a key of the original signer, which keeps them for two roles.
    ///
    /// # Errors
    /// For any other role.
    pub(super) fn of_signer(role: &str, gun: &Gun, id: &str) -> Result<Self, Failure> {
        let purpose = match role {
            "snapshot" => Purpose::Snapshot,
            "timestamp" => Purpose::Timestamp,
            _ => {
                return Err(Failure::refused(
                    "no server has a signer's key for that role",
                    "somebody else has used the signer: trustctl key import NAME --purpose PURPOSE --file FILE",
                ));
            }
        };
        Ok(Self { name: name(role, Some(gun), id)?, purpose, repositories: vec![gun.clone()] })
    }

    /// The scope in words.
    pub(super) fn scope(&self) -> Vec<String> {
        self.repositories.iter().map(Gun::to_string).collect()
    }
}

/// A root key is for all that list it.
fn every(mut known: BTreeSet<Gun>, named: &[Gun]) -> Result<Vec<Gun>, Failure> {
    known.extend(named.iter().cloned());
    match known.len() {
        0 => Err(unknown()),
        1..=Scope::PATTERNS_MAX => Ok(known.into_iter().collect()),
        more => Err(Failure::refused(
            format!("{more} repositories list it, and a root key here is for {} at most", Scope::PATTERNS_MAX),
            "choose some: trustctl key import NAME --purpose root --scope REPOSITORY … --file FILE",
        )),
    }
}

/// Any other key is for one.
fn only(known: &BTreeSet<Gun>, named: &[Gun]) -> Result<Vec<Gun>, Failure> {
    let chosen: BTreeSet<Gun> = named.iter().filter(|gun| known.is_empty() || known.contains(gun)).cloned().collect();
    let of = if chosen.is_empty() || known.len() == 1 { known } else { &chosen };
    match of.len() {
        0 => Err(unknown()),
        1 => Ok(of.iter().cloned().collect()),
        _ => {
            let names: Vec<&str> = of.iter().map(Gun::as_str).collect();
            Err(Failure::refused(
                format!("it is for several repositories, and a key here is for one: {}", names.join(", ")),
                "choose one: --repository REPOSITORY",
            ))
        }
    }
}

fn unknown() -> Failure {
    Failure::usage(
        "which repository it is for stands neither in the file nor in metadata beside it",
        "say it: --repository REPOSITORY",
    )
}

/// `notary/REPOSITORY/ROLE-ID`, as far as names of keys go; a repository whose name is too long gets a short one.
fn name(role: &str, gun: Option<&Gun>, id: &str) -> Result<KeyName, Failure> {
    let short = id.get(..SHORT).unwrap_or(id);
    let last = plain(&format!("{}-{short}", role.replace('/', "-")));
    let Some(gun) = gun else { return Ok(format!("notary/{last}").parse()?) };
    let whole = format!("notary/{}/{last}", plain(gun.as_str())).parse::<KeyName>();
    let hash = Sha256Digest::of(gun.as_str().as_bytes()).to_hex();
    let hash = hash.get(..GUN_SHORT).unwrap_or_default();
    Ok(whole.or_else(|_| format!("notary/{hash}/{last}").parse())?)
}

/// The same in letters that names of keys have.
fn plain(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-' | '/') => c,
        _ => '-',
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gun(text: &str) -> Gun {
        text.parse().unwrap()
    }

    #[test]
    fn names_say_repository_role_and_key() {
        let id = "2452d00741cc69b93c0e4892a2cced260803aac9ffc68394a9babf89393ac017";
        let long = gun(&format!("r.example.com/{}", "a".repeat(120)));

        for (role, gun, expected) in [
            ("targets", Some(gun("localhost:5000/team/app")), "notary/localhost-5000/team/app/targets-2452d007"),
            ("root", None, "notary/root-2452d007"),
            ("targets/releases", Some(gun("a/b")), "notary/a/b/targets-releases-2452d007"),
            ("Jeff", Some(gun("a/b")), "notary/a/b/jeff-2452d007"),
        ] {
            assert_eq!(name(role, gun.as_ref(), id).unwrap().as_str(), expected);
        }
        let short = name("targets", Some(&long), id).unwrap();
        assert!(short.as_str().len() < 60 && short.as_str().ends_with("/targets-2452d007"), "{short}");
    }

    #[test]
    fn a_root_key_is_for_all_that_list_it_and_another_for_one() {
        let known = |names: &[&str]| names.iter().map(|name| gun(name)).collect::<BTreeSet<_>>();

        assert_eq!(every(known(&["a/b", "a/c"]), &[gun("a/d")]).unwrap().len(), 3);
        assert!(every(known(&[]), &[]).is_err());
        assert_eq!(only(&known(&["a/b"]), &[]).unwrap(), [gun("a/b")]);
        assert_eq!(only(&known(&["a/b"]), &[gun("a/c")]).unwrap(), [gun("a/b")]);
        assert_eq!(only(&known(&[]), &[gun("a/c")]).unwrap(), [gun("a/c")]);
        assert_eq!(only(&known(&["a/b", "a/c"]), &[gun("a/c"), gun("a/d")]).unwrap(), [gun("a/c")]);
        assert!(only(&known(&["a/b", "a/c"]), &[]).is_err());
        assert!(only(&known(&[]), &[gun("a/c"), gun("a/d")]).is_err());
    }
}
