//! Routes of issues, and of labels and assignees of issues and pull requests.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::actions::issue_event;
use super::super::auth::{Access, Caller};
use super::super::state::{GithubState, Permission, Repository, RepositoryId};
use super::super::strict::{Body, Query, Reject};
use super::super::{Shared, payloads};
use super::{Window, page};

/// Permissions to read an issue; either is sufficient.
pub(super) const READ: &[(&str, Access)] = &[("issues", Access::Read), ("pull_requests", Access::Read)];
/// Permissions to change an issue; either is sufficient.
pub(super) const WRITE: &[(&str, Access)] = &[("issues", Access::Write), ("pull_requests", Access::Write)];
/// GitHub's maximum length of a body.
const MAX_BODY_CHARS: usize = 65_536;

/// Refuses a text that is too long for GitHub.
pub(super) fn check_length(resource: &str, body: Option<&str>) -> Result<(), Reject> {
    if body.is_none_or(|body| body.chars().count() <= MAX_BODY_CHARS) {
        return Ok(());
    }
    let message = format!("body is too long (maximum is {MAX_BODY_CHARS} characters)");
    Err(Reject::validation(json!({
        "resource": resource, "code": "custom", "field": "body",
        "message": message.replacen('b', "B", 1),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewIssue {
    title: String,
    body: Option<String>,
    labels: Option<Vec<String>>,
    assignees: Option<Vec<String>>,
    milestone: Option<u64>,
}

pub(super) async fn create(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    Body(new): Body<NewIssue>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let now = shared.clock.now();
    let (shown, outgoing) = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), &[("issues", Access::Write)])?.id;
        check_length("Issue", new.body.as_deref())?;
        if new.title.trim().is_empty() {
            return Err(Reject::validation(
                json!({ "resource": "Issue", "code": "missing_field", "field": "title" }),
            ));
        }
        if new.milestone.is_some() {
            return Err(Reject::validation(
                json!({ "resource": "Issue", "code": "invalid", "field": "milestone" }),
            ));
        }
        let author = caller.login(&state);
        let number = state
            .add_issue(repository, &author, (&new.title, new.body), None, now)
            .ok_or_else(Reject::not_found)?;
        state.add_labels(repository, number, &new.labels.unwrap_or_default());
        add_assignees(&mut state, repository, number, &new.assignees.unwrap_or_default());
        let event = issue_event(&state, repository, number, "opened", &author);
        (show_issue(&state, repository, number)?, event)
    };
    if let Some(outgoing) = outgoing {
        shared.send_later(outgoing);
    }
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn show(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
) -> Result<Json<Value>, Reject> {
    let state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), READ)?.id;
    Ok(Json(show_issue(&state, repository, number)?))
}

pub(super) async fn labels(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Query(window): Query<Window>,
) -> Result<Response, Reject> {
    let items = {
        let state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), READ)?;
        list_labels(&state, repository, number)?
    };
    Ok(page(&shared, &format!("/repos/{owner}/{name}/issues/{number}/labels"), "", window, items))
}

/// GitHub accepts an object or the list itself.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum NewLabels {
    List(Vec<String>),
    Object(LabelObject),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelObject {
    labels: Vec<String>,
}

pub(super) async fn add_labels(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Body(new): Body<NewLabels>,
) -> Result<Json<Value>, Reject> {
    let (NewLabels::List(labels) | NewLabels::Object(LabelObject { labels })) = new;
    let (shown, outgoing) = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
        // GitHub's maximum length of a label's name.
        if labels.iter().any(|label| label.trim().is_empty() || label.chars().count() > 50) {
            return Err(Reject::validation(
                json!({ "resource": "Label", "code": "invalid", "field": "name" }),
            ));
        }
        state.add_labels(repository, number, &labels).ok_or_else(Reject::not_found)?;
        let event = labelled(&state, repository, number, "labeled", &caller.login(&state));
        let found = state.repository(repository).ok_or_else(Reject::not_found)?;
        (list_labels(&state, found, number)?, event)
    };
    if let Some(outgoing) = outgoing {
        shared.send_later(outgoing);
    }
    Ok(Json(Value::Array(shown)))
}

pub(super) async fn remove_label(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number, label)): Path<(String, String, u64, String)>,
) -> Result<Json<Value>, Reject> {
    let (shown, outgoing) = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
        let held = state.repository_mut(repository).ok_or_else(Reject::not_found)?;
        let issue = held.issues.get_mut(&number).ok_or_else(Reject::not_found)?;
        let before = issue.labels.len();
        issue.labels.retain(|held| !held.eq_ignore_ascii_case(&label));
        if issue.labels.len() == before {
            return Err(Reject::new(StatusCode::NOT_FOUND, "Label does not exist"));
        }
        let event = labelled(&state, repository, number, "unlabeled", &caller.login(&state));
        let found = state.repository(repository).ok_or_else(Reject::not_found)?;
        (list_labels(&state, found, number)?, event)
    };
    if let Some(outgoing) = outgoing {
        shared.send_later(outgoing);
    }
    Ok(Json(Value::Array(shown)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignees {
    assignees: Vec<String>,
}

pub(super) async fn assign(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Body(new): Body<Assignees>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let mut state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
    add_assignees(&mut state, repository, number, &new.assignees);
    Ok((StatusCode::CREATED, Json(show_issue(&state, repository, number)?)))
}

/// Assigns the accounts that can be assigned; GitHub ignores the others.
fn add_assignees(state: &mut GithubState, repository: RepositoryId, number: u64, logins: &[String]) {
    let Some(found) = state.repository(repository) else { return };
    let assignable: Vec<_> = logins
        .iter()
        .filter(|login| state.find_permission(found, login).is_some_and(|held| held >= Permission::Triage))
        .cloned()
        .collect();
    if let Some(issue) = state.repository_mut(repository).and_then(|held| held.issues.get_mut(&number)) {
        for login in assignable {
            if !issue.assignees.contains(&login) {
                issue.assignees.push(login);
            }
        }
    }
}

/// The webhook about a change of labels. Pull requests have a separate event, to which the App is not
/// subscribed.
fn labelled(
    state: &GithubState,
    repository: RepositoryId,
    number: u64,
    action: &str,
    by: &str,
) -> Option<super::super::webhook::Outgoing> {
    let is_issue = state.repository(repository)?.issues.get(&number)?.pull.is_none();
    is_issue.then(|| issue_event(state, repository, number, action, by)).flatten()
}

fn show_issue(state: &GithubState, repository: RepositoryId, number: u64) -> Result<Value, Reject> {
    let repository = state.repository(repository).ok_or_else(Reject::not_found)?;
    let issue = repository.issues.get(&number).ok_or_else(Reject::not_found)?;
    Ok(payloads::issue(state, repository, issue))
}

fn list_labels(state: &GithubState, repository: &Repository, number: u64) -> Result<Vec<Value>, Reject> {
    let issue = repository.issues.get(&number).ok_or_else(Reject::not_found)?;
    Ok(issue.labels.iter().map(|label| payloads::label(state, repository, label)).collect())
}
