//! Porter's answers to the control words: help, and the results of `stop`, `retry` and `status`.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AnswerContext, MAX_NAME_CHARS, listed, marker};
use crate::markdown::code;
use crate::task::Status;

/// An answer with the values that its text needs. It is stored as the payload of the job that posts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Answer {
    /// How to use Porter.
    Help {
        /// The agent names that can follow the mention.
        agents: Vec<String>,
    },
    /// The status of the issue's tasks, newest first; the list may be empty.
    Status {
        /// The tasks.
        tasks: Vec<TaskSummary>,
    },
    /// The issue's active tasks were stopped.
    Stopped {
        /// The tasks.
        tasks: Vec<TaskSummary>,
    },
    /// No task was active.
    NothingToStop,
    /// Another attempt was queued.
    Retrying {
        /// The URL of the task's page.
        task_url: String,
        /// The new attempt's number.
        attempt: u32,
    },
    /// The issue has no task to retry.
    NothingToRetry,
    /// The latest task is queued or running.
    StillActive {
        /// The URL of the task's page.
        task_url: String,
    },
    /// The latest task succeeded, and only tasks that did not succeed can be retried.
    CannotRetrySuccess {
        /// The URL of its pull request.
        pr_url: Option<String>,
    },
}

/// The status of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    /// The agent's id.
    pub agent: String,
    /// The task's status.
    pub status: Status,
    /// Progress in percent, while the task runs.
    pub progress: u8,
    /// The position in the queue, from 1, while the task waits.
    pub queue_position: Option<u32>,
    /// The URL of the task's page.
    pub task_url: String,
    /// The URL of the pull request.
    pub pr_url: Option<String>,
}

impl Answer {
    /// Returns the answer's name, as it appears in the marker.
    fn name(&self) -> &'static str {
        match self {
            Self::Help { .. } => "help",
            Self::Status { .. } => "status",
            Self::Stopped { .. } | Self::NothingToStop => "stop",
            Self::Retrying { .. }
            | Self::NothingToRetry
            | Self::StillActive { .. }
            | Self::CannotRetrySuccess { .. } => "retry",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Help { agents } => help(agents),
            Self::Status { tasks } if tasks.is_empty() => {
                "There is no task on this issue yet. `@porter help` shows how to start one.".to_owned()
            }
            Self::Status { tasks } => {
                let lines: Vec<_> = tasks.iter().take(20).map(TaskSummary::line).collect();
                lines.join("\n")
            }
            Self::Stopped { tasks } => {
                let agents: Vec<_> = tasks.iter().take(20).map(TaskSummary::link).collect();
                format!("Stopped: {}. `@porter retry` begins again.", listed(&agents))
            }
            Self::NothingToStop => {
                "Nothing is running on this issue, so there is nothing to stop.".to_owned()
            }
            Self::Retrying { task_url, attempt } => {
                format!("Trying again: [attempt {attempt}]({task_url}) is queued.")
            }
            Self::NothingToRetry => {
                "There is no task on this issue to try again. `@porter help` shows how to start one."
                    .to_owned()
            }
            Self::StillActive { task_url } => format!(
                "[The task]({task_url}) has not ended yet, so there is nothing to try again. \
                 `@porter stop` ends it."
            ),
            Self::CannotRetrySuccess { pr_url } => {
                let link =
                    pr_url.as_ref().map(|url| format!(" with [its pull request]({url})")).unwrap_or_default();
                format!(
                    "The last task succeeded{link}, so there is nothing to try again. \
                     For more work, write a new `@porter` comment that says what is missing."
                )
            }
        }
    }
}

impl TaskSummary {
    fn link(&self) -> String {
        format!("[{}]({})", code(&self.agent, MAX_NAME_CHARS), self.task_url)
    }

    fn line(&self) -> String {
        let status = match (self.status, self.queue_position, &self.pr_url) {
            (Status::Queued, Some(position), _) => format!("queued, number {position} in line"),
            (Status::Running, ..) => format!("running, {} %", self.progress.min(100)),
            (Status::Success, _, Some(url)) => format!("success, [pull request]({url})"),
            (Status::TimedOut, ..) => "timed out, `@porter retry` tries again".to_owned(),
            (Status::Failed, ..) => "failed, `@porter retry` tries again".to_owned(),
            (status, ..) => status.as_str().to_owned(),
        };
        format!("- {}: {status}", self.link())
    }
}

fn help(agents: &[String]) -> String {
    let agents: Vec<_> = agents.iter().take(20).map(|agent| code(agent, MAX_NAME_CHARS)).collect();
    let agents = if agents.is_empty() { "none".to_owned() } else { listed(&agents) };
    format!(
        "Ask me for work at the start of a line, and I come back with a pull request:\n\n\
         ```text\n\
         @porter [agent] [options] [what else to know]\n\
         ```\n\n\
         The issue says what is to be done; whatever you add goes along with it.\n\n\
         - Agents: {agents}. Without one, your first enabled agent does the work.\n\
         - `--priority=low|normal|high`: how soon it starts.\n\
         - `--model=NAME`: which model the agent uses.\n\
         - `--base=BRANCH`: which branch to start from.\n\
         - `@porter status` shows the status, `@porter stop` ends what is running, \
         `@porter retry` tries the last task again.\n\n\
         For example: `@porter claude --priority=high fix the flaky test in the login suite`"
    )
}

/// Returns the comment that answers a control word, with its marker.
pub fn answer(answer: &Answer, context: &AnswerContext<'_>) -> String {
    let data = json!({"answer": answer.name(), "comment": context.comment_id, "proof": context.proof});
    format!("{}\n\n{}", answer.text(), marker::line(&data))
}
