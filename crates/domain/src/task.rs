//! A task: what a person asked for, and where it stands (main-spec §6). Its name is in [`id`], its statuses in
//! [`states`], one run of it in [`attempt`], how it moves from one status to the next in [`machine`].

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

/// The repository a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// GitHub's id of it.
    pub id: RepositoryId,
    /// Its owner and name.
    pub full_name: RepositoryName,
    /// The branch that pull requests go to unless the person names another.
    pub default_branch: String,
    /// The installation through which Porter reaches it.
    pub installation_id: InstallationId,
}

/// The issue (or pull request) a task is about, as it was when the person asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number in the repository.
    pub number: IssueNumber,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Where people read it.
    pub url: String,
    /// The comment was made on a pull request.
    pub is_pull_request: bool,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// GitHub's number for the person.
    pub id: UserId,
    /// The login, as GitHub writes it.
    pub login: String,
}

/// Who asks, where, and about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where.
    pub repository: Repository,
    /// About what.
    pub issue: Issue,
    /// By whom.
    pub requester: Requester,
    /// The comment that asks, unless the API does.
    pub comment_id: Option<CommentId>,
}

/// A person's request, where it stands, and its current attempt: the one under way, or the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Counts stored changes; guards every write.
    pub revision: i64,
    /// Where it stands.
    pub status: Status,
    /// What a running attempt is doing; nothing otherwise.
    pub phase: Option<Phase>,
    /// The current attempt. The ones before it are in the database.
    pub attempt: Attempt,
    /// How urgent it is.
    pub priority: Priority,
    /// Which agent, by its id in the registry.
    pub agent: String,
    /// Which model, when the person chose one.
    pub model: Option<String>,
    /// Which branch to start from: what the person named, then what the preflight settled.
    pub base_branch: Option<String>,
    /// The preflight settled it: the person had named none.
    pub base_settled: bool,
    /// Where.
    pub repository: Repository,
    /// About what.
    pub issue: Issue,
    /// The comment that asked, unless the task came from the API.
    pub comment_id: Option<CommentId>,
    /// What else the person wrote after the command.
    pub instructions: String,
    /// Who asked.
    pub requester: Requester,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// When it (last) began to wait.
    pub queued_at: DateTime<Utc>,
    /// When anything about it last changed.
    pub updated_at: DateTime<Utc>,
    /// The pull request's page.
    pub pr_url: Option<String>,
    /// The pull request's number.
    pub pr_number: Option<IssueNumber>,
    /// The one status comment, once it is there.
    pub status_comment_id: Option<CommentId>,
}

impl Task {
    /// A task as it begins: queued at `now`, for `agent` by its id.
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
