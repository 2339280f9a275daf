//! Strict extractors for requests, and error responses with GitHub's messages.
//!
//! GitHub ignores unknown fields and parameters. Here they are refused and recorded as a violation, on which
//! a test can fail.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, request};
use axum::response::{IntoResponse, Json, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Shared;
use super::middleware::RequestIndex;

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// An error response in GitHub's format.
#[derive(Debug)]
pub(super) struct Reject {
    status: StatusCode,
    message: String,
    errors: Option<Value>,
}

impl Reject {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: None }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// 422 `Validation Failed` with one error.
    pub(super) fn validation(error: Value) -> Self {
        Self { errors: Some(json!([error])), ..Self::unprocessable("Validation Failed") }
    }

    /// 500 for a failure of the stand-in. The message contains the cause for the developer.
    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the stand-in failed: {error}"))
    }
}

impl From<super::git::Error> for Reject {
    fn from(error: super::git::Error) -> Self {
        Self::broken(&error)
    }
}

impl From<super::Error> for Reject {
    fn from(error: super::Error) -> Self {
        Self::broken(&error)
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        let mut body = json!({
            "message": self.message,
            "documentation_url": DOCUMENTATION,
            "status": self.status.as_u16().to_string(),
        });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        (self.status, Json(body)).into_response()
    }
}

/// A JSON body of exactly this type; an empty body is read as `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Body<T> {
    type Rejection = Reject;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Reject> {
        let seen = request.extensions().get::<RequestIndex>().copied();
        let place = format!("{} {}", request.method(), request.uri().path());
        let bytes = Bytes::from_request(request, shared)
            .await
            .map_err(|error| Reject::new(error.status(), error.body_text()))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice::<Value>(text).map_err(|error| {
            shared.violation(format!("{place}: the body is not JSON: {error}"));
            Reject::new(StatusCode::BAD_REQUEST, "Problems parsing JSON")
        })?;
        shared.record_body(seen, &value);
        let body = serde_json::from_value(value).map_err(|error| {
            shared.violation(format!("{place}: {error}"));
            Reject::unprocessable(format!("Invalid request.\n\n{error}"))
        })?;
        Ok(Self(body))
    }
}

/// Query parameters of exactly this type.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Query<T> {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut request::Parts, shared: &Arc<Shared>) -> Result<Self, Reject> {
        let place = format!("{} {}", parts.method, parts.uri);
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            shared.violation(format!("{place}: {}", error.body_text()));
            Reject::unprocessable(format!("Invalid request.\n\n{}", error.body_text()))
        })
    }
}
