//! Error responses: `{error, message, requestId, action?, actionUrl?}` (main-spec §8). `error` is a stable code. A 5xx
//! response contains the request id and no internal details.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower_http::request_id::RequestId;

use crate::tasks;
use domain::errors::error_chain;

/// An error response. Its body is written by [`complete`], which knows the request's id.
#[derive(Clone, Debug)]
pub struct Error {
    status: StatusCode,
    code: &'static str,
    message: String,
    action: Option<&'static str>,
    action_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_url: Option<&'a str>,
}

impl Error {
    /// Creates a response with this status, code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), action: None, action_url: None }
    }

    /// Adds the suggested action and its URL.
    pub fn with_action(mut self, action: &'static str, url: String) -> Self {
        self.action = Some(action);
        self.action_url = Some(url);
        self
    }

    /// 400: the request is invalid; the message states why.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "this address does not take that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// Creates the response for a path, query or body that axum rejected.
    fn refusal(status: StatusCode) -> Self {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "payload_too_large", "the body is too large"),
            status => Self::new(status, "invalid_request", "the path, the query or the body cannot be read"),
        }
    }

    /// 503, until the GitHub App is configured.
    pub fn not_configured() -> Self {
        let message = "Porter has no GitHub App yet: set WEBHOOK_SECRET and the GITHUB_ variables";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_configured", message)
    }

    /// 500; the cause is only logged.
    pub fn internal(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = error_chain(cause), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on Porter's side")
    }

    /// 503: the database could not store the request; the sender should retry.
    pub fn unavailable(cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = error_chain(cause), "a request could not be recorded");
        let message = "Porter cannot record this at the moment; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        Self::unavailable(&error)
    }
}

impl From<tasks::Error> for Error {
    fn from(error: tasks::Error) -> Self {
        match error {
            tasks::Error::NotFound => Self::not_found("there is no such task"),
            tasks::Error::InvalidState(state) => {
                Self::new(StatusCode::CONFLICT, "invalid_state", state.to_string())
            }
            tasks::Error::Refused(message) => Self::new(StatusCode::CONFLICT, "invalid_state", message),
            tasks::Error::Db(error) => error.into(),
            tasks::Error::Github(error) if error.is_transient() => {
                tracing::warn!(
                    error = error_chain(&error),
                    "a request failed because GitHub is not available"
                );
                let message = "GitHub does not answer at the moment; try again";
                Self::new(StatusCode::BAD_GATEWAY, "github_unavailable", message)
            }
            tasks::Error::Github(error) => {
                match error.call.as_ref().and_then(|call| github_refusal(call.status()?)) {
                    Some((status, code)) => Self::new(status, code, error.to_string()),
                    None => Self::internal(&error),
                }
            }
            other => Self::internal(&other),
        }
    }
}

/// Maps a rejection by GitHub to a response. A rejection of Porter's own credential is not mapped, because the
/// caller cannot fix it.
fn github_refusal(status: u16) -> Option<(StatusCode, &'static str)> {
    match status {
        403 | 451 => Some((StatusCode::FORBIDDEN, "github_forbidden")),
        404 => Some((StatusCode::NOT_FOUND, "github_not_found")),
        410 => Some((StatusCode::GONE, "github_gone")),
        400 | 402 | 405..=499 => Some((StatusCode::UNPROCESSABLE_ENTITY, "github_refused")),
        _ => None,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the bodies of error responses, with the request's id.
pub(super) async fn complete(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.header_value().clone());
    let mut response = next.run(request).await;
    let error = match response.extensions_mut().remove::<Error>() {
        Some(error) => error,
        None if is_refusal(&response) => Error::refusal(response.status()),
        None => return response,
    };
    let body = ErrorBody {
        error: error.code,
        message: &error.message,
        request_id: id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
        action: error.action,
        action_url: error.action_url.as_deref(),
    };
    let text = serde_json::to_string(&body).unwrap_or_else(|_| "{}".to_owned());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(text);
    response
}

/// Returns whether axum rejected the request before a handler ran, which it reports as plain text.
fn is_refusal(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    response.status().is_client_error() && kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

/// Returns the response to a request whose handler panicked. The panic hook has logged the panic.
pub(super) fn panicked(_panic: Box<dyn std::any::Any + Send>) -> Response {
    let message = "something went wrong on Porter's side";
    Error::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message).into_response()
}
