//! The one table from what went wrong to what a client of Notary reads (SPEC §2.4).
//!
//! Docker shows a person only one kind of words of ours: those in a typed detail, under status 400, as the one error of a
//! body of at most 1,024 bytes. So every text is cut until its body fits.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tracing::{error, warn};
use trust::format::tuf::publish::Refusal;

use super::super::chain;
use crate::publish::PublishError;
use crate::telemetry::RequestId;

/// Docker's clients read no more of an error, in bytes.
const BODY_BYTES_MAX: usize = 1024;
/// When to come back, in seconds.
const RETRY_SECONDS: &str = "1";
/// What a person reads where the policy has no words of its own.
const DENIED: &str = "the policy of this server does not allow it";

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(super) enum NotServed {
    /// Somebody else is needed: `challenge` says where a token is had, `needs` what it has to grant.
    Unauthorized { challenge: Option<String>, needs: Vec<Need> },
    /// The policy says no to what is not reading.
    Denied,
    /// The policy says no to a publication, in words for whoever publishes.
    PolicyRefuses(Option<String>),
    /// The update breaks a rule.
    Update(Refusal),
    /// No repository of that name is served here.
    Gun { prefixes: Vec<String> },
    /// A role, version or hash was looked up, and is not there.
    NoMetadata,
    /// A version that no number holds.
    NoNumber(String),
    /// Nothing is here.
    NotHere,
    /// The body is no upload.
    MalformedUpload,
    /// It is too long.
    TooLong,
    /// A parameter of the changefeed cannot be read; what Go would say of it, where the original says it.
    Parameters(Option<String>),
    /// A bound is reached.
    Busy,
    /// A part of the daemon is not there, or not in time.
    Unavailable,
    /// A fault of ours; the log has it.
    Internal,
}

/// What a token would have to grant.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Need {
    #[serde(rename = "Type")]
    pub(super) kind: &'static str,
    #[serde(rename = "Class")]
    pub(super) class: &'static str,
    #[serde(rename = "Name")]
    pub(super) name: String,
    #[serde(rename = "Action")]
    pub(super) action: &'static str,
}

/// What an error says besides its message, in the shapes that clients read.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Detail {
    /// `{}`
    Empty {},
    Needs(Vec<Need>),
    Number {
        #[serde(rename = "Func")]
        function: &'static str,
        #[serde(rename = "Num")]
        digits: String,
        #[serde(rename = "Err")]
        error: Nothing,
    },
    Text(String),
    Typed {
        #[serde(rename = "Name")]
        name: &'static str,
        #[serde(rename = "Error")]
        error: Words,
    },
}

#[derive(Debug, Clone, Serialize)]
struct Nothing {}

#[derive(Debug, Clone, Serialize)]
struct Words {
    #[serde(rename = "Msg")]
    text: String,
    #[serde(rename = "Missing", skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

/// The body: one error, for docker looks at the first and only where there is no second.
#[derive(Serialize)]
struct Body<'a> {
    errors: [OneError<'a>; 1],
}

#[derive(Serialize)]
struct OneError<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a Detail>,
}

impl NotServed {
    /// What a publication or a read met.
    pub(super) fn of(error: PublishError) -> Self {
        match error {
            PublishError::Refused(refusal) => Self::Update(refusal),
            PublishError::Denied { words } => Self::PolicyRefuses(words),
            PublishError::NotFound => Self::NoMetadata,
            PublishError::Unavailable(fault) => {
                warn!(request = %RequestId::current(), cause = chain(&fault), "a request was not served");
                Self::Unavailable
            }
            PublishError::Busy => Self::Busy,
            PublishError::Internal(fault) => {
                error!(request = %RequestId::current(), cause = chain(&fault), "a request failed");
                Self::Internal
            }
        }
    }

    /// What is not a publication is denied with its own status; but docker asks for keys before it publishes, and what
    /// the policy has to say reaches a person in the words of an update only.
    pub(super) fn of_other(error: PublishError) -> Self {
        match error {
            PublishError::Denied { words: None } => Self::Denied,
            other => Self::of(other),
        }
    }

    /// Status, code, message and detail.
    fn row(&self) -> (StatusCode, &'static str, &'static str, Option<Detail>) {
        const NOT_THERE: &str = "You have requested metadata that does not exist.";
        const BROKEN: &str = "The body of your request is malformed.";
        match self {
            Self::Unauthorized { needs, .. } => (
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "authentication required",
                Some(Detail::Needs(needs.clone())),
            ),
            Self::Denied => (StatusCode::FORBIDDEN, "DENIED", "requested access to the resource is denied", None),
            Self::PolicyRefuses(words) => {
                let words = words.as_deref().unwrap_or(DENIED);
                (StatusCode::BAD_REQUEST, "INVALID_UPDATE", INVALID_UPDATE, Some(typed("ErrValidation", words)))
            }
            Self::Update(refusal) => {
                let (message, detail) = update(refusal);
                (StatusCode::BAD_REQUEST, refusal.code(), message, detail)
            }
            Self::Gun { prefixes } => {
                let detail = format!("Require GUNs with prefix: [{}]", prefixes.join(" "));
                let message = "The server does not support actions on images of this name.";
                (StatusCode::BAD_REQUEST, "INVALID_GUN", message, Some(Detail::Text(detail)))
            }
            Self::NoMetadata => (StatusCode::NOT_FOUND, "METADATA_NOT_FOUND", NOT_THERE, Some(Detail::Empty {})),
            Self::NoNumber(digits) => {
                let detail = Detail::Number { function: "Atoi", digits: digits.clone(), error: Nothing {} };
                (StatusCode::NOT_FOUND, "METADATA_NOT_FOUND", NOT_THERE, Some(detail))
            }
            Self::NotHere => (StatusCode::NOT_FOUND, "METADATA_NOT_FOUND", NOT_THERE, None),
            Self::MalformedUpload => (StatusCode::BAD_REQUEST, "MALFORMED_UPLOAD", BROKEN, None),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "MALFORMED_UPLOAD", BROKEN, None),
            Self::Parameters(words) => {
                let message = "The parameters provided are not valid.";
                let detail = words.clone().map_or(Detail::Empty {}, Detail::Text);
                (StatusCode::BAD_REQUEST, "INVALID_PARAMETERS", message, Some(detail))
            }
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many requests", None),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "service unavailable", None),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "unknown error", None),
        }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Response<Full<Bytes>> {
        let (status, code, message, detail) = self.row();
        let mut answer = Response::new(Full::new(body(code, message, detail)));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        if let Self::Unauthorized { challenge: Some(challenge), .. } = self {
            match HeaderValue::from_str(challenge) {
                Ok(challenge) => drop(headers.insert(WWW_AUTHENTICATE, challenge)),
                Err(error) => warn!(%error, "a challenge does not fit into a header"),
            }
        }
        if matches!(self, Self::Busy | Self::Unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        answer
    }
}

const INVALID_UPDATE: &str = "Update sent by the client is invalid.";

/// Message and detail of an update that is refused.
fn update(refusal: &Refusal) -> (&'static str, Option<Detail>) {
    match refusal {
        Refusal::NoFileName => ("No file/role name provided.", None),
        Refusal::InvalidRole(role) => {
            ("The role you are attempting to operate on is invalid.", Some(Detail::Text(role.clone())))
        }
        Refusal::Malformed(_) => ("JSON sent by the client could not be parsed by the server", None),
        Refusal::Outdated(_) => ("A newer version of metadata is already available.", Some(Detail::Empty {})),
        Refusal::BadHierarchy { missing } => {
            let error = Words { text: refusal.to_string(), missing: Some(missing.to_string()) };
            (INVALID_UPDATE, Some(Detail::Typed { name: "ErrBadHierarchy", error }))
        }
        Refusal::Validation(_) | Refusal::BadRoot(_) | Refusal::BadTargets(_) | Refusal::BadSnapshot(_) => {
            (INVALID_UPDATE, Some(typed(refusal.type_name().unwrap_or("ErrValidation"), &refusal.to_string())))
        }
    }
}

fn typed(name: &'static str, words: &str) -> Detail {
    Detail::Typed { name, error: Words { text: words.to_owned(), missing: None } }
}

/// The one error of a body, its detail's words cut until all of it can be read.
fn body(code: &str, message: &str, mut detail: Option<Detail>) -> Bytes {
    loop {
        let body = Body { errors: [OneError { code, message, detail: detail.as_ref() }] };
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        if text.len() <= BODY_BYTES_MAX || !detail.as_mut().is_some_and(Detail::shorten) {
            return text.into();
        }
    }
}

impl Detail {
    /// Takes an eighth off its text; false when nothing is left to take.
    fn shorten(&mut self) -> bool {
        let text = match self {
            Self::Empty {} => return false,
            Self::Needs(needs) => return needs.pop().is_some(),
            Self::Number { digits, .. } => digits,
            Self::Text(text) => text,
            Self::Typed { error, .. } => &mut error.text,
        };
        let kept = text.chars().count().saturating_mul(7) / 8;
        let is_shorter = !text.is_empty();
        *text = text.chars().take(kept).collect();
        is_shorter
    }
}

#[cfg(test)]
#[path = "refusal/tests.rs"]
mod tests;
