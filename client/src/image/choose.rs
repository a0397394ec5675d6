//! Which key signs.

use trust::scope::RepositoryPattern;
use trust::{Form, Purpose, Repository};
use trust_proto::v1;
use trust_proto::words::Word as _;

use crate::connect::Daemon;
use crate::failure::Failure;

const PAGE: u32 = 1000;
/// No more keys are looked at to find the one.
const KEYS_MAX: usize = 10_000;
/// So many names are shown to choose from.
const NAMES_SHOWN_MAX: usize = 8;

/// The key that was named, else the only one that can sign `repository` in these forms: its name or id.
///
/// # Errors
/// When there is none, or more than one.
pub(crate) async fn key(
    daemon: &Daemon,
    named: Option<&str>,
    repository: &Repository,
    forms: &[Form],
) -> Result<String, Failure> {
    if let Some(name) = named {
        return Ok(name.to_owned());
    }
    let keys = image_keys(daemon).await?;
    let mut names: Vec<&str> =
        keys.iter().filter(|key| can_sign(key, repository, forms)).map(|key| key.name.as_str()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(Failure::refused(
            format!("there is no key that you may see, that is active, and whose scope covers {repository}"),
            format!("trustctl key create NAME --purpose image --scope {repository}, or name one: --key KEY"),
        )),
        _ => {
            names.sort_unstable();
            names.truncate(NAMES_SHOWN_MAX);
            let names = names.join(", ");
            Err(Failure::usage(format!("several keys can sign {repository}: {names}"), "choose one: --key KEY"))
        }
    }
}

/// The keys for images that the caller may see.
pub(crate) async fn image_keys(daemon: &Daemon) -> Result<Vec<v1::Key>, Failure> {
    let mut keys = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListKeysRequest { page_size: PAGE, page_token };
        let answer = daemon.keys().list_keys(request).await?.into_inner();
        keys.extend(answer.keys.into_iter().filter(|key| key.purpose == Purpose::Image.to_wire()));
        if answer.next_page_token.is_empty() || keys.len() >= KEYS_MAX {
            return Ok(keys);
        }
        page_token = answer.next_page_token;
    }
}

fn can_sign(key: &v1::Key, repository: &Repository, forms: &[Form]) -> bool {
    let covers = |text: &String| text.parse::<RepositoryPattern>().is_ok_and(|pattern| pattern.covers(repository));
    key.r#use() == v1::Use::Active
        && key.trust() == v1::Trust::Trusted
        && key.scope.iter().any(covers)
        && forms.iter().all(|form| key.forms.contains(&form.to_wire()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> v1::Key {
        v1::Key {
            name: "app".to_owned(),
            purpose: Purpose::Image.to_wire(),
            scope: vec!["r.example.com/team/*".to_owned()],
            forms: vec![Form::Sig.to_wire()],
            r#use: v1::Use::Active.into(),
            trust: v1::Trust::Trusted.into(),
            ..v1::Key::default()
        }
    }

    #[test]
    fn a_key_signs_when_state_scope_and_forms_allow() {
        let repository = Repository::parse("r.example.com/team/app").unwrap();
        let other = Repository::parse("r.example.com/other").unwrap();
        let disabled = v1::Key { r#use: v1::Use::Disabled.into(), ..key() };
        let distrusted = v1::Key { trust: v1::Trust::Distrusted.into(), ..key() };

        assert!(can_sign(&key(), &repository, &[]));
        assert!(can_sign(&key(), &repository, &[Form::Sig]));
        assert!(!can_sign(&key(), &repository, &[Form::Bundle]));
        assert!(!can_sign(&key(), &other, &[]));
        assert!(!can_sign(&disabled, &repository, &[]));
        assert!(!can_sign(&distrusted, &repository, &[]));
    }
}
