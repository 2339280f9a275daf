//! Where a task stands, what its running attempt is doing, and how urgent it is.

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

/// How urgent a task is. On the wire 1, 2, 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After everything else.
    Low = 1,
    /// What is meant when nothing is said.
    #[default]
    Normal = 2,
    /// Before everything else.
    High = 3,
}

impl Priority {
    /// The priority as a command and a label write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority with this name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
    }

    /// 1 low, 2 normal, 3 high.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The priority with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High].into_iter().find(|priority| priority.number() == number)
    }
}
