//! Routes of comments on issues and pull requests, and of reactions to comments.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Json, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::actions::comment_event;
use super::super::auth::Caller;
use super::super::state::{GithubState, Reaction, RepositoryId};
use super::super::strict::{Body, Query, Reject};
use super::super::{Shared, payloads};
use super::issues::{READ, WRITE, check_length};
use super::{Window, page};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    since: Option<DateTime<Utc>>,
    per_page: Option<usize>,
    page: Option<usize>,
}

pub(super) async fn list(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Query(wanted): Query<Since>,
) -> Result<Response, Reject> {
    let items: Vec<_> = {
        let state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), READ)?;
        let issue = repository.issues.get(&number).ok_or_else(Reject::not_found)?;
        let recent = issue.comments.iter().filter(|c| wanted.since.is_none_or(|since| c.updated_at >= since));
        recent.map(|comment| payloads::comment(&state, repository, issue, comment)).collect()
    };
    let since = wanted.since.map(|since| format!("since={}&", payloads::time(since))).unwrap_or_default();
    let window = Window { per_page: wanted.per_page, page: wanted.page };
    Ok(page(&shared, &format!("/repos/{owner}/{name}/issues/{number}/comments"), &since, window, items))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    body: String,
}

impl Text {
    fn check(&self) -> Result<(), Reject> {
        check_length("IssueComment", Some(&self.body))?;
        if self.body.trim().is_empty() {
            let message = "Body can't be blank";
            return Err(Reject::validation(json!({
                "resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message,
            })));
        }
        Ok(())
    }
}

pub(super) async fn create(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Body(text): Body<Text>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let now = shared.clock.now();
    let (shown, outgoing) = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
        text.check()?;
        let author = caller.login(&state);
        let id = state
            .add_comment((repository, number), &author, &text.body, now)
            .ok_or_else(Reject::not_found)?;
        let event = comment_event(&state, &format!("{owner}/{name}"), id, "created", &author)?;
        (show_comment(&state, repository, id)?, event)
    };
    shared.send_later(outgoing);
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn show(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, id)): Path<(String, String, u64)>,
) -> Result<Json<Value>, Reject> {
    let state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), READ)?.id;
    Ok(Json(show_comment(&state, repository, id)?))
}

pub(super) async fn edit(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    Body(text): Body<Text>,
) -> Result<Json<Value>, Reject> {
    let now = shared.clock.now();
    let (shown, outgoing) = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
        text.check()?;
        let author = caller.login(&state);
        let held = state.repository_mut(repository).and_then(|r| r.find_comment_mut(id));
        let comment = held.ok_or_else(Reject::not_found)?;
        if comment.author != author {
            return Err(Reject::forbidden("Resource not accessible by integration"));
        }
        comment.edit(&text.body, now);
        let event = comment_event(&state, &format!("{owner}/{name}"), id, "edited", &author)?;
        (show_comment(&state, repository, id)?, event)
    };
    shared.send_later(outgoing);
    Ok(Json(shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReaction {
    content: Content,
}

/// The reactions that GitHub supports.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    #[serde(rename = "+1")]
    Up,
    #[serde(rename = "-1")]
    Down,
    Laugh,
    Confused,
    Heart,
    Hooray,
    Rocket,
    Eyes,
}

impl Content {
    fn name(&self) -> &'static str {
        match self {
            Self::Up => "+1",
            Self::Down => "-1",
            Self::Laugh => "laugh",
            Self::Confused => "confused",
            Self::Heart => "heart",
            Self::Hooray => "hooray",
            Self::Rocket => "rocket",
            Self::Eyes => "eyes",
        }
    }
}

pub(super) async fn react(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    Body(new): Body<NewReaction>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let now = shared.clock.now();
    let mut state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), WRITE)?.id;
    let (login, fresh) = (caller.login(&state), state.next_id());
    let held = state.repository_mut(repository).and_then(|r| r.find_comment_mut(id));
    let reactions = &mut held.ok_or_else(Reject::not_found)?.reactions;
    let content = new.content.name();
    let (status, reaction) = match reactions.iter().find(|r| r.login == login && r.content == content) {
        Some(reaction) => (StatusCode::OK, reaction.clone()),
        None => {
            let reaction = Reaction { id: fresh, content: content.to_owned(), login, at: now };
            reactions.push(reaction.clone());
            (StatusCode::CREATED, reaction)
        }
    };
    Ok((status, Json(payloads::reaction(&state, &reaction))))
}

fn show_comment(state: &GithubState, repository: RepositoryId, id: u64) -> Result<Value, Reject> {
    let repository = state.repository(repository).ok_or_else(Reject::not_found)?;
    let (issue, comment) = repository.find_comment(id).ok_or_else(Reject::not_found)?;
    Ok(payloads::comment(state, repository, issue, comment))
}
