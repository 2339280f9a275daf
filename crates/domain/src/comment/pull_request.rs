//! The title and the body of a pull request.

use super::{MAX_NAME_CHARS, MAX_SUMMARY_CHARS, remarks};
use crate::markdown::{code, line, mention, quote};
use crate::task::Task;

/// The maximum length of a title, in characters. GitHub's limit is 256.
const MAX_TITLE_CHARS: usize = 200;

/// The context that a pull request's body needs besides the task.
#[derive(Clone, Copy, Debug)]
pub struct PullContext<'a> {
    /// The URL of the task's page.
    pub task_url: &'a str,
    /// The agent's display name.
    pub agent_name: &'a str,
    /// No report arrived; Porter found the pushed branch itself.
    pub recovered: bool,
}

/// Returns the issue's title on one line, cleaned and truncated. It is plain text, because GitHub does not
/// render titles.
pub fn pull_title(task: &Task) -> String {
    let title = line(&task.issue.title, MAX_TITLE_CHARS - 1);
    if title.is_empty() { format!("Work on #{}", task.issue.number) } else { title }
}

/// Returns the body: the issue that it closes, the requester, the agent and the agent's summary.
pub fn pull_body(task: &Task, context: &PullContext<'_>) -> String {
    // Closing keywords do not close pull requests, and close an issue only when they reach the default branch.
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
