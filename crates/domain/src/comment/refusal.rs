//! Refusals of a comment's request: one text for each reason in main-spec §5, with the reason and the next step.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AnswerContext, MAX_NAME_CHARS, listed, marker};
use crate::markdown::{code, mention};
use crate::task::Status;

/// A reason with the values that its text needs. It is stored as the payload of the job that posts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// Porter's App is not installed there. No reply can be posted, so the text is only for the log.
    MissingInstallation,
    /// The person has never signed in to Porter.
    MissingUserOauth {
        /// The login of the requester.
        login: String,
        /// The URL of the sign-in page.
        sign_in_url: String,
    },
    /// The person has selected repositories in their settings, and this one is not among them.
    RepoNotSelected {
        /// The URL of the settings page.
        settings_url: String,
    },
    /// The person may not push to the repository, or is not on the operator's list.
    NotAllowed,
    /// The agent is disabled in the person's settings.
    AgentDisabled {
        /// The agent's id.
        agent: String,
        /// The URL of the settings page.
        settings_url: String,
        /// The ids of the enabled agents.
        enabled: Vec<String>,
    },
    /// A credential that the launch needs is missing.
    MissingCredentials {
        /// The names of the missing credentials: `ANTHROPIC_API_KEY`, `Fly token`.
        missing: Vec<String>,
        /// The URL of the settings page.
        settings_url: String,
    },
    /// The command cannot be parsed.
    InvalidCommand {
        /// The message of [`super::super::command::Invalid`], in Markdown that is safe to display.
        message: String,
    },
    /// The person has reached the limit of queued tasks.
    TooManyTasks {
        /// The limit.
        limit: u32,
    },
    /// The issue already has an active task of this agent.
    TaskAlreadyActive {
        /// The URL of the active task's page.
        task_url: String,
        /// The status of the active task.
        status: Status,
        /// The agent's name, as people know it.
        agent: String,
    },
}

impl Refusal {
    /// Returns the reason, as the webhook's response names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingInstallation => "missing_installation",
            Self::MissingUserOauth { .. } => "missing_user_oauth",
            Self::RepoNotSelected { .. } => "repo_not_selected",
            Self::NotAllowed => "not_allowed",
            Self::AgentDisabled { .. } => "agent_disabled",
            Self::MissingCredentials { .. } => "missing_credentials",
            Self::InvalidCommand { .. } => "invalid_command",
            // A single active task per issue and agent is also a limit; main-spec §5 has no separate reason for
            // it.
            Self::TooManyTasks { .. } | Self::TaskAlreadyActive { .. } => "too_many_tasks",
        }
    }

    /// Returns the reason as a sentence, which GitHub comments and the API share.
    pub fn why(&self) -> String {
        match self {
            Self::MissingInstallation => "Porter's GitHub App is not installed on this account.".to_owned(),
            Self::MissingUserOauth { login, .. } => format!("{}, I do not know you yet.", mention(login)),
            Self::RepoNotSelected { .. } => {
                "In your settings you have chosen where I may work for you, and this repository is not among them."
                    .to_owned()
            }
            Self::NotAllowed => {
                "Only people who may push to this repository, and whom the operator of this Porter has admitted, \
                 can ask me for work here."
                    .to_owned()
            }
            Self::AgentDisabled { agent, .. } => {
                format!("{} is switched off in your settings.", code(agent, MAX_NAME_CHARS))
            }
            Self::MissingCredentials { missing, .. } => format!(
                "I cannot start yet: {} {} missing.",
                listed(&codes(missing)),
                if missing.len() == 1 { "is" } else { "are" }
            ),
            Self::InvalidCommand { message } => format!("I could not read this command. {message}"),
            Self::TooManyTasks { limit } => {
                let tasks = if *limit == 1 { "task" } else { "tasks" };
                format!("You have {limit} {tasks} waiting, which is as many as one person may have waiting.")
            }
            Self::TaskAlreadyActive { status, agent, .. } => has_task(agent, &format!("it is {}", status.as_str())),
        }
    }

    /// Returns the next step, as Markdown that follows the reason.
    fn advice(&self) -> String {
        match self {
            Self::MissingInstallation => " Install it, then ask again.".to_owned(),
            Self::MissingUserOauth { sign_in_url, .. } => format!(
                " [Sign in to Porter]({sign_in_url}) with GitHub and add your keys; then write your comment again."
            ),
            Self::RepoNotSelected { settings_url } => {
                format!(" [Add the repository]({settings_url}), then ask again.")
            }
            Self::NotAllowed => {
                " Ask a maintainer for write access, or ask one of them to write the comment.".to_owned()
            }
            Self::AgentDisabled { settings_url, enabled, .. } => {
                let instead = match &enabled[..] {
                    [] => String::new(),
                    [first, ..] => {
                        format!(" Or use one that is on ({}): `@porter {first} …`.", listed(&codes(enabled)))
                    }
                };
                format!(" [Switch it on]({settings_url}), then ask again.{instead}")
            }
            Self::MissingCredentials { settings_url, .. } => {
                format!(" [Add what is missing]({settings_url}), then ask again.")
            }
            Self::InvalidCommand { .. } => "\n\n`@porter help` shows what I understand.".to_owned(),
            Self::TooManyTasks { .. } => {
                " Ask again when one has begun, or end one: `@porter stop` on its issue.".to_owned()
            }
            Self::TaskAlreadyActive { .. } => {
                " Wait for it to end, or comment `@porter stop` and ask again.".to_owned()
            }
        }
    }

    fn text(&self) -> String {
        let why = match self {
            Self::TaskAlreadyActive { task_url, status, agent } => {
                has_task(agent, &format!("[it is {}]({task_url})", status.as_str()))
            }
            other => other.why(),
        };
        why + &self.advice()
    }
}

fn has_task(agent: &str, which: &str) -> String {
    format!("{} already has a task on this issue: {which}.", code(agent, MAX_NAME_CHARS))
}

fn codes(names: &[String]) -> Vec<String> {
    names.iter().take(20).map(|name| code(name, MAX_NAME_CHARS)).collect()
}

/// Returns the comment that states the refusal, with its marker.
pub fn refusal(reason: &Refusal, context: &AnswerContext<'_>) -> String {
    let data = json!({"refusal": reason.reason(), "comment": context.comment_id, "proof": context.proof});
    format!("⚠️ {}\n\n{}", reason.text(), marker::line(&data))
}
