//! `trustctl hsm …`: the daemon's PKCS#11 tokens.

mod doctor;

use bytes::Bytes;
use serde::Serialize;
use trust_proto::v1;

use crate::believed::confidant_at_socket;
use crate::command_line::hsm::{HsmCommand, HsmLogin};
use crate::context::Context;
use crate::failure::{Failure, printable};
use crate::output::{Paint, Shown};
use crate::secret;

/// The longest PIN, in bytes.
const PIN_BYTES_MAX: usize = 255;

/// Runs `trustctl hsm …`.
pub(crate) async fn run(context: &Context, command: HsmCommand) -> Result<(), Failure> {
    match command {
        HsmCommand::List => list(context).await,
        HsmCommand::Doctor(arguments) => doctor::run(context, arguments).await,
        HsmCommand::Login(arguments) => login(context, arguments).await,
        HsmCommand::Orphans { token } => orphans(context, token).await,
    }
}

async fn orphans(context: &Context, token: Option<String>) -> Result<(), Failure> {
    let request = v1::ListOrphansRequest { token: token.unwrap_or_default() };
    let answer = context
        .daemon()
        .await?
        .hsm()
        .list_orphans(request)
        .await
        .map_err(|status| Failure::from(status).refusal_remedied_by("`trustctl hsm list` shows the tokens"))?;
    let answer = answer.into_inner();
    context.output.show(&Orphans { orphans: answer.orphans.into_iter().map(Orphan::read).collect() })?;
    // What was not looked at is not free of orphans.
    let missed: Vec<String> =
        answer.not_listed.iter().map(|missed| format!("{}: {}", missed.token, missed.why)).collect();
    if missed.is_empty() {
        return Ok(());
    }
    Err(Failure::unreachable(
        format!("not all was looked at: {}", missed.join("; ")),
        "`trustctl hsm list` says what each token needs; then look again",
    ))
}

#[derive(Debug, Serialize)]
struct Orphans {
    orphans: Vec<Orphan>,
}

/// An object in a token that is no key of the daemon's.
#[derive(Debug, Serialize)]
struct Orphan {
    token: String,
    /// Its CKA_ID, hexadecimal.
    id: String,
    label: String,
    /// privkey, pubkey, secrkey
    class: String,
    key_type: String,
    /// Whether label and id have the form that the daemon gives to its own.
    looks_ours: bool,
}

impl Orphan {
    fn read(orphan: v1::Orphan) -> Self {
        Self {
            token: orphan.token,
            id: hex::encode(&orphan.id),
            label: orphan.label,
            class: orphan.class,
            key_type: orphan.key_type,
            looks_ours: orphan.looks_ours,
        }
    }
}

impl Shown for Orphans {
    fn text(&self, paint: Paint) -> String {
        if self.orphans.is_empty() {
            return format!("{}: every key that was found in a token is one of the daemon's", paint.good("no orphans"));
        }
        let line = |orphan: &Orphan| {
            let whose = if orphan.looks_ours { "looks like ours" } else { "somebody else's" };
            let says = format!(
                "{}  {}  {:7}  {}  {:?}  {whose}",
                orphan.token, orphan.id, orphan.class, orphan.key_type, orphan.label
            );
            printable(&says)
        };
        self.orphans.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let answer = context.daemon().await?.hsm().list_tokens(v1::ListTokensRequest {}).await?.into_inner();
    context.output.show(&Tokens { tokens: answer.tokens.into_iter().map(Token::read).collect() })
}

async fn login(context: &Context, arguments: HsmLogin) -> Result<(), Failure> {
    // Before anybody types: a daemon that does not answer needs no PIN.
    let daemon = confidant_at_socket(context).await?;
    let pin = match &arguments.pin_file {
        Some(path) => secret::in_file("PIN", path, PIN_BYTES_MAX)?,
        None => secret::typed("PIN", PIN_BYTES_MAX)?,
    };
    let request = v1::LoginRequest { token: arguments.token.clone(), pin: Bytes::from_owner(pin) };
    daemon.hsm().login(request).await.map_err(|status| {
        Failure::from(status).refusal_remedied_by(
            "`trustctl hsm list` shows the tokens; a wrong PIN may be typed again, but a token locks itself after a few",
        )
    })?;
    context.output.show(&LoggedIn { token: arguments.token })
}

#[derive(Debug, Serialize)]
struct LoggedIn {
    token: String,
}

impl Shown for LoggedIn {
    fn text(&self, paint: Paint) -> String {
        let until = "the daemon keeps the PIN in memory until it stops";
        format!("{} to {}: {until}", paint.good("logged in"), printable(&self.token))
    }
}

#[derive(Debug, Serialize)]
struct Tokens {
    tokens: Vec<Token>,
}

#[derive(Debug, Serialize)]
struct Token {
    name: String,
    /// ready, unavailable
    state: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    trouble: String,
    /// missing, proven, refused, unproven
    pin: String,
    /// The module's file name.
    module: String,
    /// How the configuration tells it from others.
    selector: String,
    label: String,
    serial: String,
    manufacturer: String,
    model: String,
    firmware: String,
    sessions: u32,
    /// configuration, profile, default
    sessions_by: String,
    hang_after_ms: u64,
    hang_after_by: String,
    /// none, used, or why it is not
    profile: String,
    restarts: u64,
}

impl Token {
    fn read(token: v1::Token) -> Self {
        Self {
            name: token.name,
            state: token.state,
            trouble: token.trouble,
            pin: token.pin,
            module: token.module,
            selector: token.selector,
            label: token.label,
            serial: token.serial,
            manufacturer: token.manufacturer,
            model: token.model,
            firmware: token.firmware,
            sessions: token.sessions,
            sessions_by: token.sessions_by,
            hang_after_ms: token.hang_after_ms,
            hang_after_by: token.hang_after_by,
            profile: token.profile,
            restarts: token.restarts,
        }
    }

    fn lines(&self, paint: Paint) -> String {
        let state = match (self.state.as_str(), self.trouble.as_str()) {
            ("ready", "") => paint.good("ready"),
            ("ready", remark) => format!("{}: {}", paint.good("ready"), printable(remark)),
            (state, "") => paint.bad(state),
            (state, trouble) => format!("{}: {}", paint.bad(state), printable(trouble)),
        };
        let mut lines = vec![
            format!("{}  {state}", paint.strong(&self.name)),
            format!("  module    {}, {}", printable(&self.module), printable(&self.selector)),
        ];
        if !self.serial.is_empty() {
            let says = format!(
                "{:?}, serial {}, {} {}, firmware {}",
                self.label, self.serial, self.manufacturer, self.model, self.firmware
            );
            lines.push(format!("  token     {}", printable(&says)));
        }
        lines.push(format!("  PIN       {}", printable(&self.pin)));
        let by = format!(
            "{} ({}), hang_after_ms {} ({})",
            self.sessions, self.sessions_by, self.hang_after_ms, self.hang_after_by
        );
        lines.push(format!("  sessions  {}, restarted {} times", printable(&by), self.restarts));
        lines.push(format!("  profile   {}", printable(&self.profile)));
        lines.join("\n")
    }
}

impl Shown for Tokens {
    fn text(&self, paint: Paint) -> String {
        if self.tokens.is_empty() {
            return "the daemon's configuration has no [[token]]".to_owned();
        }
        self.tokens.iter().map(|token| token.lines(paint)).collect::<Vec<_>>().join("\n")
    }
}
