//! `POST /api/callbacks/complete` and `…/progress`: the workers' reports (main-spec §7). The token is checked
//! before the task is looked up, and no handler waits for GitHub.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::body_limit::BodyLimit;
use super::{Configured, Error, Site};
use crate::tasks::reports::{Callbacks, Recorded};
use domain::report::{Completion, Progress, ProgressAnswer};
use domain::task::TaskId;

/// The limit of a report; a worker's are far smaller.
pub(super) const BODY: BodyLimit = BodyLimit { bytes: 2 * 1024 * 1024, time: Duration::from_secs(30) };

/// A report that is authenticated with the token of its attempt.
pub(super) struct AuthenticatedWorker<R> {
    task: TaskId,
    report: R,
}

/// The common part of both kinds of report.
pub(super) trait Report: DeserializeOwned {
    fn subject(&self) -> (&str, u32);
    fn token(&self) -> Option<&str>;
}

impl Report for Completion {
    fn subject(&self) -> (&str, u32) {
        (self.task(), self.attempt)
    }

    fn token(&self) -> Option<&str> {
        self.callback_token.as_deref()
    }
}

impl Report for Progress {
    fn subject(&self) -> (&str, u32) {
        (self.task(), self.attempt)
    }

    fn token(&self) -> Option<&str> {
        self.callback_token.as_deref()
    }
}

impl<R: Report> FromRequest<Site> for AuthenticatedWorker<R> {
    type Rejection = Error;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let Configured(callbacks) = Configured::<Callbacks>::from_request_parts(&mut parts, site).await?;
        let request = Request::from_parts(parts, body);
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, site).await.map_err(|error| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Error::new(error.status(), "payload_too_large", "the body is larger than 2 MiB")
            }
            status => Error::new(status, "invalid_request", "the body cannot be read"),
        })?;
        let report: R = serde_json::from_slice(&body)
            .map_err(|error| Error::bad_request(format!("the report cannot be read: {error}")))?;
        let (task, attempt) = report.subject();
        let task = TaskId::parse(task).ok_or_else(unauthorized)?;
        let token = token(&headers).or(report.token()).unwrap_or_default();
        if !callbacks.is_authentic(&task, attempt, token) {
            return Err(unauthorized());
        }
        Ok(Self { task, report })
    }
}

/// Records the result of an attempt.
pub(super) async fn complete(
    Configured(callbacks): Configured<Callbacks>,
    worker: AuthenticatedWorker<Completion>,
) -> Result<Response, Error> {
    let (task, duplicate) = match callbacks.complete(&worker.task, worker.report).await? {
        Recorded::New(task) => (task, false),
        Recorded::Duplicate(task) => (task, true),
        Recorded::OtherAttempt => return Err(unauthorized()),
    };
    let mut body = json!({ "ok": true, "taskId": task.id, "status": task.status });
    if duplicate {
        body["duplicate"] = true.into();
    }
    Ok(Json(body).into_response())
}

/// Records progress of an attempt.
pub(super) async fn progress(
    Configured(callbacks): Configured<Callbacks>,
    worker: AuthenticatedWorker<Progress>,
) -> Result<Json<ProgressAnswer>, Error> {
    match callbacks.progress(&worker.task, worker.report).await? {
        Some(cancel) => Ok(Json(ProgressAnswer { ok: true, cancel })),
        None => Err(unauthorized()),
    }
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-porter-callback-token")?.to_str().ok()
}

fn unauthorized() -> Error {
    let message = "the callback token is missing, wrong, or of another attempt";
    Error::new(StatusCode::UNAUTHORIZED, "invalid_callback_token", message)
}
