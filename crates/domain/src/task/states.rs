//! Where a task stands, and what its running attempt is doing.

use serde::{Deserialize, Serialize};

/// A task's status, as everyone outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// An attempt is under way.
    Running,
    /// The pull request is open.
    Success,
    /// It ended without one; the summary says why.
    Failed,
    /// It ran out of time.
    TimedOut,
}

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Success, Self::Failed, Self::TimedOut];

    /// The status as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the task has ended (a retry may begin it anew).
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::TimedOut)
    }
}

/// What a running attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Checked, and its machine asked for.
    Launching,
    /// The machine runs; its reports are awaited.
    Working,
    /// The branch is pushed; the pull request is being opened.
    Publishing,
}

impl Phase {
    /// The phase as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Working => "working",
            Self::Publishing => "publishing",
        }
    }

    /// The phase with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Launching, Self::Working, Self::Publishing].into_iter().find(|phase| phase.as_str() == text)
    }
}
