//! Why Porter does not do what a comment asks: one text for each reason of main-spec §5, with the reason and
//! what to do next.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AnswerContext, MAX_NAME_CHARS, listed, marker};
use crate::markdown::{code, mention};
use crate::task::Status;

/// A reason, with what its text needs. Stored as the payload of the job that posts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Refusal {
    /// Porter's App is not installed there; nobody can be answered, so the text is for the log.
    MissingInstallation,
    /// The person has never signed in to Porter.
    MissingUserOauth {
        /// Who asked.
        login: String,
        /// Where to sign in.
        sign_in_url: String,
    },
    /// The person has chosen repositories in their settings, and not this one.
    RepoNotSelected {
        /// Where they choose.
        settings_url: String,
    },
    /// The person may not push to the repository, or is not on the operator's list.
    NotAllowed,
    /// The agent is switched off in the person's settings.
    AgentDisabled {
        /// Its id.
        agent: String,
        /// Where it is switched on.
        settings_url: String,
        /// The ids of those that are on.
        enabled: Vec<String>,
    },
    /// Something the launch needs is not there.
    MissingCredentials {
        /// What, by name: `ANTHROPIC_API_KEY`, `Fly token`.
        missing: Vec<String>,
        /// Where to add it.
        settings_url: String,
    },
    /// The command cannot be read.
    InvalidCommand {
        /// [`super::super::command::Invalid`]'s message: Markdown, safe to show.
        message: String,
    },
    /// The person has as many waiting tasks as they may have.
    TooManyTasks {
        /// How many that is.
        limit: u32,
    },
    /// The agent is already at work on this issue.
    TaskAlreadyActive {
        /// The page of the task that is.
        task_url: String,
        /// Where it stands.
        status: Status,
        /// The agent's id.
        agent: String,
    },
}

impl Refusal {
    /// The reason, as the webhook's answer names it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingInstallation => "missing_installation",
            Self::MissingUserOauth { .. } => "missing_user_oauth",
            Self::RepoNotSelected { .. } => "repo_not_selected",
            Self::NotAllowed => "not_allowed",
            Self::AgentDisabled { .. } => "agent_disabled",
            Self::MissingCredentials { .. } => "missing_credentials",
            Self::InvalidCommand { .. } => "invalid_command",
            // One task at a time per issue and agent is a limit, too; main-spec §5 has no reason of its own for it.
            Self::TooManyTasks { .. } | Self::TaskAlreadyActive { .. } => "too_many_tasks",
        }
    }

    /// Why, in a sentence: the same on GitHub and in the API.
    pub fn why(&self) -> String {
        match self {
            Self::MissingInstallation => "Porter's GitHub App is not installed on this account.".to_owned(),
            Self::MissingUserOauth { login, .. } => format!("{}, I do not know you yet.", mention(login)),
            Self::RepoNotSelected { .. } => {
                "In your settings you have chosen where I may work for you, and this repository is not among it."
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

    /// What to do next, as Markdown that follows the reason.
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

/// The comment that says why not, with its marker.
pub fn refusal(reason: &Refusal, context: &AnswerContext<'_>) -> String {
    let data = json!({"refusal": reason.reason(), "comment": context.comment_id, "proof": context.proof});
    format!("⚠️ {}\n\n{}", reason.text(), marker::line(&data))
}
