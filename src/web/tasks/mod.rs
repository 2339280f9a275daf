//! `/api/tasks/:id` and its operations (contract §6), for the owner of the task.

pub(super) mod create;
pub(super) mod events;
pub(super) mod json;
pub(super) mod list;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::session::SignedInUser;
use super::{Error, Service};
use crate::tasks::control;
use db::users::User;
use domain::task::{Status, Task, TaskId};
use json::TaskJson;

/// `GET /api/tasks/:id`.
pub(super) async fn show(
    service: Service,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<Json<TaskJson>, Error> {
    let task = load_own(&service, &user, &id).await?;
    Ok(Json(described(&service, task).await?))
}

/// `GET /api/tasks/:id/status`.
pub(super) async fn status(
    service: Service,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    let task = described(&service, load_own(&service, &user, &id).await?).await?;
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
    service: Service,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskJson>), Error> {
    let id = parse(&id)?;
    let task = control::stop(&service.context.store, &id, user.github_id, &user.login).await?;
    Ok((StatusCode::ACCEPTED, Json(described(&service, task).await?)))
}

/// `POST /api/tasks/:id/retry`.
pub(super) async fn retry(
    service: Service,
    SignedInUser(user): SignedInUser,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TaskJson>), Error> {
    let id = parse(&id)?;
    let task = control::retry(&service.context.store, &id, user.github_id).await?;
    Ok((StatusCode::ACCEPTED, Json(described(&service, task).await?)))
}

fn parse(id: &str) -> Result<TaskId, Error> {
    TaskId::parse(id).ok_or_else(|| Error::not_found("there is no such task"))
}

/// Loads the person's task; a task of another person is reported as not found.
pub(super) async fn load_own(service: &Service, user: &User, id: &str) -> Result<Task, Error> {
    db::tasks::find(&mut *service.context.store.read().await?, &parse(id)?)
        .await?
        .filter(|task| task.requester.id == user.github_id)
        .ok_or_else(|| Error::not_found("there is no such task"))
}

/// Returns the task as JSON, with its queue position while it is queued.
async fn described(service: &Service, task: Task) -> Result<TaskJson, Error> {
    let position = match task.status {
        Status::Queued => {
            let mut connection = service.context.store.read().await?;
            Some(db::queue::position(&mut connection, &task, service.context.now()).await?)
        }
        _ => None,
    };
    Ok(TaskJson::new(task, position))
}
