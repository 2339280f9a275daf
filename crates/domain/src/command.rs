//! Reads a comment: is Porter mentioned, and what is asked (main-spec §4)?
//!
//! `@porter [agent] [--priority=low|normal|high] [--model=…] [--base=branch] [instructions…]`, or one of the
//! control words. Nothing here decides whether the person may ask; `tasks::intake` calls [`parse`] for
//! every comment GitHub reports, most of which are not for Porter, so the common answer comes from one
//! scan without an allocation.

mod mention;
mod options;

use super::priority::Priority;

/// What a comment asks of Porter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start a task.
    Run(Run),
    /// End the active tasks.
    Stop,
    /// Try the latest task again.
    Retry,
    /// Tell where the tasks stand.
    Status,
    /// Explain how Porter is used.
    Help,
}

/// A task as the comment describes it; what it leaves open, the person's settings decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The agent's id in the registry.
    pub agent: Option<String>,
    /// `--priority`.
    pub priority: Option<Priority>,
    /// `--model`: the provider's name for it ([`is_model_name`](super::agent::is_model_name) holds).
    pub model: Option<String>,
    /// `--base`: a branch name git would accept ([`is_branch_name`](super::branch::is_branch_name) holds).
    pub base_branch: Option<String>,
    /// Everything else up to the end of the comment, with its lines; may be empty.
    pub instructions: String,
}

/// The comment is for Porter, but cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    /// What is wrong, where, and what would be right: Markdown, safe to show.
    pub message: String,
}

impl Command {
    /// The control words, as people write them.
    pub const CONTROL_WORDS: [(&str, Self); 4] =
        [("stop", Self::Stop), ("retry", Self::Retry), ("status", Self::Status), ("help", Self::Help)];

    /// The control word that is all of `text`; a full stop or an exclamation mark after it changes nothing.
    fn control(text: &str) -> Option<(&'static str, Self)> {
        let word = text.trim().trim_end_matches(['.', '!', '?']);
        Self::CONTROL_WORDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(word))
    }
}

/// Reads `comment`. `agent` tells the id of the agent that goes by a (lower-case) name, if one does.
///
/// Nothing: Porter is not mentioned. The first mention that is said (not quoted, not code, not hidden)
/// counts, and what follows it to the end of the comment belongs to it.
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
