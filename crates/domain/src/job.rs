//! Every kind of durable effect as data: its payload, the lane it runs in, and the key that identifies it; at
//! most one job of a key is pending. `tasks` writes the jobs with `db::jobs`, and `jobs` executes them.

use serde::{Deserialize, Serialize};

use super::comment::{Answer, Refusal};
use super::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName};
use super::task::{Effect, Task, TaskId};

/// The operation that a control word requests (main-spec §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Stops the issue's active tasks.
    Stop,
    /// Starts another attempt of the issue's latest task.
    Retry,
    /// Reports the status of the issue's tasks.
    Status,
    /// Explains how to use Porter.
    Help,
}

/// The reply to a comment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The request is refused, with the reason.
    Refusal(Refusal),
    /// The result of a control word.
    Answer(Answer),
}

/// A durable effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Updates the issue's reaction, status comment and labels.
    SyncIssue {
        /// The task.
        task: TaskId,
        /// The installation through which GitHub is called.
        installation: InstallationId,
    },
    /// Runs the preflight checks and starts the attempt's machine.
    Launch {
        /// The task.
        task: TaskId,
        /// The attempt's number.
        attempt: u32,
    },
    /// Opens the attempt's pull request.
    Publish {
        /// The task.
        task: TaskId,
        /// The attempt's number.
        attempt: u32,
        /// The installation through which GitHub is called.
        installation: InstallationId,
    },
    /// Ends the attempt's machine and revokes its token.
    CleanUp {
        /// The task.
        task: TaskId,
        /// The attempt's number.
        attempt: u32,
    },
    /// Replies to a comment that created no task.
    Answer {
        /// The comment to reply to.
        to: CommentReference,
        /// The content of the reply.
        reply: Reply,
    },
    /// Executes a control word if its author is permitted to use it.
    Control {
        /// The comment that contains the control word.
        by: CommentReference,
        /// The requested operation.
        word: Control,
    },
}

/// A comment that addressed Porter, with its author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommentReference {
    /// The installation through which Porter replies.
    pub installation: InstallationId,
    /// The repository's id on GitHub.
    pub repo_id: RepositoryId,
    /// The repository's owner and name.
    #[serde(flatten)]
    pub repository: RepositoryName,
    /// The number of the issue or pull request.
    pub issue: IssueNumber,
    /// The comment's id.
    pub comment_id: CommentId,
    /// The login of the comment's author.
    pub login: String,
    /// The time at which the comment was received, in milliseconds since the Unix epoch. The reply cannot be
    /// older.
    pub at: i64,
}

impl Job {
    /// Returns the job that executes an effect of `task`.
    pub fn of(task: &Task, effect: Effect) -> Self {
        let (id, attempt, installation) =
            (task.id.clone(), task.attempt.number, task.repository.installation_id);
        match effect {
            Effect::SyncIssue => Self::SyncIssue { task: id, installation },
            Effect::Launch => Self::Launch { task: id, attempt },
            Effect::Publish => Self::Publish { task: id, attempt, installation },
            Effect::CleanUp => Self::CleanUp { task: id, attempt },
        }
    }

    /// Returns the kind in its stored form.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SyncIssue { .. } => "sync_issue",
            Self::Launch { .. } => "launch",
            Self::Publish { .. } => "publish",
            Self::CleanUp { .. } => "clean_up",
            Self::Answer { .. } => "answer",
            Self::Control { .. } => "control",
        }
    }

    /// Returns the key. At most one job of a key is pending.
    pub fn key(&self) -> String {
        let kind = self.kind();
        match self {
            Self::SyncIssue { task, .. } => format!("{kind}:{task}"),
            Self::Launch { task, attempt }
            | Self::Publish { task, attempt, .. }
            | Self::CleanUp { task, attempt } => format!("{kind}:{task}:{attempt}"),
            Self::Answer { to: mention, .. } | Self::Control { by: mention, .. } => {
                format!("{kind}:{}:{}", mention.repo_id, mention.comment_id)
            }
        }
    }

    /// Returns the installation in whose lane the job runs.
    pub fn installation(&self) -> Option<InstallationId> {
        match self {
            Self::SyncIssue { installation, .. } | Self::Publish { installation, .. } => Some(*installation),
            Self::Answer { to: mention, .. } | Self::Control { by: mention, .. } => {
                Some(mention.installation)
            }
            Self::Launch { .. } | Self::CleanUp { .. } => None,
        }
    }

    /// Returns the lane. Jobs of one lane run one at a time, because GitHub asks for serial writes per
    /// installation.
    pub fn lane(&self) -> String {
        let kind = self.lane_kind();
        match self {
            Self::Launch { task, .. } | Self::CleanUp { task, .. } => format!("{kind}:{task}"),
            Self::SyncIssue { installation, .. } | Self::Publish { installation, .. } => {
                format!("{kind}:{installation}")
            }
            Self::Answer { to: mention, .. } | Self::Control { by: mention, .. } => {
                format!("{kind}:{}", mention.installation)
            }
        }
    }

    /// Returns the kind of the lane. Lanes that use the same remote service share one concurrency limit.
    pub fn lane_kind(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::CleanUp { .. } => "clean_up",
            Self::SyncIssue { .. } | Self::Publish { .. } | Self::Answer { .. } | Self::Control { .. } => {
                "github"
            }
        }
    }

    /// Returns the rank within the lane; lower runs first, so that a finished task's pull request precedes
    /// progress updates.
    pub fn rank(&self) -> i64 {
        match self {
            Self::Publish { .. } | Self::Launch { .. } | Self::CleanUp { .. } => 0,
            Self::Control { .. } => 1,
            Self::Answer { .. } => 2,
            Self::SyncIssue { .. } => 3,
        }
    }
}
