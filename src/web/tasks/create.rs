//! `POST /api/tasks` (main-spec §6). An `Idempotency-Key` is kept for one day.

use domain::ids::{IssueNumber, RepositoryName};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Tasks;
use super::json::TaskJson;
use crate::tasks::Policy;
use crate::tasks::create::{Creation, Failure, Wanted};
use crate::web::body_limit::BodyLimit;
use crate::web::session::SignedInUser;
use crate::web::{Configured, Error};
use domain::agent::is_model_name;
use domain::branch::is_branch_name;
use domain::command::Run;
use domain::comment::Refusal;
use domain::task::Priority;

/// The limit of a task's description.
pub(in crate::web) const BODY: BodyLimit =
    BodyLimit { bytes: 2 * 1024 * 1024, time: Duration::from_secs(30) };

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTask {
    repo_owner: String,
    repo_name: String,
    issue_number: Option<IssueNumber>,
    agent: Option<String>,
    priority: Option<WirePriority>,
    #[serde(default)]
    prompt: Option<String>,
    model: Option<String>,
    base_branch: Option<String>,
}

/// As the task's JSON has it, or as a command has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum WirePriority {
    Number(i64),
    Name(String),
}

/// Creates a task for the caller.
pub(in crate::web) async fn create(
    Configured(creation): Configured<Creation>,
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<TaskJson>), Error> {
    let new: NewTask = serde_json::from_slice(&body)
        .map_err(|error| Error::bad_request(format!("the body cannot be read: {error}")))?;
    let wanted = read(new)?;
    let key = match headers.get("idempotency-key").map(|key| key.to_str()) {
        None => None,
        Some(Ok(key)) if (1..=255).contains(&key.len()) => Some(key),
        Some(_) => return Err(Error::bad_request("Idempotency-Key must be 1 to 255 plain characters")),
    };
    let digest = hex::encode(Sha256::digest(&body));
    let key = key.map(|key| (key, digest.as_str()));
    let created = creation.create(&user, &wanted, key).await;
    let task = created.map_err(|failure| answer(&tasks.policy, failure))?;
    Ok((StatusCode::CREATED, Json(tasks.describe(task).await?)))
}

fn read(new: NewTask) -> Result<Wanted, Error> {
    let priority = match new.priority {
        None => None,
        Some(given) => {
            let known = match given {
                WirePriority::Number(number) => Priority::from_number(number),
                WirePriority::Name(name) => Priority::parse(&name),
            };
            let unknown = "priority must be 1, 2 or 3, or low, normal or high";
            Some(known.ok_or_else(|| Error::bad_request(unknown))?)
        }
    };
    for (field, name) in [("repoOwner", &new.repo_owner), ("repoName", &new.repo_name)] {
        if !is_github_name(name) {
            return Err(Error::bad_request(format!("{field} is not a name that GitHub gives")));
        }
    }
    if let Some(model) = &new.model
        && !is_model_name(model)
    {
        return Err(Error::bad_request("model is not the name of a model"));
    }
    if let Some(branch) = &new.base_branch
        && !is_branch_name(branch)
    {
        return Err(Error::bad_request("baseBranch is not the name of a branch"));
    }
    if new.issue_number.is_some_and(|number| number.get() < 1) {
        return Err(Error::bad_request("issueNumber must be 1 or more"));
    }
    Ok(Wanted {
        repository: RepositoryName { owner: new.repo_owner, name: new.repo_name },
        issue_number: new.issue_number,
        run: Run {
            agent: new.agent,
            priority,
            model: new.model,
            base_branch: new.base_branch,
            instructions: new.prompt.unwrap_or_default(),
        },
    })
}

/// Returns whether the text is a valid name of an account or a repository.
fn is_github_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=100).contains(&name.len()) && name.chars().all(plain) && !matches!(name, "." | "..")
}

fn answer(policy: &Policy, failure: Failure) -> Error {
    let settings = || policy.link("settings");
    let refused = |refusal: &Refusal, status, message: String| Error::new(status, refusal.reason(), message);
    match failure {
        Failure::KeyReused => Error::new(StatusCode::CONFLICT, "idempotency_key_reused", failure.to_string()),
        Failure::Invalid(message) => Error::bad_request(message),
        Failure::Other(error) => error.into(),
        Failure::Refused(refusal) => match &refusal {
            Refusal::MissingInstallation => {
                let message = "Porter's App is not installed on this repository".to_owned();
                refused(&refusal, StatusCode::NOT_FOUND, message)
            }
            Refusal::NotAllowed => {
                let message = "only people who may push here can start an agent".to_owned();
                refused(&refusal, StatusCode::FORBIDDEN, message)
            }
            Refusal::RepoNotSelected { .. } => {
                let message = "you have not chosen this repository in your settings".to_owned();
                refused(&refusal, StatusCode::FORBIDDEN, message).with_action("settings", settings())
            }
            Refusal::AgentDisabled { agent, .. } => {
                let message = format!("{agent} is switched off in your settings");
                refused(&refusal, StatusCode::CONFLICT, message).with_action("settings", settings())
            }
            Refusal::MissingCredentials { missing, .. } => {
                let message = format!("missing: {}", missing.join(", "));
                refused(&refusal, StatusCode::CONFLICT, message).with_action("settings", settings())
            }
            Refusal::TaskAlreadyActive { task_url, .. } => {
                let message = "a task of this issue and agent is active".to_owned();
                refused(&refusal, StatusCode::CONFLICT, message).with_action("task", task_url.clone())
            }
            Refusal::TooManyTasks { limit } => {
                let message = format!("you have {limit} tasks waiting, which is as many as you may have");
                refused(&refusal, StatusCode::CONFLICT, message)
            }
            other => refused(other, StatusCode::CONFLICT, "this cannot be done".to_owned()),
        },
    }
}
