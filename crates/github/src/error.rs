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

/// A failed call. Each `message` is GitHub's own explanation where it gave one.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// GitHub asks to wait. Nothing was done; the same call is right again at `until`.
    #[error("GitHub's rate limit is reached, next try at {}: {call}", until.format("%Y-%m-%dT%H:%M:%SZ"))]
    RateLimited {
        /// The first instant at which a call makes sense again.
        until: DateTime<Utc>,
        /// The call.
        call: Box<Call>,
    },
    /// No usable answer: 5xx, timeout, lost connection, or a success nobody can read. A mutation may have
    /// taken effect: look for its trace before repeating it.
    #[error("GitHub is not available: {call}: {message}")]
    Unavailable {
        /// What happened.
        message: String,
        /// When GitHub said it would be back, if it did.
        retry_after: Option<DateTime<Utc>>,
        /// The call.
        call: Box<Call>,
    },
    /// 401: the App's key or id, or the token, is wrong. Repeating does not help.
    #[error("GitHub does not accept the credential: {call}: {message}")]
    Unauthorized {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// 403 (or 451) that is no rate limit: the App lacks a permission, or is suspended.
    #[error("GitHub forbids this: {call}: {message}")]
    Forbidden {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// 404: it does not exist, or this credential may not see it. 501: this GitHub (an older Enterprise Server,
    /// say) does not have the call at all.
    #[error("GitHub does not find this: {call}: {message}")]
    NotFound {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// 410 (a deleted issue, issues switched off), or the App is no longer installed there.
    #[error("this is gone from GitHub: {call}: {message}")]
    Gone {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// 400, 409, 422 and the like: GitHub understood the call and refuses what it asks for.
    #[error("GitHub refuses this: {call}: {message}")]
    Invalid {
        /// GitHub's words, the single complaints joined with `; `.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// There is an open pull request for this branch already: list and adopt it.
    #[error("the pull request exists already: {call}: {message}")]
    AlreadyExists {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// The branch holds no commit that its base lacks, so there is no pull request to open.
    #[error("there is nothing to merge: {call}: {message}")]
    NothingToMerge {
        /// GitHub's words.
        message: String,
        /// The call.
        call: Box<Call>,
    },
    /// The client cannot be made, or cannot sign: a private key that is none, a base URL that is none.
    #[error("the GitHub App's settings cannot work: {message}")]
    Misconfigured {
        /// What is wrong, without the value.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }

    /// Whether it may succeed later all the same: it is transient, or the operator may mend the credential
    /// meanwhile. For what must not be lost.
    pub fn may_pass(&self) -> bool {
        self.is_transient() || matches!(self, Self::Unauthorized { .. })
    }

    /// The first instant, not before `now`, at which GitHub wants to see the call again; nothing when it
    /// named none and the caller's own backoff decides.
    pub fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::RateLimited { until, .. } => Some(*until),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
        .map(|at| at.max(now))
    }

    /// The call that failed; nothing when none was made.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::RateLimited { call, .. }
            | Self::Unavailable { call, .. }
            | Self::Unauthorized { call, .. }
            | Self::Forbidden { call, .. }
            | Self::NotFound { call, .. }
            | Self::Gone { call, .. }
            | Self::Invalid { call, .. }
            | Self::AlreadyExists { call, .. }
            | Self::NothingToMerge { call, .. } => Some(call),
            Self::Misconfigured { .. } => None,
        }
    }

    /// The failure that a status other than 2xx stands for. Limits were taken out before.
    pub(super) fn from_status(
        status: StatusCode,
        message: String,
        retry_after: Option<DateTime<Utc>>,
        call: Box<Call>,
    ) -> Self {
        match status.as_u16() {
            401 => Self::Unauthorized { message, call },
            403 | 451 => Self::Forbidden { message, call },
            404 | 501 => Self::NotFound { message, call },
            410 => Self::Gone { message, call },
            408 | 500.. => Self::Unavailable { message, retry_after, call },
            // A redirect that leads away from GitHub, or in circles: nothing was done.
            300..=399 => Self::Unavailable { message, retry_after, call },
            _ => Self::Invalid { message, call },
        }
    }

    /// Names the two refusals of a new pull request that its caller can act on.
    ///
    /// GitHub gives them no code of their own (`custom`), only these words.
    pub(super) fn into_pull_refusal(self) -> Self {
        match self {
            Self::Invalid { message, call } if says(&message, "pull request already exists") => {
                Self::AlreadyExists { message, call }
            }
            Self::Invalid { message, call } if says(&message, "no commits between") => {
                Self::NothingToMerge { message, call }
            }
            other => other,
        }
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
            assert!(format!("{seen:?}").starts_with(wanted), "{status}: wanted {wanted}, saw {seen:?}");
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
        assert!(matches!(exists, Error::AlreadyExists { .. }), "{exists:?}");
        let nothing = words("No commits between main and porter/task_1");
        assert!(matches!(nothing, Error::NothingToMerge { .. }), "{nothing:?}");
        let other = words("The base branch is gone");
        assert!(matches!(other, Error::Invalid { .. }), "{other:?}");
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
        let limited = Error::RateLimited { until: now - TimeDelta::seconds(5), call: call(403) };
        assert_eq!(limited.retry_at(now), Some(now));
        let down = Error::Unavailable { message: String::new(), retry_after: None, call: call(502) };
        assert_eq!(down.retry_at(now), None);
    }
}
