//! All text that people read on GitHub: status comments, answers, refusals, pull requests and labels. The
//! functions are pure and return Markdown from plain values; `tasks` posts it.
//!
//! Text from outside (titles, an agent's output, error messages) is inserted only through the writing functions
//! of `domain::markdown`. Every comment ends with a [`marker`], by which Porter finds its own comment after a
//! crash.
//!
//! Invariant: no comment is longer than [`MAX_COMMENT_CHARS`] characters, whatever text is inserted.

mod answer;
mod labels;
pub mod marker;
mod pull_request;
mod refusal;
mod status;

use chrono::TimeDelta;

use crate::ids::CommentId;
use crate::markdown::{line, plain};
use crate::task::Task;

pub use answer::{Answer, TaskSummary, answer};
pub use labels::{is_ours, labels};
pub use marker::{has_answer_marker, has_marker};
pub use pull_request::{PullContext, pull_body, pull_title};
pub use refusal::{Refusal, refusal};
pub use status::{StatusContext, status};

/// The maximum length of a comment, in characters. GitHub's limit is 65,536; the difference is a margin.
pub const MAX_COMMENT_CHARS: usize = 60_000;

/// The maximum length of a displayed summary, in characters before escaping; escaping expands it at most
/// sixfold.
const MAX_SUMMARY_CHARS: usize = 7_000;
/// The maximum length of a displayed error message, in characters.
const MAX_ERROR_CHARS: usize = 4_000;
/// The maximum length of a displayed name (of an agent, a branch or a model), in characters.
const MAX_NAME_CHARS: usize = 200;

/// The context that an answer to a comment needs besides its content.
#[derive(Clone, Copy, Debug)]
pub struct AnswerContext<'a> {
    /// The comment that is being answered.
    pub comment_id: CommentId,
    /// The proof, for the marker, that Porter wrote the answer.
    pub proof: &'a str,
}

/// Formats a duration for people: `58 s`, `4 min 12 s`, `1 h 3 min`.
fn duration(time: TimeDelta) -> String {
    let seconds = time.num_seconds().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Joins the items as a list in a sentence: `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The most remarks that a text shows, and the most characters of each.
const MAX_REMARKS: usize = 20;
const MAX_REMARK_CHARS: usize = 600;

/// What a reader must know about the published work (what was left out, and why) as a list; `None` if there is
/// nothing.
fn remarks(task: &Task) -> Option<String> {
    let remarks = task.attempt.remarks.iter().take(MAX_REMARKS);
    let lines: Vec<String> =
        remarks.map(|remark| format!("- {}", plain(&line(&remark.text, MAX_REMARK_CHARS), true))).collect();
    (!lines.is_empty()).then(|| format!("**Please note:**\n\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests;
