//! One run of a task: its machine, times, result and usage. A retry starts another attempt; earlier attempts no
//! longer change.

use chrono::{DateTime, Utc};

use super::Status;
use crate::report::{FailureStage, Remark, Usage};

/// One run of a task. Its status is that of the task for as long as it is the current attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attempt {
    /// The attempt's number within the task, from 1.
    pub number: u32,
    /// The model that the attempt was launched with; `None` when the agent's default was used.
    pub model: Option<String>,
    /// The location of the attempt's machine, in a format that only the runner reads. Only
    /// `db::attempts::set_place` stores it.
    pub place: Option<String>,
    /// The runner's identifier of the machine.
    pub machine_id: Option<String>,
    /// The time of admission.
    pub started_at: Option<DateTime<Utc>>,
    /// The time at which the attempt ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The time at which the running attempt times out.
    pub deadline_at: Option<DateTime<Utc>>,
    /// The time of the worker's last report, or of the machine's creation.
    pub seen_at: Option<DateTime<Utc>>,
    /// Progress in percent, 0 to 100.
    pub progress: u8,
    /// The latest progress line.
    pub activity: Option<String>,
    /// The branch that was pushed.
    pub branch: Option<String>,
    /// The commit at the branch's head.
    pub commit_sha: Option<String>,
    /// The agent's summary.
    pub summary: Option<String>,
    /// The reason why the attempt did not succeed, as text for people.
    pub error_message: Option<String>,
    /// The stage at which it failed.
    pub failure_stage: Option<FailureStage>,
    /// The reason for the failure, as a stable snake_case code.
    pub failure_reason: Option<String>,
    /// The tokens and cost of the agent.
    pub usage: Usage,
    /// How the worker's report was delivered.
    pub callback: Callback,
    /// Further remarks for people.
    pub remarks: Vec<Remark>,
}

/// How the report of an attempt's worker was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callback {
    /// The number of the delivery attempt that was recorded.
    pub attempts: Option<u32>,
    /// The number of delivery attempts that the worker would have made.
    pub max_attempts: Option<u32>,
    /// The HTTP status of the response to the previous delivery attempt.
    pub last_http_code: Option<u16>,
}

/// An attempt in a task's history, with its current or final status.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// The attempt's status.
    pub status: Status,
    /// The attempt.
    pub attempt: Attempt,
}

impl Attempt {
    /// Returns a queued attempt with this number; all other fields have their default values.
    pub fn queued(number: u32) -> Self {
        Self { number, ..Self::default() }
    }
}
