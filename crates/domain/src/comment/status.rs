//! The status comment of a task, which is edited in place. It contains no text that changes while the task does
//! not ("3 minutes ago"), so it is edited only when the task changes.

use serde_json::{Value, json};

use super::{MAX_ERROR_CHARS, MAX_NAME_CHARS, MAX_SUMMARY_CHARS, duration, marker, remarks};
use crate::markdown::{block, code, quote};
use crate::report::{FailureStage, Usage};
use crate::task::{Phase, Priority, Status, Task};

/// The context that the status comment needs besides the task.
#[derive(Clone, Copy, Debug)]
pub struct StatusContext<'a> {
    /// The URL of the task's page.
    pub task_url: &'a str,
    /// The position of a queued task, from 1.
    pub queue_position: Option<u32>,
    /// The proof, for the marker, that Porter wrote the comment.
    pub proof: &'a str,
    /// The agent's display name.
    pub agent_name: &'a str,
    /// The URL of a comparison that shows the pushed branch.
    pub compare_url: Option<&'a str>,
}

/// Returns the status comment, with its marker.
pub fn status(task: &Task, context: &StatusContext<'_>) -> String {
    let mut parts = match task.status {
        Status::Queued => queued(task, context),
        Status::Running => running(task, context),
        Status::Success => success(task, context),
        Status::Failed | Status::TimedOut => unsuccessful(task, context),
    };
    let mut foot = vec![format!("[Follow the task]({})", context.task_url)];
    if task.status.is_terminal() {
        foot = vec![format!("[Task page]({})", context.task_url)];
    }
    if task.priority != Priority::Normal {
        foot.push(format!("{} priority", task.priority.as_str()));
    }
    if let Some(model) = &task.model {
        foot.push(format!("model {}", code(model, MAX_NAME_CHARS)));
    }
    if task.attempt.number > 1 {
        foot.push(format!("attempt {}", task.attempt.number));
    }
    parts.push(foot.join(" · "));
    parts.push(marker::line(&metadata(task, context.proof)));
    parts.join("\n\n")
}

fn metadata(task: &Task, proof: &str) -> Value {
    let mut data = json!({
        "taskId": task.id.as_str(),
        "attempt": task.attempt.number,
        "status": task.status.as_str(),
        "agent": task.agent,
        "priority": task.priority.number(),
        "proof": proof,
    });
    if let Some(branch) = &task.attempt.branch {
        data["branch"] = json!(branch);
    }
    if let Some(number) = task.pr_number {
        data["prNumber"] = json!(number);
    }
    data
}

fn queued(task: &Task, context: &StatusContext<'_>) -> Vec<String> {
    let again = if task.attempt.number > 1 { " again" } else { "" };
    let place = match context.queue_position {
        None | Some(0) => "It starts as soon as there is room.".to_owned(),
        Some(1) => "It is next in line.".to_owned(),
        Some(position) => format!("It is number {position} in line."),
    };
    vec![format!("⏳ **Queued{again}** for {}. {place}", context.agent_name)]
}

fn running(task: &Task, context: &StatusContext<'_>) -> Vec<String> {
    let name = context.agent_name;
    let mut head = match task.phase {
        Some(Phase::Publishing) => format!("📤 **{name} is done.** Opening the pull request."),
        Some(Phase::Working) => format!("🔧 **{name} is working on this.**"),
        Some(Phase::Launching) | None => format!("🚀 **Starting {name}.** Getting a machine ready."),
    };
    if task.phase == Some(Phase::Working) && task.attempt.progress > 0 {
        head.push_str(&format!(" {} %", task.attempt.progress.min(100)));
    }
    let mut parts = vec![head];
    if let (Some(Phase::Working), Some(activity)) = (task.phase, said(&task.attempt.activity)) {
        parts.push(format!("Now: {}", code(activity, MAX_NAME_CHARS)));
    }
    parts.push("To end it, comment `@porter stop`.".to_owned());
    parts
}

fn success(task: &Task, context: &StatusContext<'_>) -> Vec<String> {
    let name = context.agent_name;
    let head = match (task.pr_number, &task.pr_url) {
        (Some(number), Some(url)) => {
            format!("✅ **{name} is done:** [pull request #{number}]({url}) is ready for review.")
        }
        _ => format!("✅ **{name} is done.**"),
    };
    let mut parts = vec![head];
    parts.extend(summary(task));
    parts.extend(remarks(task));
    parts.push(facts(task, context));
    parts
}

fn unsuccessful(task: &Task, context: &StatusContext<'_>) -> Vec<String> {
    let name = context.agent_name;
    let stopped = task.status == Status::Failed && task.attempt.failure_stage.is_none();
    let unchanged = task.attempt.summary.as_ref().is_some_and(|summary| summary.starts_with("no changes"));
    let mut parts = vec![if stopped {
        format!("⏹️ **{name} was stopped.**")
    } else if task.status == Status::TimedOut {
        format!("⌛ **{name} ran out of time.**")
    } else if unchanged {
        format!("❌ **{name} changed nothing,** so there is no pull request.")
    } else {
        format!("❌ **{name} did not finish:** {}.", failure(task.attempt.failure_stage))
    }];
    if let Some(message) = said(&task.attempt.error_message).filter(|_| !unchanged) {
        parts.push(if stopped { quote(message, MAX_ERROR_CHARS) } else { block(message, MAX_ERROR_CHARS) });
    }
    if let Some(summary) = summary(task) {
        parts.push(format!("{name} said:\n\n{summary}"));
    }
    parts.extend(remarks(task));
    parts.push(format!("**What next?** {}", advice(task)));
    let facts = facts(task, context);
    if !facts.is_empty() {
        parts.push(facts);
    }
    parts
}

fn failure(stage: Option<FailureStage>) -> &'static str {
    match stage {
        Some(FailureStage::Preflight) => "something is missing to start it",
        Some(FailureStage::Launch) => "its machine could not be started, or was lost",
        Some(FailureStage::Clone) => "the repository could not be cloned",
        Some(FailureStage::Setup) => "the agent could not be started",
        Some(FailureStage::Agent) | None => "the agent gave up",
        Some(FailureStage::Push) => "its branch could not be pushed",
        Some(FailureStage::Pr) => "the pull request could not be opened",
        Some(FailureStage::Callback) => "its report never arrived",
    }
}

fn advice(task: &Task) -> &'static str {
    match (task.status, task.attempt.failure_stage) {
        (Status::TimedOut, _) => {
            "Comment `@porter retry` to try again, or ask for a smaller step: a new `@porter` comment that says which."
        }
        (_, Some(FailureStage::Preflight | FailureStage::Setup)) => {
            "Put right what the message names, then comment `@porter retry`."
        }
        (_, Some(FailureStage::Agent)) => {
            "Comment `@porter retry` to try again, or say more about what you want in a new `@porter` comment."
        }
        _ => "Comment `@porter retry` to try again.",
    }
}

fn summary(task: &Task) -> Option<String> {
    said(&task.attempt.summary).map(|summary| quote(summary, MAX_SUMMARY_CHARS))
}

/// Returns the text unless it is blank.
fn said(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.trim().is_empty())
}

/// Returns what is known about the attempt, one line per fact.
fn facts(task: &Task, context: &StatusContext<'_>) -> String {
    let mut lines = Vec::new();
    if let Some(branch) = &task.attempt.branch {
        let name = code(branch, MAX_NAME_CHARS);
        lines.push(match context.compare_url {
            Some(url) => format!("- Branch: {name} ([compare]({url}))"),
            None => format!("- Branch: {name}"),
        });
    }
    if let Some(commit) = &task.attempt.commit_sha {
        lines.push(format!("- Commit: {}", code(commit.get(..10).unwrap_or(commit), MAX_NAME_CHARS)));
    }
    if let (Some(start), Some(end)) = (task.attempt.started_at, task.attempt.completed_at)
        && end > start
    {
        lines.push(format!("- Time: {}", duration(end - start)));
    }
    lines.extend(tokens(&task.attempt.usage));
    if let Some(cost) = task.attempt.usage.cost_usd.and_then(cost) {
        lines.push(format!("- Cost: {cost}"));
    }
    lines.join("\n")
}

fn tokens(usage: &Usage) -> Option<String> {
    let parts: Vec<_> = [(usage.input_tokens, "in"), (usage.output_tokens, "out")]
        .into_iter()
        .filter_map(|(count, way)| count.map(|count| format!("{} {way}", thousands(count))))
        .collect();
    (!parts.is_empty()).then(|| format!("- Tokens: {}", parts.join(", ")))
}

/// Formats an amount in US dollars; returns `None` when the number cannot be a price.
fn cost(dollars: f64) -> Option<String> {
    match dollars {
        0.0 => Some("$0".to_owned()),
        0.0..0.01 => Some("less than $0.01".to_owned()),
        0.01..1_000_000.0 => Some(format!("${dollars:.2}")),
        _ => None,
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
