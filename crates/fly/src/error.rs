//! What can go wrong at Fly, told apart by what the caller does next.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// How long to wait after a 429 that names no time: limits are per second (Fly's documentation).
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
/// Longest wait that is believed; more is a mistake of whoever sent it.
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// How much of Fly's explanation is kept, in characters.
const MAX_MESSAGE: usize = 4000;

/// Why Fly did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 429: ask again after this time, not earlier.
    #[error("Fly allows no more calls for {} s", .after.as_secs_f32().ceil())]
    RateLimited {
        /// How long to wait.
        after: Duration,
    },
    /// 408, 5xx, a time limit, or a lost connection. What was asked for may have happened.
    #[error("Fly did not answer{}", .status.map(|status| format!(" properly (HTTP {status})")).unwrap_or_default())]
    Unavailable {
        /// The status, when there was an answer.
        status: Option<u16>,
        /// What the connection said, when there was none.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// 401: not a token, expired, or revoked.
    #[error("Fly does not accept the token")]
    InvalidToken,
    /// 403: the token is good, but not for this.
    #[error("Fly does not let this token do that")]
    Forbidden,
    /// 404.
    #[error("Fly knows no such app or machine")]
    NotFound,
    /// 409, or a name that is taken: something else is there or under way.
    #[error("Fly reports a conflict: {message}")]
    Conflict {
        /// Fly's words.
        message: String,
    },
    /// No host has room at present.
    #[error("Fly has no capacity for this machine at present: {message}")]
    NoCapacity {
        /// Fly's words.
        message: String,
    },
    /// Any other 4xx: asking again would be answered the same.
    #[error("Fly refused: {message}")]
    Rejected {
        /// Fly's words.
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

/// The body of an answer that is not 2xx (`ErrorResponse` in Fly's description).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: String,
    /// `unknown`, `insufficient_capacity`, `volume_placement_capacity`, `name_taken`. The HTTP status that
    /// goes with each is not documented, so this word comes first.
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
        // 5xx, and the redirects the API never sends.
        (_, status) => Error::Unavailable { status: Some(status.as_u16()), source: None },
    }
}

/// `Retry-After` in seconds; Fly sends no dates there.
fn wait(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(DEFAULT_WAIT, |wait| wait.min(MAX_WAIT))
}

/// One line of bounded length, without control characters.
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
    fn a_retry_after_is_read_and_bounded() {
        assert_eq!(wait(&headers("7")), Duration::from_secs(7));
        assert_eq!(wait(&headers("0.5")), Duration::from_millis(500));
        assert_eq!(wait(&headers("999999999")), MAX_WAIT);
        assert_eq!(wait(&headers("-1")), DEFAULT_WAIT);
        assert_eq!(wait(&headers("soon")), DEFAULT_WAIT);
        assert_eq!(wait(&HeaderMap::new()), DEFAULT_WAIT);
    }

    #[test]
    fn an_explanation_becomes_one_short_line() {
        assert_eq!(plain("a\nb\u{1b}[31m "), "a b [31m");
        assert_eq!(plain(&"é".repeat(9000)).chars().count(), MAX_MESSAGE);
    }
}
