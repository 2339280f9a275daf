//! What a worker says to the server: the bodies of `POST /api/callbacks/complete` and `…/progress`
//! (main-spec §7), shared by both sides so that they cannot drift apart.

use serde::{Deserialize, Serialize};

/// Where an attempt failed. Public as `failureStage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureStage {
    /// Before a machine was asked for: permission, keys, base branch.
    Preflight,
    /// The machine could not be started, or was lost.
    Launch,
    /// The repository could not be cloned.
    Clone,
    /// The agent could not be started.
    Setup,
    /// The agent failed, ran out of time, or changed nothing.
    Agent,
    /// The branch could not be pushed.
    Push,
    /// The pull request could not be opened.
    Pr,
    /// The worker's report never arrived.
    Callback,
}

impl FailureStage {
    /// The stage as it is stored and shown.
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

    /// The stage with this name.
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

/// What the agent used, as far as it said so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Tokens read by the model.
    #[serde(alias = "input_tokens", skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written by the model.
    #[serde(alias = "output_tokens", skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Tokens that the provider read from its cache.
    #[serde(alias = "cache_read_tokens", skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Tokens that the provider wrote to its cache.
    #[serde(alias = "cache_write_tokens", skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// US dollars.
    #[serde(alias = "cost_usd", skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// A note about the work of an attempt, for people and for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remark {
    /// A stable word: `too_large`, `nested_repository`, ….
    pub code: String,
    /// One or a few sentences for a person; they name the paths.
    pub text: String,
    /// The paths that it is about; not more than are worth listing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

/// How an attempt ended, in the worker's words. `complete` and `success` mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent finished and its branch is pushed (or nothing was changed: then there is no commit).
    #[serde(alias = "complete")]
    Success,
    /// Something went wrong; `failure_stage` and `error` say what.
    Failed,
}

/// The body of `POST /api/callbacks/complete`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Completion {
    /// The task.
    #[serde(default)]
    pub task_id: String,
    /// The task again, under the name that earlier workers used.
    #[serde(default)]
    pub execution_id: String,
    /// The attempt this report is about; absent means the first.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// How it ended.
    pub status: Outcome,
    /// The agent's own closing words, redacted, at most a few thousand characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What went wrong, for a person; as long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where it went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_stage: Option<FailureStage>,
    /// True when the time limit ended the agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// The branch that was pushed, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_name: Option<String>,
    /// The branch it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// The pushed head, when it differs from the base: absent means that nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_hash: Option<String>,
    /// Why it failed, as a stable word for programs (main-spec §6): `usage_limit`, `push_refused`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// What a person should know about the published work: what was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// Log lines that no progress report carried, oldest first, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// What the agent used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Which try of this report this is, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_attempt: Option<u32>,
    /// How many tries the worker will make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_max_attempts: Option<u32>,
    /// What the try before was answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_last_http_code: Option<u16>,
    /// The callback token, for a sender that cannot set the header.
    #[serde(default, skip_serializing)]
    pub callback_token: Option<String>,
}

/// The body of `POST /api/callbacks/progress`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// The task.
    #[serde(default)]
    pub task_id: String,
    /// The task again, under the name that earlier workers used.
    #[serde(default)]
    pub execution_id: String,
    /// The attempt this report is about; absent means the first.
    #[serde(default = "first_attempt")]
    pub attempt: u32,
    /// Percent, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// One line for the status comment: what is happening now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Log lines since the last report, oldest first, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// What the agent used so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The callback token, for a sender that cannot set the header.
    #[serde(default, skip_serializing)]
    pub callback_token: Option<String>,
}

/// The answer to a progress report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProgressAnswer {
    /// The report was recorded.
    pub ok: bool,
    /// The attempt is no longer wanted: end the agent.
    #[serde(default)]
    pub cancel: bool,
}

/// The body of `POST /api/callbacks/token`: the worker's installation token is not accepted any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The task.
    pub task_id: String,
    /// The attempt that is under way.
    pub attempt: u32,
}

/// The answer to a [`TokenRequest`]. Holds a secret: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenAnswer {
    /// A fresh installation token, narrowed as the first.
    pub token: String,
}

impl Completion {
    /// The task this is about, under whichever name it came.
    pub fn task(&self) -> &str {
        either(&self.task_id, &self.execution_id)
    }
}

impl Progress {
    /// The task this is about, under whichever name it came.
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
