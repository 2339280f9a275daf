//! The worker's reports to the server: the bodies of `POST /api/callbacks/complete` and `…/progress` (main-spec
//! §7). Worker and server share these types so that the formats stay equal.

use serde::{Deserialize, Serialize};

/// The stage at which an attempt failed. The API shows it as `failureStage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureStage {
    /// Before a machine was requested: permissions, keys, base branch.
    Preflight,
    /// The machine could not be started, or was lost.
    Launch,
    /// The repository could not be cloned.
    Clone,
    /// The agent could not be started.
    Setup,
    /// The agent failed, exceeded its time limit, or changed nothing.
    Agent,
    /// The branch could not be pushed.
    Push,
    /// The pull request could not be opened.
    Pr,
    /// The worker's report did not arrive.
    Callback,
}

impl FailureStage {
    /// Returns the stage in its stored and displayed form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Launch => "launch",
            Self::Clone => "clone",
            Self::Setup => "setup",
            Self::Agent => "agent",
            Self::Push => "push",
            Self::Pr => "pr",
            Self::Callback => "callback",
        }
    }

    /// Returns the stage with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Preflight,
            Self::Launch,
            Self::Clone,
            Self::Setup,
            Self::Agent,
            Self::Push,
            Self::Pr,
            Self::Callback,
        ]
        .into_iter()
        .find(|stage| stage.as_str() == text)
    }
}

/// The resources that the agent used, as far as the agent reported them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// The number of tokens read by the model.
    #[serde(alias = "input_tokens", skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// The number of tokens written by the model.
    #[serde(alias = "output_tokens", skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// The number of tokens that the provider read from its cache.
    #[serde(alias = "cache_read_tokens", skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// The number of tokens that the provider wrote to its cache.
    #[serde(alias = "cache_write_tokens", skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// The cost in US dollars.
    #[serde(alias = "cost_usd", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// A remark about the work of an attempt, for people and for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remark {
    /// A stable code: `too_large`, `nested_repository`, ….
    pub code: String,
    /// One or a few sentences for people; they include the paths.
    pub text: String,
    /// The paths that the remark is about. Long lists are shortened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// The result of an attempt, as the worker reports it. `complete` and `success` are synonyms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished, and its branch was pushed unless nothing was changed; then there is no commit.
    #[serde(alias = "complete")]
    Success,
    /// The attempt failed; `failure_stage` and `error` contain the details.
    Failed,
}

/// The body of `POST /api/callbacks/complete`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Completion {
    /// The task's id.
    #[serde(default)]
    pub task_id: String,
    /// The task's id, under the field name that earlier workers used.
    #[serde(default)]
    pub execution_id: String,
    /// The number of the attempt that this report is about; 1 when absent.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// The result of the attempt.
    pub status: Outcome,
    /// The agent's summary, redacted, at most a few thousand characters long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The error, as text for people, with the same maximum length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The stage at which the attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_stage: Option<FailureStage>,
    /// Whether the time limit ended the agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// The branch that was pushed, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_name: Option<String>,
    /// The branch that the work started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// The pushed head, if it differs from the base; absent when nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<String>,
    /// The reason for the failure, as a stable code for programs (main-spec §6): `usage_limit`, `push_refused`,
    /// ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Remarks for people about the published work: what was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// Log lines that no progress report contained, oldest first, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The resources that the agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The number of this delivery attempt of the report, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_attempt: Option<u32>,
    /// The maximum number of delivery attempts that the worker makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_max_attempts: Option<u32>,
    /// The HTTP status of the response to the previous delivery attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_last_http_code: Option<u16>,
    /// The callback token, for a client that cannot set the header.
    #[serde(default, skip_serializing)]
    pub callback_token: Option<String>,
}

/// The body of `POST /api/callbacks/progress`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The task's id.
    #[serde(default)]
    pub task_id: String,
    /// The task's id, under the field name that earlier workers used.
    #[serde(default)]
    pub execution_id: String,
    /// The number of the attempt that this report is about; 1 when absent.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// Progress in percent, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// One line for the status comment: the agent's current activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Log lines since the previous report, oldest first, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The resources that the agent has used so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The callback token, for a client that cannot set the header.
    #[serde(default, skip_serializing)]
    pub callback_token: Option<String>,
}

/// The response to a progress report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProgressAnswer {
    /// Whether the report was recorded.
    pub ok: bool,
    /// Whether the worker must end the agent, because the attempt is no longer active.
    #[serde(default)]
    pub cancel: bool,
}

/// The body of `POST /api/callbacks/token`, which the worker sends when GitHub no longer accepts its
/// installation token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The task's id.
    pub task_id: String,
    /// The number of the running attempt.
    pub attempt: u32,
}

/// The response to a [`TokenRequest`]. It contains a secret and therefore does not implement `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// A new installation token with the same restrictions as the first.
    pub token: String,
}

impl Completion {
    /// Returns the task's id, from whichever of the two fields is set.
    pub fn task(&self) -> &str {
        either(&self.task_id, &self.execution_id)
    }
}

impl Progress {
    /// Returns the task's id, from whichever of the two fields is set.
    pub fn task(&self) -> &str {
        either(&self.task_id, &self.execution_id)
    }
}

fn either<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn first_attempt() -> u32 {
    1
}
