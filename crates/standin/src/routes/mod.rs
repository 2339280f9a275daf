//! The routes: the calls that Porter makes, git, and the pages.

mod app;
mod comments;
mod issues;
mod pulls;
mod repos;
mod sign_in;
mod user;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, git_http, middleware, pages};

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let api = api().route_layer(from_fn_with_state(Arc::clone(&shared), middleware::api));
    Router::new()
        .nest("/api/v3", api.clone())
        .merge(api)
        .merge(git_and_pages())
        .fallback(middleware::unknown)
        .method_not_allowed_fallback(middleware::unknown)
        .layer(from_fn_with_state(Arc::clone(&shared), middleware::record_request))
        .with_state(shared)
}

fn api() -> Router<Arc<Shared>> {
    Router::new()
        .route("/app", get(app::show))
        .route("/app/hook/config", get(app::hook_config))
        .route("/app/hook/deliveries", get(app::deliveries))
        .route("/app/hook/deliveries/{id}/attempts", post(app::redeliver))
        .route("/app-manifests/{code}/conversions", post(app::convert_manifest))
        .route("/app/installations", get(app::installations))
        .route("/app/installations/{id}/access_tokens", post(app::issue_token))
        .route("/installation/token", delete(app::revoke_token))
        .route("/user", get(user::show))
        .route("/user/orgs", get(user::organizations))
        .route("/user/installations", get(user::installations))
        .route("/user/installations/{id}/repositories", get(user::repositories))
        .route("/users/{login}", get(user::by_login))
        .route("/rate_limit", get(app::rate_limit))
        .route("/repos/{owner}/{repo}", get(repos::show))
        .route("/repos/{owner}/{repo}/installation", get(app::installation_of))
        .route("/repos/{owner}/{repo}/collaborators/{login}/permission", get(repos::permission))
        .route("/repos/{owner}/{repo}/branches/{*branch}", get(repos::branch))
        .route("/repos/{owner}/{repo}/git/ref/{*reference}", get(repos::reference))
        .route("/repos/{owner}/{repo}/commits/{*reference}", get(repos::commit))
        .route("/repos/{owner}/{repo}/compare/{*basehead}", get(repos::compare))
        .route("/repos/{owner}/{repo}/contents/{*path}", get(repos::contents))
        .route("/repos/{owner}/{repo}/issues", post(issues::create))
        .route("/repos/{owner}/{repo}/issues/{number}", get(issues::show))
        .route("/repos/{owner}/{repo}/issues/{number}/labels", get(issues::labels).post(issues::add_labels))
        .route("/repos/{owner}/{repo}/issues/{number}/labels/{name}", delete(issues::remove_label))
        .route("/repos/{owner}/{repo}/issues/{number}/assignees", post(issues::assign))
        .route("/repos/{owner}/{repo}/issues/{number}/comments", get(comments::list).post(comments::create))
        .route("/repos/{owner}/{repo}/issues/comments/{id}", get(comments::show).patch(comments::edit))
        .route("/repos/{owner}/{repo}/issues/comments/{id}/reactions", post(comments::react))
        .route("/repos/{owner}/{repo}/pulls", get(pulls::list).post(pulls::create))
        .route("/repos/{owner}/{repo}/pulls/{number}", get(pulls::show))
        .route("/repos/{owner}/{repo}/pulls/{number}/requested_reviewers", post(pulls::request_reviewers))
}

fn git_and_pages() -> Router<Arc<Shared>> {
    Router::new()
        .route("/login/oauth/authorize", get(sign_in::authorize))
        .route("/login/oauth/access_token", post(sign_in::exchange))
        .route("/{owner}/{repo}/info/refs", get(git_http::info_refs))
        .route("/{owner}/{repo}/git-upload-pack", post(git_http::upload_pack))
        .route("/{owner}/{repo}/git-receive-pack", post(git_http::receive_pack))
        .route("/{owner}/{repo}", get(pages::repository))
        .route("/{owner}/{repo}/tree/{*branch}", get(pages::tree))
        .route("/{owner}/{repo}/commit/{sha}", get(pages::commit))
        .route("/{owner}/{repo}/issues/{number}", get(pages::issue))
        .route("/{owner}/{repo}/pull/{number}", get(pages::issue))
        // Browsers request this icon by themselves.
        .route("/favicon.ico", get(async || StatusCode::NO_CONTENT))
}

/// The requested page of a list, with GitHub's defaults and limits.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    per_page: Option<usize>,
    page: Option<usize>,
}

/// A page of a list, with a `Link` header if there are other pages; `query` is part of the links.
fn page(shared: &Shared, path: &str, query: &str, window: Window, items: Vec<Value>) -> Response {
    let (links, items) = closer(shared, path, query, window, items);
    with_links(&links, Json(items))
}

/// A page of a list inside an object with the total count.
fn page_within(shared: &Shared, key: &str, path: &str, window: Window, items: Vec<Value>) -> Response {
    let total = items.len();
    let (links, items) = closer(shared, path, "", window, items);
    with_links(&links, Json(json!({ "total_count": total, key: items })))
}

fn closer(
    shared: &Shared,
    path: &str,
    query: &str,
    window: Window,
    items: Vec<Value>,
) -> (Vec<String>, Vec<Value>) {
    let size = window.per_page.unwrap_or(30).clamp(1, 100);
    let current = window.page.unwrap_or(1).max(1);
    let last = items.len().div_ceil(size).max(1);
    let base = shared.state().base_url.clone();
    let link = |page: usize, relation: &str| {
        format!("<{base}{path}?{query}per_page={size}&page={page}>; rel=\"{relation}\"")
    };
    let mut links = Vec::new();
    if current > 1 {
        links.push(link((current - 1).min(last), "prev"));
    }
    if current < last {
        links.push(link(current + 1, "next"));
        links.push(link(last, "last"));
    }
    if current > 1 {
        links.push(link(1, "first"));
    }
    let items = items.into_iter().skip((current - 1).saturating_mul(size)).take(size).collect();
    (links, items)
}

fn with_links(links: &[String], body: impl IntoResponse) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(value) = (!links.is_empty()).then(|| HeaderValue::from_str(&links.join(", ")).ok()).flatten()
    {
        headers.insert(header::LINK, value);
    }
    (headers, body).into_response()
}
