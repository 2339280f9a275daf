//! Errors of GitHub calls, classified by how the caller reacts, and the mapping from responses to them.

use std::fmt;

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// The maximum length of GitHub's message that is kept, in characters.
const MESSAGE_LIMIT: usize = 600;

/// The call that failed, for the operator. Never contains a query, a body or a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) status: Option<StatusCode>,
    pub(super) request_id: Option<String>,
}

impl Call {
    /// Returns the HTTP status; `None` if there was no response.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    /// Returns GitHub's id of the request (`x-github-request-id`), which GitHub's support asks for.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(status) = self.status {
            write!(f, " answered {status}")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(f, " (request {request_id})")?;
        }
        Ok(())
    }
}

/// A failed call: how the caller reacts ([`Kind`]), GitHub's explanation if there is one, and the call itself.
#[derive(Clone, Debug)]
pub struct Error {
    /// How the caller reacts.
    pub kind: Kind,
    /// GitHub's message (multiple errors are joined with `; `), or a description of the failure; may be empty.
    pub message: String,
    /// The call; `None` if none was made.
    pub call: Option<Box<Call>>,
}

/// The reason a call failed, by how the caller reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GitHub asks to wait. The call had no effect and can be repeated at `until`.
    RateLimited {
        /// The first instant at which the call may succeed.
        until: DateTime<Utc>,
    },
    /// No usable response: 5xx, timeout, lost connection, or a success with an unreadable body. A mutation may
    /// have taken effect: check for its result before repeating it.
    Unavailable {
        /// The time from GitHub's `Retry-After` header, if it sent one.
        retry_after: Option<DateTime<Utc>>,
    },
    /// 401: the App's key or id, or the token, is wrong. A retry does not help.
    Unauthorized,
    /// 403 (or 451) that is not a rate limit: the App lacks a permission, or is suspended.
    Forbidden,
    /// 404: the resource does not exist, or this credential may not see it. 501: this GitHub server (for example
    /// an older Enterprise Server) does not implement the call.
    NotFound,
    /// 410 (a deleted issue, or issues disabled), or the App is no longer installed on the account.
    Gone,
    /// 400, 409, 422 and similar: GitHub rejects the request.
    Invalid,
    /// An open pull request for this branch already exists: find it and use it.
    AlreadyExists,
    /// The branch has no commit that its base lacks, so there is no pull request to open.
    NothingToMerge,
    /// The client cannot be created or cannot sign: the private key or the base URL is invalid.
    Misconfigured,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::RateLimited { until } => {
                let until = until.format("%Y-%m-%dT%H:%M:%SZ");
                write!(f, "GitHub's rate limit is reached, next try at {until}")?;
            }
            Kind::Unavailable { .. } => f.write_str("GitHub is not available")?,
            Kind::Unauthorized => f.write_str("GitHub does not accept the credential")?,
            Kind::Forbidden => f.write_str("GitHub forbids this")?,
            Kind::NotFound => f.write_str("GitHub does not find this")?,
            Kind::Gone => f.write_str("this is gone from GitHub")?,
            Kind::Invalid => f.write_str("GitHub refuses this")?,
            Kind::AlreadyExists => f.write_str("the pull request exists already")?,
            Kind::NothingToMerge => f.write_str("there is nothing to merge")?,
            Kind::Misconfigured => f.write_str("the GitHub App's settings cannot work")?,
        }
        if let Some(call) = &self.call {
            write!(f, ": {call}")?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// Creates the error of a call that failed for this reason.
    pub(super) fn new(kind: Kind, message: impl Into<String>, call: Box<Call>) -> Self {
        Self { kind, message: message.into(), call: Some(call) }
    }

    /// Creates the error of a call that GitHub limits until `until`.
    pub(super) fn rate_limited(until: DateTime<Utc>, call: Box<Call>) -> Self {
        Self::new(Kind::RateLimited { until }, "", call)
    }

    /// Creates the error of a client that cannot be created or cannot sign. `message` states the reason without
    /// the value.
    pub(super) fn misconfigured(message: impl Into<String>) -> Self {
        Self { kind: Kind::Misconfigured, message: message.into(), call: None }
    }

    /// Returns whether the same call may succeed later without any change by a person.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::RateLimited { .. } | Kind::Unavailable { .. })
    }

    /// Returns whether the call may succeed later: it is transient, or the operator may correct the credential in
    /// the meantime. Used for work that must not be lost.
    pub fn may_pass(&self) -> bool {
        self.is_transient() || self.kind == Kind::Unauthorized
    }

    /// Returns the earliest instant, at or after `now`, at which GitHub accepts the call again; `None` if GitHub
    /// named none and the caller uses its own backoff.
    pub fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.kind {
            Kind::RateLimited { until } => Some(until),
            Kind::Unavailable { retry_after } => retry_after,
            _ => None,
        }
        .map(|at| at.max(now))
    }

    /// Maps a status other than 2xx to an error. Rate limits are handled before.
    pub(super) fn from_status(
        status: StatusCode,
        message: String,
        retry_after: Option<DateTime<Utc>>,
        call: Box<Call>,
    ) -> Self {
        let kind = match status.as_u16() {
            401 => Kind::Unauthorized,
            403 | 451 => Kind::Forbidden,
            404 | 501 => Kind::NotFound,
            410 => Kind::Gone,
            // A redirect to another host, or a redirect loop: the call had no effect.
            300..=399 | 408 | 500.. => Kind::Unavailable { retry_after },
            _ => Kind::Invalid,
        };
        Self::new(kind, message, call)
    }

    /// Refines the two rejections of a new pull request that its caller can handle.
    ///
    /// GitHub reports both with the error code `custom`, so only the message distinguishes them.
    pub(super) fn into_pull_refusal(mut self) -> Self {
        if self.kind == Kind::Invalid {
            if says(&self.message, "pull request already exists") {
                self.kind = Kind::AlreadyExists;
            } else if says(&self.message, "no commits between") {
                self.kind = Kind::NothingToMerge;
            }
        }
        self
    }
}

/// Returns whether GitHub's message contains the phrase, ignoring case.
pub(super) fn says(message: &str, phrase: &str) -> bool {
    message.to_ascii_lowercase().contains(phrase)
}

/// The body of GitHub's error responses:
/// <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>.
#[derive(Deserialize)]
struct Explanation {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    errors: Option<Value>,
}

/// Returns GitHub's explanation on one line, with multiple errors joined and `secret` redacted, or the reason
/// phrase of the status if the body contains no explanation (an HTML page of a proxy, for example).
pub(super) fn explanation(status: StatusCode, body: &[u8], secret: &str) -> String {
    let mut parts = Vec::new();
    if let Ok(said) = serde_json::from_slice::<Explanation>(body) {
        parts.extend(said.message.filter(|message| !message.is_empty()));
        match said.errors {
            Some(Value::Array(errors)) => parts.extend(errors.iter().filter_map(complaint)),
            Some(error) => parts.extend(complaint(&error)),
            None => {}
        }
    }
    if parts.is_empty() {
        parts.push(status.canonical_reason().unwrap_or("no explanation").to_owned());
    }
    let mut line = parts.join("; ");
    if !secret.is_empty() {
        line = line.replace(secret, "[redacted]");
    }
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_LIMIT).collect()
}

/// Formats one entry of `errors`, which is a sentence or an object with resource, field and code.
fn complaint(error: &Value) -> Option<String> {
    if let Some(text) = error.as_str() {
        return Some(text.to_owned());
    }
    let text = |key: &str| error.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(message) = text("message") {
        return Some(message.to_owned());
    }
    let what: Vec<_> = [text("resource"), text("field")].into_iter().flatten().collect();
    match (what.is_empty(), text("code")) {
        (true, None) => None,
        (true, Some(code)) => Some(code.to_owned()),
        (false, code) => Some(format!("{} {}", what.join("."), code.unwrap_or("invalid"))),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;

    fn call(status: u16) -> Box<Call> {
        Box::new(Call {
            method: Method::POST,
            path: "/repos/acme/web/pulls".into(),
            status: StatusCode::from_u16(status).ok(),
            request_id: Some("C0DE:1".into()),
        })
    }

    fn refusal(status: u16, body: &Value) -> Error {
        let code = StatusCode::from_u16(status).expect("a status");
        let message = explanation(code, body.to_string().as_bytes(), "");
        Error::from_status(code, message, None, call(status))
    }

    #[test]
    fn an_error_shows_call_status_message_and_request_id() {
        let seen = refusal(
            422,
            &json!({"message": "Validation Failed", "errors": [
                {"resource": "PullRequest", "field": "head", "code": "invalid"},
                {"resource": "PullRequest", "code": "custom", "message": "Too many files"},
                "and a plain one",
            ]}),
        );
        assert_eq!(
            seen.to_string(),
            "GitHub refuses this: POST /repos/acme/web/pulls answered 422 Unprocessable Entity (request C0DE:1): \
             Validation Failed; PullRequest.head invalid; Too many files; and a plain one"
        );
    }

    #[test]
    fn every_status_maps_to_its_error_kind() {
        let body = json!({"message": "x"});
        for (status, wanted) in [
            (400, "Invalid"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (405, "Invalid"),
            (408, "Unavailable"),
            (409, "Invalid"),
            (410, "Gone"),
            (422, "Invalid"),
            (451, "Forbidden"),
            (500, "Unavailable"),
            (501, "NotFound"),
            (502, "Unavailable"),
            (302, "Unavailable"),
        ] {
            let seen = refusal(status, &body);
            assert!(
                format!("{:?}", seen.kind).starts_with(wanted),
                "{status}: wanted {wanted}, saw {seen:?}"
            );
            assert_eq!(seen.is_transient(), wanted == "Unavailable", "{status}");
        }
    }

    #[test]
    fn only_the_two_known_pull_request_rejections_have_their_own_kind() {
        let words = |text: &str| {
            refusal(
                422,
                &json!({"message": "Validation Failed", "errors": [{"code": "custom", "message": text}]}),
            )
            .into_pull_refusal()
        };
        let exists = words("A pull request already exists for acme:porter/task_1.");
        assert!(matches!(exists, Error { kind: Kind::AlreadyExists, .. }), "{exists:?}");
        let nothing = words("No commits between main and porter/task_1");
        assert!(matches!(nothing, Error { kind: Kind::NothingToMerge, .. }), "{nothing:?}");
        let other = words("The base branch is gone");
        assert!(matches!(other, Error { kind: Kind::Invalid, .. }), "{other:?}");
    }

    #[test]
    fn an_html_page_is_not_quoted() {
        let seen = explanation(StatusCode::BAD_GATEWAY, b"<html><body>oops</body></html>", "");
        assert_eq!(seen, "Bad Gateway");
    }

    #[test]
    fn a_token_in_githubs_message_is_redacted() {
        let body = json!({"message": "Bad token ghs_secret\nreally"}).to_string();
        let seen = explanation(StatusCode::UNAUTHORIZED, body.as_bytes(), "ghs_secret");
        assert_eq!(seen, "Bad token [redacted] really");
    }

    #[test]
    fn the_retry_time_is_never_in_the_past() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let limited = Error::rate_limited(now - TimeDelta::seconds(5), call(403));
        assert_eq!(limited.retry_at(now), Some(now));
        let down = Error::new(Kind::Unavailable { retry_after: None }, "", call(502));
        assert_eq!(down.retry_at(now), None);
    }
}
