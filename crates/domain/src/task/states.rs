//! The statuses of a task and the phases of a running attempt.

use serde::{Deserialize, Serialize};

/// A task's status, as it is shown outside Porter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The task waits in the queue.
    Queued,
    /// An attempt is running.
    Running,
    /// The pull request is open.
    Success,
    /// The task ended without a pull request; the summary states the reason.
    Failed,
    /// The task exceeded its time limit.
    TimedOut,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Success, Self::Failed, Self::TimedOut];

    /// Returns the status in its stored and displayed form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }

    /// Returns the status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Returns whether the task has ended. A retry can start an ended task again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::TimedOut)
    }
}

/// The phase of a running attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The preflight passed, and the machine was requested.
    Launching,
    /// The machine runs, and Porter waits for its report.
    Working,
    /// The branch is pushed; the pull request is being opened.
    Publishing,
}

impl Phase {
    /// Returns the phase in its stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Working => "working",
            Self::Publishing => "publishing",
        }
    }

    /// Returns the phase with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Launching, Self::Working, Self::Publishing].into_iter().find(|phase| phase.as_str() == text)
    }
}
