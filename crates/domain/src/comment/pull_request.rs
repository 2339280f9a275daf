//! The title and the body of the pull request.

use super::{MAX_NAME_CHARS, MAX_SUMMARY_CHARS, remarks};
use crate::markdown::{code, line, mention, quote};
use crate::task::Task;

/// The longest title, in characters; GitHub takes 256.
const MAX_TITLE_CHARS: usize = 200;

/// What a pull request's body needs to know beside the task.
#[derive(Clone, Copy, Debug)]
pub struct PullContext<'a> {
    /// The task's page.
    pub task_url: &'a str,
    /// The agent's name, as people know it.
    pub agent_name: &'a str,
    /// No report came; the branch was found on its own.
    pub recovered: bool,
}

/// The issue's title, on one line, cleaned and cut. Plain text: GitHub shows titles as they are.
pub fn pull_title(task: &Task) -> String {
    let title = line(&task.issue.title, MAX_TITLE_CHARS - 1);
    if title.is_empty() { format!("Work on #{}", task.issue.number) } else { title }
}

/// The body: what it closes, who asked, who did it, and what the agent said about it.
pub fn pull_body(task: &Task, context: &PullContext<'_>) -> String {
    // GitHub closes no pull request by words, and an issue only once they reach the default branch.
    let verb = if task.issue.is_pull_request { "Refs" } else { "Closes" };
    let model =
        task.model.as_ref().map(|model| format!(" with {}", code(model, MAX_NAME_CHARS))).unwrap_or_default();
    let mut parts = vec![
        format!("{verb} #{}", task.issue.number),
        format!(
            "{} asked for this; **{}**{model} wrote it. Please review it as you would anyone's work.",
            mention(&task.requester.login),
            context.agent_name
        ),
    ];
    if context.recovered {
        parts.push(
            "⚠️ The machine pushed this branch, but its closing report never arrived. The work may be unfinished."
                .to_owned(),
        );
    }
    if let Some(summary) = task.attempt.summary.as_deref().filter(|summary| !summary.trim().is_empty()) {
        parts.push(format!("{} says:", context.agent_name));
        parts.push(quote(summary, MAX_SUMMARY_CHARS));
    }
    parts.extend(remarks(task));
    parts.push(format!("[Task {}]({}), by Porter", code(task.id.as_str(), MAX_NAME_CHARS), context.task_url));
    parts.join("\n\n")
}
