//! `/api/tasks/:id` and its operations (main-spec §6), for the owner of the task.

pub(super) mod create;
pub(super) mod events;
pub(super) mod json;
pub(super) mod list;

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::session::SignedInUser;
use super::{Configured, Error};
use crate::tasks::control;
use crate::tasks::{Policy, Store};
use db::jobs::Backlog;
use db::users::User;
use domain::task::{Status, Task, TaskId};
use json::{AttemptJson, TaskJson};

/// People's tasks, as they are read, stopped and retried. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tasks {
    store: Store,
    policy: Arc<Policy>,
}

impl Tasks {
    pub(super) fn new(store: Store, policy: Arc<Policy>) -> Self {
        Self { store, policy }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) async fn read(&self) -> Result<db::Reader, db::Error> {
        self.store.read().await
    }

    /// Loads the person's task; a task of another person is reported as not found.
    pub(super) async fn find_own(&self, user: &User, id: &str) -> Result<Task, Error> {
        db::tasks::find(&mut *self.read().await?, &parse(id)?)
            .await?
            .filter(|task| task.requester.id == user.github_id)
            .ok_or_else(|| Error::not_found("there is no such task"))
    }

    /// Returns the task as JSON, with its queue position while it is queued.
    async fn describe(&self, task: Task) -> Result<TaskJson, Error> {
        let position = match task.status {
            Status::Queued => {
                let mut connection = self.read().await?;
                Some(db::queue::position(&mut connection, &task, self.store.now()).await?)
            }
            _ => None,
        };
        Ok(TaskJson::new(task, position))
    }

    /// How many jobs there are.
    pub(super) async fn backlog(&self) -> Result<Backlog, db::Error> {
        db::jobs::backlog(&mut *self.read().await?, self.store.now()).await
    }
}

/// `GET /api/tasks/:id`: the task, with all its attempts.
pub(super) async fn show(
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<Json<TaskJson>, Error> {
    let task = tasks.find_own(&user, &id).await?;
    let attempts = db::attempts::list(&mut *tasks.read().await?, &task.id).await?;
    let mut shown = tasks.describe(task).await?;
    shown.attempts = Some(attempts.into_iter().map(AttemptJson::from).collect());
    Ok(Json(shown))
}

/// `GET /api/tasks/:id/status`.
pub(super) async fn status(
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let task = tasks.describe(tasks.find_own(&user, &id).await?).await?;
    let mut body = json!({
        "id": task.id,
        "status": task.status,
        "progress": task.progress,
        "attempt": task.attempt,
        "updatedAt": task.updated_at,
    });
    if let Some(position) = task.queue_position {
        body["queuePosition"] = position.into();
    }
    if let Some(url) = task.pr_url {
        body["prUrl"] = url.into();
    }
    if let Some(message) = task.error_message {
        body["errorMessage"] = message.into();
    }
    Ok(Json(body))
}

/// `POST /api/tasks/:id/stop`.
pub(super) async fn stop(
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskJson>), Error> {
    let id = parse(&id)?;
    let task = control::stop(&tasks.store, &id, user.github_id, &user.login).await?;
    Ok((StatusCode::ACCEPTED, Json(tasks.describe(task).await?)))
}

/// `POST /api/tasks/:id/retry`.
pub(super) async fn retry(
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskJson>), Error> {
    let id = parse(&id)?;
    let task = control::retry(&tasks.store, &id, user.github_id).await?;
    Ok((StatusCode::ACCEPTED, Json(tasks.describe(task).await?)))
}

fn parse(id: &str) -> Result<TaskId, Error> {
    TaskId::parse(id).ok_or_else(|| Error::not_found("there is no such task"))
}
