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
    /// The person has as many tasks as they may have.
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

    fn text(&self) -> String {
        match self {
            Self::MissingInstallation => {
                "Porter's GitHub App is not installed on this account. Install it, then ask again.".to_owned()
            }
            Self::MissingUserOauth { login, sign_in_url } => format!(
                "{}, I do not know you yet. [Sign in to Porter]({sign_in_url}) with GitHub and add your keys; \
                 then write your comment again.",
                mention(login)
            ),
            Self::RepoNotSelected { settings_url } => format!(
                "In your settings you have chosen where I may work for you, and this repository is not among it. \
                 [Add the repository]({settings_url}), then ask again."
            ),
            Self::NotAllowed => {
                "Only people who may push to this repository, and whom the operator of this Porter has admitted, \
                 can ask me for work here. Ask a maintainer for write access, or ask one of them to write the comment."
                    .to_owned()
            }
            Self::AgentDisabled { agent, settings_url, enabled } => {
                let instead = match &enabled[..] {
                    [] => String::new(),
                    [first, ..] => format!(" Or use one that is on ({}): `@porter {first} …`.", listed(&codes(enabled))),
                };
                format!(
                    "{} is switched off in your settings. [Switch it on]({settings_url}), then ask again.{instead}",
                    code(agent, MAX_NAME_CHARS)
                )
            }
            Self::MissingCredentials { missing, settings_url } => format!(
                "I cannot start yet: {} {} missing. [Add what is missing]({settings_url}), then ask again.",
                listed(&codes(missing)),
                if missing.len() == 1 { "is" } else { "are" }
            ),
            Self::InvalidCommand { message } => {
                format!("I could not read this command. {message}\n\n`@porter help` shows what I understand.")
            }
            Self::TooManyTasks { limit } => format!(
                "You have {limit} tasks waiting or running, which is as many as one person may have. \
                 Ask again when one has ended, or end one: `@porter stop` on its issue."
            ),
            Self::TaskAlreadyActive { task_url, status, agent } => format!(
                "{} already has a task on this issue: [it is {}]({task_url}). \
                 Wait for it to end, or comment `@porter stop` and ask again.",
                code(agent, MAX_NAME_CHARS),
                status.as_str()
            ),
        }
    }
}

fn codes(names: &[String]) -> Vec<String> {
    names.iter().take(20).map(|name| code(name, MAX_NAME_CHARS)).collect()
}

/// The comment that says why not, with its marker.
pub fn refusal(reason: &Refusal, context: &AnswerContext<'_>) -> String {
    let data = json!({"refusal": reason.reason(), "comment": context.comment_id, "proof": context.proof});
    format!("⚠️ {}\n\n{}", reason.text(), marker::line(&data))
}
