//! How a call to GitHub fails, by how the caller reacts, and how an answer is read as such a failure.

use std::fmt;

use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

/// The longest part of GitHub's words that is kept, in characters.
const MESSAGE_LIMIT: usize = 600;

/// Which call failed, for the operator. Never holds a query, a body or a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) status: Option<StatusCode>,
    pub(super) request_id: Option<String>,
}

impl Call {
    /// The status GitHub answered with; nothing when there was no answer.
    pub fn status(&self) -> Option<u16> {
        self.status.map(|status| status.as_u16())
    }

    /// GitHub's own id of the request (`x-github-request-id`), which its support asks for.
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

/// A failed call: what its caller has to do ([`Kind`]), GitHub's own explanation where it gave one, and which call.
#[derive(Clone, Debug)]
pub struct Error {
    /// How the caller reacts.
    pub kind: Kind,
    /// GitHub's words (single complaints joined with `; `), or what else happened; may be empty.
    pub message: String,
    /// The call; `None` when none was made.
    pub call: Option<Box<Call>>,
}

/// Why a call failed, by how its caller reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GitHub asks to wait. Nothing was done; the same call is right again at `until`.
    RateLimited {
        /// The first instant at which a call makes sense again.
        until: DateTime<Utc>,
    },
    /// No usable answer: 5xx, timeout, lost connection, or a success nobody can read. A mutation may have
    /// taken effect: look for its trace before repeating it.
    Unavailable {
        /// When GitHub said it would be back, if it did.
        retry_after: Option<DateTime<Utc>>,
    },
    /// 401: the App's key or id, or the token, is wrong. Repeating does not help.
    Unauthorized,
    /// 403 (or 451) that is no rate limit: the App lacks a permission, or is suspended.
    Forbidden,
    /// 404: it does not exist, or this credential may not see it. 501: this GitHub (an older Enterprise Server,
    /// for example) does not have the call at all.
    NotFound,
    /// 410 (a deleted issue, issues switched off), or the App is no longer installed there.
    Gone,
    /// 400, 409, 422 and the like: GitHub understood the call and refuses what it asks for.
    Invalid,
    /// There is an open pull request for this branch already: list and adopt it.
    AlreadyExists,
    /// The branch holds no commit that its base lacks, so there is no pull request to open.
    NothingToMerge,
    /// The client cannot be made, or cannot sign: the private key or the base URL is not one.
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
    /// A call that failed for this reason.
    pub(super) fn new(kind: Kind, message: impl Into<String>, call: Box<Call>) -> Self {
        Self { kind, message: message.into(), call: Some(call) }
    }

    /// A call that GitHub wants to see again at `until`.
    pub(super) fn rate_limited(until: DateTime<Utc>, call: Box<Call>) -> Self {
        Self::new(Kind::RateLimited { until }, "", call)
    }

    /// A client that cannot be made, or cannot sign; `message` says why, without the value.
    pub(super) fn misconfigured(message: impl Into<String>) -> Self {
        Self { kind: Kind::Misconfigured, message: message.into(), call: None }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::RateLimited { .. } | Kind::Unavailable { .. })
    }

    /// Whether it may succeed later all the same: it is transient, or the operator may correct the credential
    /// meanwhile. For what must not be lost.
    pub fn may_pass(&self) -> bool {
        self.is_transient() || self.kind == Kind::Unauthorized
    }

    /// The first instant, not before `now`, at which GitHub wants to see the call again; `None` when it
    /// named none and the caller's own backoff decides.
    pub fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.kind {
            Kind::RateLimited { until } => Some(until),
            Kind::Unavailable { retry_after } => retry_after,
            _ => None,
        }
        .map(|at| at.max(now))
    }

    /// The failure that a status other than 2xx stands for. Limits were taken out before.
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
            // A redirect that leads away from GitHub, or in circles: nothing was done.
            300..=399 | 408 | 500.. => Kind::Unavailable { retry_after },
            _ => Kind::Invalid,
        };
        Self::new(kind, message, call)
    }

    /// Names the two refusals of a new pull request that its caller can act on.
    ///
    /// GitHub gives them no code of their own (`custom`), only these words.
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

/// Whether GitHub's message says this, in whatever case.
pub(super) fn says(message: &str, phrase: &str) -> bool {
    message.to_ascii_lowercase().contains(phrase)
}

/// The body of GitHub's errors: <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>.
#[derive(Deserialize)]
struct Explanation {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    errors: Option<Value>,
}

/// GitHub's explanation on one line, its single complaints joined, `secret` blotted out, or the status'
/// own words when the body holds none (a proxy's HTML page, say).
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

/// One entry of `errors`: a sentence, or resource, field and code.
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
    fn a_refusal_names_the_call_the_status_the_complaints_and_the_request() {
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
    fn every_status_has_the_variant_its_caller_reacts_to() {
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
    fn only_the_two_known_refusals_of_a_pull_request_get_their_own_variant() {
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
    fn a_page_of_html_is_not_quoted() {
        let seen = explanation(StatusCode::BAD_GATEWAY, b"<html><body>oops</body></html>", "");
        assert_eq!(seen, "Bad Gateway");
    }

    #[test]
    fn a_token_that_github_echoes_is_blotted_out() {
        let body = json!({"message": "Bad token ghs_secret\nreally"}).to_string();
        let seen = explanation(StatusCode::UNAUTHORIZED, body.as_bytes(), "ghs_secret");
        assert_eq!(seen, "Bad token [redacted] really");
    }

    #[test]
    fn the_next_try_is_never_in_the_past() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("an instant");
        let limited = Error::rate_limited(now - TimeDelta::seconds(5), call(403));
        assert_eq!(limited.retry_at(now), Some(now));
        let down = Error::new(Kind::Unavailable { retry_after: None }, "", call(502));
        assert_eq!(down.retry_at(now), None);
    }
}
