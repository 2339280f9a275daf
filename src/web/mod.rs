//! HTTP: routes, middleware, and one file per resource. A handler receives verified input
//! ([`webhook::VerifiedWebhook`], [`callbacks::AuthenticatedWorker`], [`session::SignedInUser`]) or does not
//! run. Decisions are made in `tasks` and `accounts`; handlers may read directly from `db`.

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::{HeaderName, HeaderValue, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};

mod body_limit;
mod callbacks;
mod cross_site;
mod error;
pub mod health;
mod pages;
mod server;
mod session;
mod state;
mod tasks;
mod webhook;

use body_limit::LimitBody;
pub use error::Error;
pub use server::serve;
pub use session::SESSION_COOKIE;
use state::Configured;
pub use state::{Service, ServiceSlot, Site};
use tasks::create;

/// Creates the router with all routes.
pub fn router(site: Site) -> Router {
    let id = HeaderName::from_static("x-request-id");
    // Failures are logged where they occur, with their cause.
    let trace = TraceLayer::new_for_http()
        .make_span_with(span)
        .on_request(())
        .on_response(DefaultOnResponse::new().level(tracing::Level::DEBUG))
        .on_failure(());
    let header = |name, value| {
        SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let layers = ServiceBuilder::new()
        .map_request(own_id)
        .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
        .layer(trace)
        .layer(PropagateRequestIdLayer::new(id))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("referrer-policy", "same-origin"))
        .layer(from_fn(error::complete))
        .layer(DefaultBodyLimit::max(0))
        .layer(CatchPanicLayer::custom(error::panicked));
    Router::new()
        .route("/", get(pages::home))
        .route("/tasks/{id}", get(pages::task))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/api/startup/check", get(health::startup))
        .route("/api/webhooks/github", post(webhook::receive).limit_body(webhook::BODY))
        .route("/api/callbacks/complete", post(callbacks::complete).limit_body(callbacks::BODY))
        .route("/api/callbacks/progress", post(callbacks::progress).limit_body(callbacks::BODY))
        .route("/api/tasks", post(create::create).limit_body(create::BODY).get(tasks::list::active_first))
        .route("/api/tasks/history", get(tasks::list::history))
        .route("/api/tasks/{id}", get(tasks::show))
        .route("/api/tasks/{id}/status", get(tasks::status))
        .route("/api/tasks/{id}/events", get(tasks::events::stream))
        .route("/api/tasks/{id}/retry", post(tasks::retry))
        .route("/api/tasks/{id}/stop", post(tasks::stop))
        .fallback(|| async { Error::not_found("there is nothing at this address") })
        .method_not_allowed_fallback(|| async { Error::method_not_allowed() })
        .layer(from_fn_with_state(ServiceSlot::from_ref(&site), cross_site::refuse))
        .layer(layers)
        .with_state(site)
}

/// Keeps a request's `X-Request-Id` if it is a short word, because it is written to logs and responses.
fn own_id<B>(mut request: Request<B>) -> Request<B> {
    let plain = |id: &HeaderValue| {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=64).contains(&id.len()) && id.as_bytes().iter().all(word)
    };
    if !request.headers().get("x-request-id").is_none_or(plain) {
        request.headers_mut().remove("x-request-id");
    }
    request
}

fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    tracing::info_span!(
        "request",
        http.request_id = id.unwrap_or_default(),
        http.method = %request.method(),
        http.path = request.uri().path(),
    )
}
