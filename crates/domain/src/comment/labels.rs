//! The labels Porter keeps on an issue (main-spec §6). All others are none of its business.

use crate::task::{Priority, Status, Task};

const TASK: &str = "porter:task";
const AGENT: &str = "porter:agent:";
/// The longest name GitHub takes for a label, in characters.
const MAX_LABEL_CHARS: usize = 50;

/// The labels that an issue with this task should carry, and no others of ours.
pub fn labels(task: &Task) -> Vec<String> {
    let mut agent = format!("{AGENT}{}", task.agent);
    if let Some((cut, _)) = agent.char_indices().nth(MAX_LABEL_CHARS) {
        agent.truncate(cut);
    }
    vec![TASK.to_owned(), status_label(task.status), agent, priority_label(task.priority)]
}

/// Whether Porter put the label there, and may take it away when it is no longer true. Labels that name an
/// agent stay: another task of the issue may have put them there. GitHub ignores the case of labels.
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
