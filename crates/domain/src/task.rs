//! A task: the request of a person and its current state (main-spec §6). Module [`id`] holds its identifier,
//! [`states`] its statuses, [`attempt`] one run of it, and [`machine`] the transitions between statuses.

mod attempt;
mod id;
mod machine;
mod states;

use crate::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName, UserId};
use chrono::{DateTime, Utc};

use super::command::Run;

pub use super::priority::Priority;
pub use attempt::{Attempt, AttemptRecord, Callback};
pub use id::TaskId;
pub use machine::{Effect, Event, InvalidState, decide};
pub use states::{Phase, Status};

/// The repository that a task belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The repository's id on GitHub.
    pub id: RepositoryId,
    /// The repository's owner and name.
    pub full_name: RepositoryName,
    /// The base branch of pull requests unless the person names another.
    pub default_branch: String,
    /// The installation through which Porter accesses the repository.
    pub installation_id: InstallationId,
}

/// The issue or pull request that a task is about, as it was when the task was requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The issue's number in the repository.
    pub number: IssueNumber,
    /// The issue's title.
    pub title: String,
    /// The issue's body.
    pub body: String,
    /// The URL of the issue's page.
    pub url: String,
    /// Whether the comment was made on a pull request.
    pub is_pull_request: bool,
}

/// The person who requested a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The person's id on GitHub.
    pub id: UserId,
    /// The person's login, in GitHub's spelling.
    pub login: String,
}

/// The origin of a task: requester, repository and issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The repository to work in.
    pub repository: Repository,
    /// The issue that the task is about.
    pub issue: Issue,
    /// The person who made the request.
    pub requester: Requester,
    /// The comment that made the request; `None` for a request through the API.
    pub comment_id: Option<CommentId>,
}

/// A task with its current attempt, which is the running one or the most recent one.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The task's identifier.
    pub id: TaskId,
    /// The number of stored changes. Every write is guarded by it.
    pub revision: i64,
    /// The task's status.
    pub status: Status,
    /// The phase of a running attempt; `None` unless the task is running.
    pub phase: Option<Phase>,
    /// The current attempt. Earlier attempts are only in the database.
    pub attempt: Attempt,
    /// The task's priority class.
    pub priority: Priority,
    /// The agent's id in the registry.
    pub agent: String,
    /// The model, if the person chose one.
    pub model: Option<String>,
    /// The branch that the work starts from: the one that the person named, otherwise the one that the preflight
    /// chose.
    pub base_branch: Option<String>,
    /// Whether the preflight chose the base branch because the person named none.
    pub base_settled: bool,
    /// The repository to work in.
    pub repository: Repository,
    /// The issue that the task is about.
    pub issue: Issue,
    /// The comment that made the request; `None` for a task from the API.
    pub comment_id: Option<CommentId>,
    /// The text that followed the command in the comment.
    pub instructions: String,
    /// The person who requested the task.
    pub requester: Requester,
    /// The time at which the task was requested.
    pub created_at: DateTime<Utc>,
    /// The time at which the task last entered the queue.
    pub queued_at: DateTime<Utc>,
    /// The time of the last change.
    pub updated_at: DateTime<Utc>,
    /// The URL of the pull request.
    pub pr_url: Option<String>,
    /// The number of the pull request.
    pub pr_number: Option<IssueNumber>,
    /// The task's only status comment, once it is posted.
    pub status_comment_id: Option<CommentId>,
}

impl Task {
    /// Returns a new task, queued at `now`, for the agent with the id `agent`.
    pub fn new(request: Request, agent: &str, priority: Priority, run: &Run, now: DateTime<Utc>) -> Self {
        Self {
            id: TaskId::new(now),
            revision: 1,
            status: Status::Queued,
            phase: None,
            attempt: Attempt::queued(1),
            priority,
            agent: agent.to_owned(),
            model: run.model.clone(),
            base_branch: run.base_branch.clone(),
            base_settled: false,
            repository: request.repository,
            issue: request.issue,
            comment_id: request.comment_id,
            instructions: run.instructions.clone(),
            requester: request.requester,
            created_at: now,
            queued_at: now,
            updated_at: now,
            pr_url: None,
            pr_number: None,
            status_comment_id: None,
        }
    }
}

#[cfg(any(test, feature = "sample"))]
pub mod sample;
#[cfg(test)]
mod tests;
