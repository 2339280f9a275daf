//! Errors of Fly's API, classified by what the caller does next.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// The wait after a 429 without a time: Fly's limits are per second (Fly's documentation).
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// The maximum wait that is accepted; a longer one is assumed to be a mistake.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The maximum length of Fly's message that is kept, in characters.
const MAX_MESSAGE: usize = 4000;

/// The reason a call to Fly failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 429: the call may be repeated after this time.
    #[error("Fly's rate limit is exceeded; retry after {} s", .after.as_secs_f32().ceil())]
    RateLimited {
        /// The time to wait.
        after: Duration,
    },
    /// 408, 5xx, a timeout, or a lost connection. The call may have taken effect.
    #[error("Fly did not answer{}", .status.map(|status| format!(" properly (HTTP {status})")).unwrap_or_default())]
    Unavailable {
        /// The status, if there was a response.
        status: Option<u16>,
        /// The connection error, if there was no response.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// 401: the token is malformed, expired or revoked.
    #[error("Fly does not accept the token")]
    InvalidToken,
    /// 403: the token is valid but lacks the permission.
    #[error("the Fly token lacks the permission for this call")]
    Forbidden,
    /// 404.
    #[error("Fly has no such app or machine")]
    NotFound,
    /// 409, or a name that is taken: the resource exists or another operation is in progress.
    #[error("Fly reports a conflict: {message}")]
    Conflict {
        /// Fly's message.
        message: String,
    },
    /// No host has capacity at present.
    #[error("Fly has no capacity for this machine at present: {message}")]
    NoCapacity {
        /// Fly's message.
        message: String,
    },
    /// Any other 4xx: a retry would fail with the same error.
    #[error("Fly refused: {message}")]
    Rejected {
        /// Fly's message.
        message: String,
    },
}

impl Error {
    pub(super) fn rejected(message: &str) -> Self {
        Self::Rejected { message: message.to_owned() }
    }

    pub(super) fn lost(error: reqwest::Error) -> Self {
        Self::Unavailable { status: None, source: Some(error.without_url()) }
    }
}

/// The body of a response other than 2xx (`ErrorResponse` in Fly's API description).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: String,
    /// `unknown`, `insufficient_capacity`, `volume_placement_capacity` or `name_taken`. The HTTP status of each is
    /// not documented, so this field takes precedence.
    status: String,
}

pub(super) async fn from_answer(answer: Response) -> Error {
    let status = answer.status();
    let after = wait(answer.headers());
    let text = answer.text().await.unwrap_or_default();
    let body: Body = serde_json::from_str(&text).unwrap_or_default();
    let message =
        if body.error.is_empty() { format!("HTTP {}", status.as_u16()) } else { plain(&body.error) };
    match (body.status.as_str(), status) {
        ("insufficient_capacity" | "volume_placement_capacity", _) => Error::NoCapacity { message },
        ("name_taken", _) | (_, StatusCode::CONFLICT) => Error::Conflict { message },
        (_, StatusCode::TOO_MANY_REQUESTS) => Error::RateLimited { after },
        (_, StatusCode::UNAUTHORIZED) => Error::InvalidToken,
        (_, StatusCode::FORBIDDEN) => Error::Forbidden,
        (_, StatusCode::NOT_FOUND) => Error::NotFound,
        (_, StatusCode::REQUEST_TIMEOUT) => Error::Unavailable { status: Some(408), source: None },
        (_, status) if status.is_client_error() => Error::Rejected { message },
        // 5xx, and redirects, which the API does not send.
        (_, status) => Error::Unavailable { status: Some(status.as_u16()), source: None },
    }
}

/// Reads `Retry-After` in seconds; Fly sends no dates.
fn wait(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(DEFAULT_WAIT, |wait| wait.min(MAX_WAIT))
}

/// Converts the text to one line of limited length without control characters.
fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, retry_after.parse().expect("a header value"))])
    }

    #[test]
    fn retry_after_is_read_and_limited() {
        assert_eq!(wait(&headers("7")), Duration::from_secs(7));
        assert_eq!(wait(&headers("0.5")), Duration::from_millis(500));
        assert_eq!(wait(&headers("999999999")), MAX_WAIT);
        assert_eq!(wait(&headers("-1")), DEFAULT_WAIT);
        assert_eq!(wait(&headers("soon")), DEFAULT_WAIT);
        assert_eq!(wait(&HeaderMap::new()), DEFAULT_WAIT);
    }

    #[test]
    fn a_message_becomes_one_short_line() {
        assert_eq!(plain("a\nb\u{1b}[31m "), "a b [31m");
        assert_eq!(plain(&"é".repeat(9000)).chars().count(), MAX_MESSAGE);
    }
}
