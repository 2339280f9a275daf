//! Routes of the signed-in person: account, and the installations and repositories shared with the App.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Json, Response};
use serde_json::{Value, json};

use super::super::auth::Caller;
use super::super::state::{AccountKind, GithubState, Installation};
use super::super::strict::{Query, Reject};
use super::super::{Shared, payloads};
use super::{Window, page_within};

/// The login of a person's token; refused for the token of an installation.
fn person(caller: Caller) -> Result<String, Reject> {
    match caller {
        Caller::User(login) => Ok(login),
        Caller::Installation(_) => Err(Reject::forbidden("Resource not accessible by integration")),
    }
}

fn profile(state: &GithubState, login: &str) -> Value {
    let mut profile = payloads::account(state, login);
    for (key, value) in [
        ("name", json!(login)),
        ("company", Value::Null),
        ("blog", json!("")),
        ("location", Value::Null),
        ("email", Value::Null),
        ("hireable", Value::Null),
        ("bio", Value::Null),
        ("twitter_username", Value::Null),
        ("public_repos", json!(0)),
        ("public_gists", json!(0)),
        ("followers", json!(0)),
        ("following", json!(0)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("updated_at", json!("2020-01-01T00:00:00Z")),
    ] {
        profile[key] = value;
    }
    profile
}

pub(super) async fn show(caller: Caller, State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Reject> {
    let login = person(caller)?;
    Ok(Json(profile(&shared.state(), &login)))
}

pub(super) async fn by_login(
    _: Caller,
    State(shared): State<Arc<Shared>>,
    Path(login): Path<String>,
) -> Result<Json<Value>, Reject> {
    let state = shared.state();
    state.find_account(&login).ok_or_else(Reject::not_found)?;
    Ok(Json(profile(&state, &login)))
}

/// The organizations that own a repository of which the person is a collaborator.
pub(super) async fn organizations(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Query(window): Query<Window>,
) -> Result<Response, Reject> {
    let login = person(caller)?;
    let items: Vec<_> = {
        let state = shared.state();
        let organizations =
            state.accounts.values().filter(|account| account.kind == AccountKind::Organization);
        let own = organizations.filter(|account| {
            let mut theirs =
                state.repositories.iter().filter(|r| r.owner.eq_ignore_ascii_case(&account.login));
            theirs.any(|repository| state.find_permission(repository, &login).is_some())
        });
        own.map(|account| payloads::account(&state, &account.login)).collect()
    };
    Ok(super::page(&shared, "/user/orgs", "", window, items))
}

/// The repositories of an installation of which the person is a collaborator.
fn shared_repositories(state: &GithubState, installation: &Installation, login: &str) -> Vec<Value> {
    let covered = state.repositories.iter().filter(|repository| installation.covers(repository));
    let own = covered.filter(|repository| state.find_permission(repository, login).is_some());
    own.map(|repository| payloads::repository(state, repository)).collect()
}

pub(super) async fn installations(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Query(window): Query<Window>,
) -> Result<Response, Reject> {
    let login = person(caller)?;
    let items: Vec<_> = {
        let state = shared.state();
        let visible = state.installations.iter().filter(|installation| {
            installation.account.eq_ignore_ascii_case(&login)
                || !shared_repositories(&state, installation, &login).is_empty()
        });
        visible.map(|installation| payloads::installation(&state, installation)).collect()
    };
    Ok(page_within(&shared, "installations", "/user/installations", window, items))
}

pub(super) async fn repositories(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path(id): Path<u64>,
    Query(window): Query<Window>,
) -> Result<Response, Reject> {
    let login = person(caller)?;
    let items = {
        let state = shared.state();
        let installation = state.find_installation(id).ok_or_else(Reject::not_found)?;
        shared_repositories(&state, installation, &login)
    };
    let path = format!("/user/installations/{id}/repositories");
    Ok(page_within(&shared, "repositories", &path, window, items))
}
