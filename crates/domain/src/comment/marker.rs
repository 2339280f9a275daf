//! The last line of every comment that Porter writes: `<!-- porter:{json} -->`, which GitHub does not display.
//! It identifies the subject of the comment and proves that Porter wrote it.
//!
//! Only the last line is read, and text from outside is never placed there. `crypto` makes the proof; the caller
//! must check on GitHub who posted the comment.

use crate::ids::CommentId;
use serde_json::Value;

const BEFORE: &str = "<!-- porter:";
const AFTER: &str = " -->";

/// Returns the marker line for `data`. `<` and `>` are written as JSON escapes, so that nothing in it can end
/// the HTML comment.
pub(super) fn line(data: &Value) -> String {
    let json = data.to_string().replace('<', "\\u003c").replace('>', "\\u003e");
    format!("{BEFORE}{json}{AFTER}")
}

/// Returns whether `body` is the status comment of this task.
pub fn has_marker(body: &str, task_id: &str, proof: &str) -> bool {
    read(body).is_some_and(|data| data["taskId"] == task_id && data["proof"] == proof)
}

/// Returns whether `body` is the answer to this comment, or its refusal.
pub fn has_answer_marker(body: &str, comment_id: CommentId, proof: &str) -> bool {
    read(body).is_some_and(|data| data["comment"] == comment_id.get() && data["proof"] == proof)
}

fn read(body: &str) -> Option<Value> {
    let last = body.trim_end().lines().next_back()?;
    serde_json::from_str(last.strip_prefix(BEFORE)?.strip_suffix(AFTER)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_marker_is_found_on_the_last_line_only() {
        let line = line(&json!({"taskId": "task_1", "proof": "abc"}));
        assert!(has_marker(&format!("text\r\n\r\n{line}\r\n"), "task_1", "abc"));
        assert!(!has_marker(&format!("{line}\n\ntext"), "task_1", "abc"));
        assert!(!has_marker(&format!("> {line}"), "task_1", "abc"));
        assert!(!has_marker(&line, "task_1", "abd"));
        assert!(!has_marker(&line, "task_2", "abc"));
        assert!(!has_marker("", "task_1", "abc"));
    }

    proptest! {
        #[test]
        fn marker_data_cannot_close_the_html_comment(text in r"(-->|--!>|<!--|>|\PC|\n){0,20}") {
            let line = line(&json!({"taskId": text, "proof": "abc"}));
            prop_assert_eq!(line.matches('>').count(), 1);
            prop_assert_eq!(line.lines().count(), 1);
            prop_assert!(has_marker(&line, &text, "abc"));
        }
    }
}
