//! Every kind of durable effect there is, as data: what it is about, which lane it runs in, and the key under
//! which it is owed at most once. `tasks` writes them with `db::jobs`, `jobs` carries them out.

use serde::{Deserialize, Serialize};

use super::comment::{Answer, Refusal};
use super::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName};
use super::task::{Effect, Task, TaskId};

/// What a control word asks (main-spec §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// End the issue's active tasks.
    Stop,
    /// Begin the issue's last task anew.
    Retry,
    /// Say where the issue's last task stands.
    Status,
    /// Say how to use Porter.
    Help,
}

/// What a comment is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It cannot be done, and why.
    Refusal(Refusal),
    /// What came of a control word.
    Answer(Answer),
}

/// An effect that is owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Make the issue show where the task stands.
    SyncIssue {
        /// Which.
        task: TaskId,
        /// Through which installation.
        installation: InstallationId,
    },
    /// Check, and start the attempt's machine.
    Launch {
        /// Which.
        task: TaskId,
        /// Which run of it.
        attempt: u32,
    },
    /// Open the attempt's pull request.
    Publish {
        /// Which.
        task: TaskId,
        /// Which run of it.
        attempt: u32,
        /// Through which installation.
        installation: InstallationId,
    },
    /// End the attempt's machine and take back its token.
    CleanUp {
        /// Which.
        task: TaskId,
        /// Which run of it.
        attempt: u32,
    },
    /// Answer a comment that made no task.
    Answer {
        /// Which comment.
        to: CommentReference,
        /// With what.
        reply: Reply,
    },
    /// Do what a control word asks, if its author may.
    Control {
        /// Which comment.
        by: CommentReference,
        /// What it asks.
        word: Control,
    },
}

/// A comment that spoke to Porter, and who wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommentReference {
    /// Through which installation it is answered.
    pub installation: InstallationId,
    /// The repository's number.
    pub repo_id: RepositoryId,
    /// Its owner and name.
    #[serde(flatten)]
    pub repository: RepositoryName,
    /// The issue or pull request.
    pub issue: IssueNumber,
    /// The comment.
    pub comment_id: CommentId,
    /// Its author's login.
    pub login: String,
    /// When it came, in milliseconds: its answer cannot be older.
    pub at: i64,
}

impl Job {
    /// The job that carries out an effect of `task`.
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

    /// The kind, as it is stored.
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

    /// Two jobs of one key are one.
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

    /// The installation whose lane the job runs in.
    pub fn installation(&self) -> Option<InstallationId> {
        match self {
            Self::SyncIssue { installation, .. } | Self::Publish { installation, .. } => Some(*installation),
            Self::Answer { to: mention, .. } | Self::Control { by: mention, .. } => {
                Some(mention.installation)
            }
            Self::Launch { .. } | Self::CleanUp { .. } => None,
        }
    }

    /// Jobs of one lane run one at a time. GitHub asks that writes through one installation be serial.
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

    /// What the lane is of: a remote side, whose lanes share the room that there is for it.
    pub fn lane_kind(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "launch",
            Self::CleanUp { .. } => "clean_up",
            Self::SyncIssue { .. } | Self::Publish { .. } | Self::Answer { .. } | Self::Control { .. } => {
                "github"
            }
        }
    }

    /// Within its lane, lower goes first: a finished task's pull request before anybody's progress.
    pub fn rank(&self) -> i64 {
        match self {
            Self::Publish { .. } | Self::Launch { .. } | Self::CleanUp { .. } => 0,
            Self::Control { .. } => 1,
            Self::Answer { .. } => 2,
            Self::SyncIssue { .. } => 3,
        }
    }
}
