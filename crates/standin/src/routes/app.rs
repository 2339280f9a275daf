//! Routes of the App: registration, deliveries, installations, tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::{Access, AppCaller, Caller, Token, credential};
use super::super::state::RepositoryId;
use super::super::strict::{Body, Query, Reject};
use super::super::webhook::Signature;
use super::super::{Shared, payloads};
use super::{Window, page, with_links};

/// Lifetime of an installation token.
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(1);

pub(super) async fn show(_: AppCaller, State(shared): State<Arc<Shared>>) -> Json<Value> {
    let state = shared.state();
    let mut app = payloads::app(&state);
    app["installations_count"] = json!(state.installations.len());
    Json(app)
}

/// Returns the App's secrets for a code of the manifest flow, once.
pub(super) async fn convert_manifest(
    State(shared): State<Arc<Shared>>,
    Path(code): Path<String>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let mut state = shared.state();
    let known = state.manifest_codes.iter().position(|known| *known == code).ok_or_else(Reject::not_found)?;
    state.manifest_codes.swap_remove(known);
    let mut app = payloads::app(&state);
    app["client_secret"] = json!(shared.client_secret.expose_secret());
    app["webhook_secret"] = json!(shared.webhook_secret.expose_secret());
    app["pem"] = json!(shared.key.private_pem.expose_secret());
    Ok((StatusCode::CREATED, Json(app)))
}

pub(super) async fn hook_config(_: AppCaller, State(shared): State<Arc<Shared>>) -> Json<Value> {
    let url = shared.state().webhook_url.clone();
    let mut config = json!({ "content_type": "json", "insecure_ssl": "0", "secret": "********" });
    if let Some(url) = url {
        config["url"] = json!(url);
    }
    Json(config)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryWindow {
    per_page: Option<usize>,
    cursor: Option<String>,
    status: Option<Outcome>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Success,
    Failure,
}

pub(super) async fn deliveries(
    _: AppCaller,
    State(shared): State<Arc<Shared>>,
    Query(window): Query<DeliveryWindow>,
) -> Result<Response, Reject> {
    let size = window.per_page.unwrap_or(30).clamp(1, 100);
    let below = match window.cursor.as_deref() {
        None => u64::MAX,
        Some(cursor) => cursor
            .strip_prefix("v1_")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Reject::unprocessable("Invalid cursor"))?,
    };
    let mut matching = shared.list_deliveries();
    matching
        .retain(|d| d.id < below && window.status.is_none_or(|s| d.succeeded() == (s == Outcome::Success)));
    let more = matching.len() > size;
    matching.truncate(size);
    let mut links = Vec::new();
    if let Some(last) = matching.last().filter(|_| more) {
        let status = match window.status {
            None => "",
            Some(Outcome::Success) => "&status=success",
            Some(Outcome::Failure) => "&status=failure",
        };
        let base = shared.state().base_url.clone();
        let next = format!("{base}/app/hook/deliveries?per_page={size}{status}&cursor=v1_{}", last.id);
        links.push(format!("<{next}>; rel=\"next\""));
    }
    let items: Vec<_> = matching.iter().map(payloads::delivery).collect();
    Ok(with_links(&links, Json(items)))
}

pub(super) async fn redeliver(
    _: AppCaller,
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let outgoing = shared.find_redelivery(|delivery| delivery.id == id).ok_or_else(Reject::not_found)?;
    let sender = Arc::clone(&shared);
    tokio::spawn(async move { sender.send(outgoing, Signature::Valid).await.ok() });
    Ok((StatusCode::ACCEPTED, Json(json!({}))))
}

pub(super) async fn installations(
    _: AppCaller,
    State(shared): State<Arc<Shared>>,
    Query(window): Query<Window>,
) -> Response {
    let items: Vec<_> = {
        let state = shared.state();
        state.installations.iter().map(|installation| payloads::installation(&state, installation)).collect()
    };
    page(&shared, "/app/installations", "", window, items)
}

pub(super) async fn installation_of(
    _: AppCaller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
) -> Result<Json<Value>, Reject> {
    let state = shared.state();
    let repository = state.find_repository(&owner, &name).ok_or_else(Reject::not_found)?;
    let installation = state.find_installation_of(repository).ok_or_else(Reject::not_found)?;
    Ok(Json(payloads::installation(&state, installation)))
}

/// The requested scope of a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Narrowing {
    repositories: Option<Vec<String>>,
    repository_ids: Option<Vec<u64>>,
    permissions: Option<BTreeMap<String, Access>>,
}

pub(super) async fn issue_token(
    _: AppCaller,
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    Body(wanted): Body<Narrowing>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let mut state = shared.state();
    let installation = state.find_installation(id).ok_or_else(Reject::not_found)?.clone();
    if installation.suspended_at.is_some() {
        return Err(Reject::forbidden("This installation has been suspended"));
    }
    let covered: Vec<_> = state.repositories.iter().filter(|r| installation.covers(r)).collect();
    let mut narrowed = Vec::new();
    let names = wanted.repositories.iter().flatten();
    let by_name = names.map(|name| covered.iter().find(|r| r.name.eq_ignore_ascii_case(name)).map(|r| r.id));
    let ids = wanted.repository_ids.iter().flatten();
    let by_id = ids.map(|id| covered.iter().map(|r| r.id).find(|known| *known == RepositoryId(*id)));
    for found in by_name.chain(by_id) {
        narrowed.push(found.ok_or_else(|| {
            Reject::unprocessable(
                "There is at least one repository that does not exist or is not accessible to the parent \
                 installation.",
            )
        })?);
    }
    let is_narrowed = wanted.repositories.is_some() || wanted.repository_ids.is_some();
    let repositories: Vec<_> = covered
        .iter()
        .filter(|r| narrowed.contains(&r.id))
        .map(|r| payloads::repository(&state, r))
        .collect();
    let mut permissions = installation.permissions.clone();
    if let Some(wanted) = wanted.permissions {
        let granted =
            |(kind, access): (&String, &Access)| permissions.get(kind).is_some_and(|held| held >= access);
        if !wanted.iter().all(granted) {
            return Err(Reject::unprocessable(
                "The permissions requested are not granted to this installation.",
            ));
        }
        permissions = wanted;
        // GitHub adds `metadata: read`, which every App has.
        permissions.entry("metadata".to_owned()).or_insert(Access::Read);
    }
    let expires_at = shared.clock.now() + TOKEN_LIFE;
    let app_id = state.app.id;
    let token = Token {
        installation: id,
        repositories: is_narrowed.then_some(narrowed),
        permissions: permissions.clone(),
        expires_at,
    };
    let text = state.tokens.issue(app_id, token)?;
    let mut answer = json!({
        "token": text, "expires_at": payloads::time(expires_at), "permissions": permissions,
        "repository_selection": if is_narrowed { "selected" } else { "all" },
    });
    if is_narrowed {
        answer["repositories"] = Value::Array(repositories);
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn revoke_token(
    caller: Caller,
    headers: HeaderMap,
    State(shared): State<Arc<Shared>>,
) -> Result<StatusCode, Reject> {
    if let Caller::User(_) = caller {
        return Err(Reject::forbidden("Resource not accessible by integration"));
    }
    if let Some(text) = credential(&headers) {
        shared.state().tokens.revoke(&text);
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rate_limit(State(shared): State<Arc<Shared>>) -> Response {
    let rate = shared.state().rate.clone();
    let core = json!({
        "limit": rate.limit, "used": rate.used, "remaining": rate.remaining(), "reset": rate.reset.timestamp(),
        "resource": "core",
    });
    Json(json!({ "resources": { "core": core, "search": core }, "rate": core })).into_response()
}
