//! Middleware for all requests: request log, faults, GitHub's headers, rate limit, ETags.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_TYPE, DATE, ETAG, IF_NONE_MATCH, RETRY_AFTER, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Shared;
use super::faults::{Effect, Stage};
use super::listener::ConnectionCloser;
use super::strict::Reject;

/// The REST API versions that GitHub supports.
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as GET or POST.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query without `?`; empty if there is none.
    pub query: String,
    /// The JSON body, for calls that have one.
    pub body: Option<Value>,
    /// The status of the response; `None` before the response, or if the connection was dropped.
    pub status: Option<u16>,
    /// Time of arrival, by the stand-in's clock.
    pub at: DateTime<Utc>,
    /// Time of arrival as real time since the start, to measure the interval between two calls.
    pub elapsed: Duration,
}

impl Request {
    /// Whether the request can change something through the REST API. A push does not count.
    pub fn is_mutation(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD") && !self.path.contains(".git/")
    }
}

/// Index of a request in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestIndex(usize);

/// The primary rate limit, shared by all callers. GitHub has one per installation.
#[derive(Clone, Debug)]
pub(super) struct RateLimit {
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) reset: DateTime<Utc>,
}

impl RateLimit {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { limit: 5000, used: 0, reset: now + TimeDelta::hours(1) }
    }

    pub(super) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Counts a call. Returns false if the limit is reached.
    fn take(&mut self, now: DateTime<Utc>) -> bool {
        if now >= self.reset {
            *self = Self { used: 0, reset: now + TimeDelta::hours(1), ..*self };
        }
        let left = self.remaining() > 0;
        self.used += u64::from(left);
        left
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit", self.limit.into());
        headers.insert("x-ratelimit-remaining", self.remaining().into());
        headers.insert("x-ratelimit-used", self.used.into());
        headers.insert("x-ratelimit-reset", self.reset.timestamp().into());
        headers.insert("x-ratelimit-resource", HeaderValue::from_static("core"));
    }
}

impl Shared {
    pub(super) fn record_body(&self, seen: Option<RequestIndex>, body: &Value) {
        if let Some(RequestIndex(index)) = seen {
            self.state().requests[index].body = Some(body.clone());
        }
    }
}

/// The outermost middleware, for API, git and pages: records the request and applies faults.
pub(super) async fn record_request(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(closer): ConnectInfo<ConnectionCloser>,
    mut request: axum::extract::Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let (seen, fault) = {
        let mut state = shared.state();
        state.requests.push(Request {
            method: method.to_string(),
            path: path.clone(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            body: None,
            status: None,
            at: shared.clock.now(),
            elapsed: shared.started.elapsed(),
        });
        (RequestIndex(state.requests.len() - 1), state.faults.match_fault(&method, &path))
    };
    shared.changed();
    request.extensions_mut().insert(seen);
    let mut response = match fault {
        None => next.run(request).await,
        Some((Stage::Before, effect)) => apply_fault(&shared, effect, &closer).await,
        Some((Stage::After, effect)) => {
            // git streams its response: its effect is complete at the end of the body.
            to_bytes(next.run(request).await.into_body(), usize::MAX).await.ok();
            shared.changed();
            apply_fault(&shared, effect, &closer).await
        }
    };
    // The HTTP server would set `Date` from the system's clock, but clients compute rate limits from this
    // header.
    let date = shared.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
    if !matches!(fault, Some((_, Effect::Drop))) {
        shared.state().requests[seen.0].status = Some(response.status().as_u16());
    }
    shared.changed();
    response
}

async fn apply_fault(shared: &Shared, effect: Effect, closer: &ConnectionCloser) -> Response {
    let limited = |status, message: &str| Reject::new(status, message).into_response();
    match effect {
        Effect::PrimaryLimit(resets_in) => {
            let now = shared.clock.now();
            let spent = RateLimit { limit: 5000, used: 5000, reset: now + resets_in };
            let mut response =
                limited(StatusCode::FORBIDDEN, "API rate limit exceeded for installation ID 1.");
            spent.write(response.headers_mut());
            response
        }
        Effect::SecondaryLimit(seconds) => {
            let message =
                "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            let mut response = limited(StatusCode::FORBIDDEN, message);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Effect::TooManyRequests(seconds) => {
            let mut response = limited(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Effect::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, status.canonical_reason().unwrap_or_default()).into_response()
        }
        Effect::Drop => {
            closer.close();
            StatusCode::BAD_GATEWAY.into_response()
        }
        Effect::Hang => std::future::pending().await,
    }
}

/// Middleware of the REST API: the headers that GitHub requires, and those of every response.
pub(super) async fn api(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let get = request.method() == Method::GET;
    let if_none_match = headers.get(IF_NONE_MATCH).cloned();
    let version = headers.get("x-github-api-version").cloned();
    let place = format!("{} {}", request.method(), request.uri().path());
    let unmetered = request.uri().path().ends_with("/rate_limit");

    let response = if !headers.contains_key(USER_AGENT) {
        shared.violation(format!("{place}: no User-Agent"));
        let demand = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header";
        Reject::forbidden(demand).into_response()
    } else if version.as_ref().is_some_and(|v| !v.to_str().is_ok_and(|v| VERSIONS.contains(&v))) {
        shared.violation(format!("{place}: unknown X-GitHub-Api-Version {version:?}"));
        Reject::new(StatusCode::BAD_REQUEST, "X-GitHub-Api-Version is not supported").into_response()
    } else if !unmetered && !shared.state().rate.take(shared.clock.now()) {
        Reject::forbidden("API rate limit exceeded for installation ID 1.").into_response()
    } else {
        next.run(request).await
    };

    let mut response = if get { add_etag(&shared, response, if_none_match.as_ref()).await } else { response };
    let headers = response.headers_mut();
    shared.state().rate.write(headers);
    headers.insert("x-github-media-type", HeaderValue::from_static("github.v3; format=json"));
    let selected = version.unwrap_or(HeaderValue::from_static(VERSIONS[0]));
    headers.insert("x-github-api-version-selected", selected);
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()) {
        headers.insert("x-github-request-id", id);
    }
    response
}

/// Adds an ETag to a successful response; answers 304 if the caller has the same one. A 304 does not count
/// against the rate limit.
async fn add_etag(shared: &Shared, response: Response, if_none_match: Option<&HeaderValue>) -> Response {
    if response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let tag = format!("W/\"{}\"", hex::encode(Sha256::digest(&bytes)));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(ETAG, value);
    }
    if if_none_match.is_some_and(|value| value.as_bytes() == tag.as_bytes()) {
        let mut state = shared.state();
        state.rate.used = state.rate.used.saturating_sub(1);
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// The fallback for unknown paths and methods.
pub(super) async fn unknown(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Reject {
    shared.violation(format!("{} {} is not a route of the stand-in", request.method(), request.uri().path()));
    Reject::not_found()
}
