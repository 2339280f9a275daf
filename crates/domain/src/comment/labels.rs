//! The labels that Porter maintains on an issue (main-spec §6). Porter does not change other labels.

use crate::task::{Priority, Status, Task};

const TASK: &str = "porter:task";
const AGENT: &str = "porter:agent:";
/// GitHub's maximum length of a label's name, in characters.
const MAX_LABEL_CHARS: usize = 50;

/// Returns all of Porter's labels that an issue with this task should carry.
pub fn labels(task: &Task) -> Vec<String> {
    let mut agent = format!("{AGENT}{}", task.agent);
    if let Some((cut, _)) = agent.char_indices().nth(MAX_LABEL_CHARS) {
        agent.truncate(cut);
    }
    vec![TASK.to_owned(), status_label(task.status), agent, priority_label(task.priority)]
}

/// Returns whether Porter added the label and may remove it when it no longer applies. Labels that name an agent
/// are kept, because another task of the issue may have added them. GitHub compares labels without regard to
/// case.
pub fn is_ours(label: &str) -> bool {
    let label = label.to_lowercase();
    Status::ALL.into_iter().any(|status| label == status_label(status))
        || [Priority::Low, Priority::Normal, Priority::High]
            .into_iter()
            .any(|priority| label == priority_label(priority))
}

fn status_label(status: Status) -> String {
    format!("porter:{}", status.as_str())
}

fn priority_label(priority: Priority) -> String {
    format!("porter:priority:{}", priority.as_str())
}
