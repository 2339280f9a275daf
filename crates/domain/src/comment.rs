//! Everything people read on GitHub: the status comment, answers, refusals, pull requests, labels. Pure
//! functions from plain values to Markdown; `tasks` posts what they give.
//!
//! Foreign text (titles, an agent's words, error messages) only ever enters through
//! `domain::markdown`'s writing half. Every comment ends with a [`marker`], by which Porter finds its own
//! comment again after a crash.
//!
//! Invariant: no comment is longer than [`MAX_COMMENT_CHARS`] characters, whatever the foreign text.

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

/// The most characters a comment may have. GitHub's limit is 65,536; the rest is margin.
pub const MAX_COMMENT_CHARS: usize = 60_000;

/// The longest summary that is shown, in characters of the original; what is written takes six times that at most.
const MAX_SUMMARY_CHARS: usize = 7_000;
/// The longest error message that is shown, in characters.
const MAX_ERROR_CHARS: usize = 4_000;
/// The longest name (of an agent, a branch, a model) that is shown, in characters.
const MAX_NAME_CHARS: usize = 200;

/// What an answer to a comment needs to know beside its content.
#[derive(Clone, Copy, Debug)]
pub struct AnswerContext<'a> {
    /// The comment that is answered.
    pub comment_id: CommentId,
    /// Proves that Porter wrote the answer.
    pub proof: &'a str,
}

/// A length of time, as people say it: `58 s`, `4 min 12 s`, `1 h 3 min`.
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

/// A list in a sentence: `a, b and c`.
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
