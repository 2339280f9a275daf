//! Parses comments: whether Porter is mentioned, and what is requested (main-spec §4).
//!
//! The syntax is `@porter [agent] [--priority=low|normal|high] [--model=…] [--base=branch] [instructions…]`, or
//! a control word. Permissions are not checked here. `tasks::intake` calls [`parse`] for every comment that
//! GitHub delivers. Most comments do not mention Porter, so this case takes a single scan without an allocation.

mod mention;
mod options;

use super::priority::Priority;

/// The request in a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Starts a task.
    Run(Run),
    /// Stops the active tasks.
    Stop,
    /// Retries the latest task.
    Retry,
    /// Reports the status of the tasks.
    Status,
    /// Explains how to use Porter.
    Help,
}

/// A task as the comment describes it. The person's settings supply values that the comment omits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The agent's id in the registry.
    pub agent: Option<String>,
    /// `--priority`.
    pub priority: Option<Priority>,
    /// `--model`: the provider's name of the model, for which [`is_model_name`](super::agent::is_model_name)
    /// holds.
    pub model: Option<String>,
    /// `--base`: a branch name for which [`is_branch_name`](super::branch::is_branch_name) holds.
    pub base_branch: Option<String>,
    /// The remaining text up to the end of the comment, with its line breaks; may be empty.
    pub instructions: String,
}

/// A comment that addresses Porter but is not a valid command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// The error, its position and the correct form, in Markdown that is safe to display.
    pub message: String,
}

impl Command {
    /// The control words and their commands.
    pub const CONTROL_WORDS: [(&str, Self); 4] =
        [("stop", Self::Stop), ("retry", Self::Retry), ("status", Self::Status), ("help", Self::Help)];

    /// Returns the control word that makes up all of `text`, apart from a trailing full stop or exclamation
    /// mark.
    fn control(text: &str) -> Option<(&'static str, Self)> {
        let word = text.trim().trim_end_matches(['.', '!', '?']);
        Self::CONTROL_WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word))
    }
}

/// Parses `comment`. `agent` returns the id of the agent with a given lower-case name.
///
/// Returns `None` when Porter is not mentioned. Only the first mention in plain text counts, not one in a quote,
/// in code or in hidden text. The command extends from the mention to the end of the comment.
pub fn parse<'a>(comment: &str, agent: impl Fn(&str) -> Option<&'a str>) -> Option<Result<Command, Invalid>> {
    if !mention::is_possible(comment) {
        return None;
    }
    let comment = comment.replace("\r\n", "\n").replace('\r', "\n"); // browsers send CRLF
    let mention = mention::find(&comment)?;
    Some(options::read(&comment, &mention, agent))
}

#[cfg(test)]
mod tests;
