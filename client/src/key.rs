//! `trustctl key …`: keys and their life.

mod adopt;
pub(crate) mod import;
pub(crate) mod private_file;
mod shown;

use trust::scope::RepositoryPattern;
use trust::state::DistrustReason;
use trust::{Algorithm, Form, KeyName, PublicKey, Purpose, Repository};
use trust_proto::v1;
use trust_proto::words::Word as _;

use crate::command_line::key::{Encoding, KeyCommand, KeyCreate, KeyDistrust, KeyFinal, KeyPublic, NewKey};
use crate::confirm::confirmed;
use crate::connect::Daemon;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::repeat::{idempotency_key, until_answered};
pub(crate) use shown::use_word;
use shown::{KeyChange, KeyView, Keys, PublicView};

/// The most keys of one page.
const PAGE: u32 = 1000;
/// The most keys that are listed.
const KEYS_MAX: usize = 1_000_000;

/// Runs `trustctl key …`.
pub(crate) async fn run(context: &Context, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(arguments) => create(context, &arguments).await,
        KeyCommand::Import(arguments) => import::run(context, arguments).await,
        KeyCommand::Adopt(arguments) => adopt::run(context, &arguments).await,
        KeyCommand::List => list(context).await,
        KeyCommand::Show(name) => {
            let key = fetch(&context.daemon().await?, &name.key).await?;
            context.output.show(&KeyView::read(&key))
        }
        KeyCommand::Public(arguments) => public(context, &arguments).await,
        KeyCommand::Rotate(name) => rotate(context, name.key).await,
        KeyCommand::Enable(name) => change(context, name.key, v1::UseChange::Enable, "enabled").await,
        KeyCommand::Disable(name) => change(context, name.key, v1::UseChange::Disable, "disabled").await,
        KeyCommand::Retire(name) => change(context, name.key, v1::UseChange::Retire, "retired").await,
        KeyCommand::Destroy(arguments) => destroy(context, arguments).await,
        KeyCommand::CancelDestroy(name) => {
            change(context, name.key, v1::UseChange::CancelDestroy, "destruction-cancelled").await
        }
        KeyCommand::Distrust(arguments) => distrust(context, arguments).await,
    }
}

async fn create(context: &Context, arguments: &KeyCreate) -> Result<(), Failure> {
    let request = creation(&arguments.key, arguments.algorithm.as_deref(), arguments.token.as_deref())?;
    let daemon = context.daemon().await?;
    let answer = until_answered(async || daemon.keys().create_key(request.clone()).await).await?;
    show_change(context, "created", answer.key, answer.receipt)
}

/// Reads the call before a daemon is asked: a word typed wrong is a usage error, and scopes may be written short.
fn creation(arguments: &NewKey, algorithm: Option<&str>, token: Option<&str>) -> Result<v1::CreateKeyRequest, Failure> {
    let name: KeyName = arguments.name.parse()?;
    let purpose: Purpose = arguments.purpose.parse()?;
    let algorithm = algorithm.map(str::parse::<Algorithm>).transpose()?;
    if let Some(algorithm) = algorithm
        && !purpose.allows(algorithm)
    {
        let allowed = Algorithm::ALL.into_iter().filter(|algorithm| purpose.allows(*algorithm)).map(Algorithm::name);
        return Err(Failure::usage(
            format!("no {purpose} key signs with {algorithm}"),
            format!("--algorithm has to be one of {}", allowed.collect::<Vec<_>>().join(", ")),
        ));
    }
    if purpose == Purpose::Image && arguments.scope.is_empty() {
        return Err(Failure::usage(
            "an image key is for repositories that are named",
            "add --scope registry/repository, or --scope 'registry/prefix/*'",
        ));
    }
    let scope = scope(purpose, &arguments.scope)?;
    let forms = arguments.forms.iter().map(|word| word.parse::<Form>()).collect::<Result<Vec<_>, _>>()?;
    let possible = purpose.forms(algorithm.unwrap_or(purpose.default_algorithm()));
    if let Some(form) = forms.iter().find(|form| !possible.contains(form)) {
        let algorithm = algorithm.unwrap_or(purpose.default_algorithm());
        return Err(Failure::usage(
            format!("a {purpose} key of {algorithm} leaves no form {form}"),
            format!("--forms has to be of {}", possible.iter().map(|form| form.name()).collect::<Vec<_>>().join(", ")),
        ));
    }
    Ok(v1::CreateKeyRequest {
        name: name.to_string(),
        purpose: purpose.to_wire(),
        algorithm: algorithm.map_or(0, Algorithm::to_wire),
        scope: scope.words(),
        forms: forms.into_iter().map(Form::to_wire).collect(),
        idempotency_key: idempotency_key()?,
        token: token.unwrap_or_default().to_owned(),
    })
}

/// Repositories as docker takes them; of keys for trust data no prefixes.
fn scope(purpose: Purpose, typed: &[String]) -> Result<trust::Scope, Failure> {
    if purpose.is_of_trust_data() {
        if typed.is_empty() {
            let remedy = "add --scope registry/repository, for a root key as often as there are repositories";
            return Err(Failure::usage(format!("a {purpose} key is for repositories that are named"), remedy));
        }
        let names = typed.iter().map(|typed| Repository::normalise(typed).map(|name| name.to_string()));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        return Ok(trust::Scope::read(purpose, names.iter().map(String::as_str))?);
    }
    let patterns = typed.iter().map(|typed| RepositoryPattern::normalise(typed));
    Ok(trust::Scope::new(purpose, patterns.collect::<Result<_, _>>()?)?)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let keys = list_all(&context.daemon().await?).await?;
    context.output.show(&Keys { keys: keys.iter().map(KeyView::read).collect() })
}

/// Every key the caller may get, page by page.
pub(crate) async fn list_all(daemon: &Daemon) -> Result<Vec<v1::Key>, Failure> {
    let mut keys = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListKeysRequest { page_size: PAGE, page_token };
        let page = daemon.keys().list_keys(request).await?.into_inner();
        let empty = page.keys.is_empty();
        keys.extend(page.keys);
        page_token = page.next_page_token;
        // A daemon that pages for ever must not fill our memory.
        if page_token.is_empty() || empty || keys.len() >= KEYS_MAX {
            return Ok(keys);
        }
    }
}

/// One key, by name or id.
pub(crate) async fn fetch(daemon: &Daemon, key: &str) -> Result<v1::Key, Failure> {
    let request = v1::GetKeyRequest { key: key.to_owned() };
    daemon.keys().get_key(request).await?.into_inner().key.ok_or_else(incomplete)
}

async fn public(context: &Context, arguments: &KeyPublic) -> Result<(), Failure> {
    let key = fetch(&context.daemon().await?, &arguments.key).await?;
    let version = match arguments.version {
        None => key.versions.last(),
        Some(number) => key.versions.iter().find(|version| version.version == number),
    };
    let Some(version) = version else {
        return Err(Failure::refused(
            format!("{} has no such version", key.name),
            format!("trustctl key show {} lists its versions", key.name),
        ));
    };
    let algorithm = Algorithm::from_wire(key.algorithm)?;
    let public_key =
        PublicKey::from_spki_der(algorithm, &version.spki_der).map_err(|error| incomplete().because(error))?;
    if arguments.format == Encoding::Der && context.output.format() == Format::Text {
        return context.output.raw(public_key.spki_der());
    }
    context.output.show(&PublicView::of(&key.name, version.version, &public_key, arguments.format)?)
}

async fn rotate(context: &Context, key: String) -> Result<(), Failure> {
    let request = v1::RotateKeyRequest { key, idempotency_key: idempotency_key()? };
    let daemon = context.daemon().await?;
    let answer = until_answered(async || daemon.keys().rotate_key(request.clone()).await).await?;
    show_change(context, "rotated", answer.key, answer.receipt)
}

async fn change(context: &Context, key: String, change: v1::UseChange, done: &'static str) -> Result<(), Failure> {
    let request = v1::ChangeUseRequest { key, change: change.into(), idempotency_key: idempotency_key()? };
    let daemon = context.daemon().await?;
    let answer = until_answered(async || daemon.keys().change_use(request.clone()).await).await?;
    show_change(context, done, answer.key, answer.receipt)
}

async fn destroy(context: &Context, arguments: KeyFinal) -> Result<(), Failure> {
    if !arguments.yes {
        let warning =
            format!("Destroy the private half of {}? It cannot sign again, not even from the daemon.", arguments.key);
        confirmed(&warning, &arguments.key)?;
    }
    change(context, arguments.key, v1::UseChange::Destroy, "destruction-scheduled").await
}

async fn distrust(context: &Context, arguments: KeyDistrust) -> Result<(), Failure> {
    let reason: DistrustReason = arguments.reason.parse()?;
    if !arguments.yes {
        let extent = match arguments.since_leaf {
            Some(leaf) => format!("from leaf {leaf} on"),
            None => "none of them ever did".to_owned(),
        };
        let warning = format!("Signatures of {} will count no more, {extent}. This is final.", arguments.key);
        confirmed(&warning, &arguments.key)?;
    }
    let request = v1::DistrustKeyRequest {
        key: arguments.key,
        reason: reason.to_wire(),
        since_leaf: arguments.since_leaf,
        idempotency_key: idempotency_key()?,
    };
    let daemon = context.daemon().await?;
    let answer = until_answered(async || daemon.keys().distrust_key(request.clone()).await).await?;
    show_change(context, "distrusted", answer.key, answer.receipt)
}

fn show_change(
    context: &Context,
    done: &'static str,
    key: Option<v1::Key>,
    receipt: Option<v1::Receipt>,
) -> Result<(), Failure> {
    let key = key.ok_or_else(incomplete)?;
    let receipt = receipt.ok_or_else(incomplete)?;
    context.output.show(&KeyChange {
        done,
        key: KeyView::read(&key),
        log_origin: receipt.log_origin,
        leaf: receipt.leaf,
    })
}

fn incomplete() -> Failure {
    Failure::other("the daemon's answer is incomplete", "is it of the same version? `trustctl status`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(purpose: &str, scope: &[&str]) -> NewKey {
        NewKey {
            name: "team/app".to_owned(),
            purpose: purpose.to_owned(),
            scope: scope.iter().map(|text| (*text).to_owned()).collect(),
            forms: Vec::new(),
        }
    }

    #[test]
    fn scopes_may_be_written_as_docker_takes_them() {
        let request = creation(&typed("image", &["busybox", "R.example.com:443/team/*"]), None, None).unwrap();

        assert_eq!(request.scope, ["docker.io/library/busybox", "r.example.com/team/*"]);
        assert_eq!(request.algorithm, 0);

        let request = creation(&typed("root", &["busybox", "R.example.com:443/app"]), None, None).unwrap();
        assert_eq!(request.scope, ["docker.io/library/busybox", "r.example.com/app"]);
    }

    #[test]
    fn what_the_daemon_would_refuse_is_a_usage_error_with_the_remedy() {
        let forms = |word: &str, call: NewKey| NewKey { forms: vec![word.to_owned()], ..call };
        for (call, algorithm, word) in [
            (typed("image", &[]), None, "--scope"),
            (typed("image", &["busybox"]), Some("rsa3072-pss-sha256"), "ecdsa-p256-sha256"),
            (typed("release-blob", &[]), Some("ed25519"), "rsa3072-pkcs1-sha256"),
            (typed("release-blob", &["busybox"]), None, "empty"),
            (forms("minisig", typed("release-statement", &[])), Some("ecdsa-p256-sha256"), "sshsig"),
            (forms("manifest", typed("release-blob", &[])), None, "sig, bundle"),
            (typed("targets", &[]), None, "--scope"),
            (typed("targets", &["busybox", "alpine"]), None, "one repository"),
            (typed("root", &["r.example.com/team/*"]), None, "registry/path"),
            (typed("root", &["busybox"]), Some("ed25519"), "ecdsa-p256-sha256"),
            (NewKey { name: "Team/App".to_owned(), ..typed("image", &["busybox"]) }, None, "a-z"),
        ] {
            let failure = creation(&call, algorithm, None).unwrap_err();

            assert_eq!(failure.exit().code(), 2);
            assert!(failure.remedy().contains(word), "{failure:?}");
        }
    }
}
