//! One run of a task: when and where it ran, what came of it, and what it used. A retry begins another, and
//! those before it stay as they ended.

use chrono::{DateTime, Utc};

use super::Status;
use crate::report::{FailureStage, Remark, Usage};

/// A run of a task. Its status is the task's, as long as it is the task's current attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// Which run of the task this is, from 1.
    pub number: u32,
    /// Which model it was launched with; unknown where the agent's default was.
    pub model: Option<String>,
    /// Where its machine is, in the runner's own terms. `db::attempts::set_place` alone stores it.
    pub place: Option<String>,
    /// Its machine.
    pub machine_id: Option<String>,
    /// When it was admitted.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// When it is given up while it runs.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When its worker last reported, or its machine was made.
    pub seen_at: Option<DateTime<Utc>>,
    /// Percent, 0 to 100.
    pub progress: u8,
    /// The latest line of progress.
    pub activity: Option<String>,
    /// The branch that was pushed.
    pub branch: Option<String>,
    /// Its head.
    pub commit_sha: Option<String>,
    /// The agent's closing words.
    pub summary: Option<String>,
    /// Why it did not succeed, for a person.
    pub error_message: Option<String>,
    /// Where it failed.
    pub failure_stage: Option<FailureStage>,
    /// Why it failed, as a stable snake_case word.
    pub failure_reason: Option<String>,
    /// What the agent used.
    pub usage: Usage,
    /// How the worker's report arrived.
    pub callback: Callback,
    /// What else people should know about it.
    pub remarks: Vec<Remark>,
}

/// How the report of an attempt's worker arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// Which try of the report was recorded.
    pub attempts: Option<u32>,
    /// How many the worker would have made.
    pub max_attempts: Option<u32>,
    /// The HTTP status that answered the try before.
    pub last_http_code: Option<u16>,
}

/// An attempt in a task's history, with the status it has or ended with.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// Its status.
    pub status: Status,
    /// The attempt.
    pub attempt: Attempt,
}

impl Attempt {
    /// The attempt with this number as it begins: it waits, and nothing is known of it.
    pub fn queued(number: u32) -> Self {
        Self { number, ..Self::default() }
    }
}
