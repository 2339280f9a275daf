//! `amp -x --stream-json`: the events of Claude Code's stream. Usage stands in the assistant's messages
//! only, there is no cost, and the exit code is 0 even when the key was refused: `is_error` counts, and an
//! `error` field.

use serde_json::Value;

use super::{Transcript, claude};

/// Takes in one event; nothing when it is of a kind this does not know.
pub fn read(transcript: &mut Transcript, event: &Value) -> Option<Vec<String>> {
    if event["type"] == "result" && event["is_error"] == true && event["result"].as_str().is_none() {
        transcript.finished = true;
        let reason =
            event["error"].as_str().or_else(|| event["subtype"].as_str()).unwrap_or("no reason given");
        transcript.fails(reason, false);
        return Some(vec![format!("Failed: {reason}")]);
    }
    claude::read(transcript, event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::agent::Output;

    #[test]
    fn the_tokens_of_all_messages_are_added_up() {
        let mut seen = Transcript::new(Output::Amp);
        for line in [
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"One"}],"usage":{"input_tokens":1,"cache_read_input_tokens":10,"output_tokens":2}}}"#,
            r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Two"}],"usage":{"input_tokens":1,"output_tokens":3}}}"#,
            r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"2 + 2 equals 4."}"#,
        ] {
            seen.read(line);
        }
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens), (Some(12), Some(5)));
        assert_eq!(seen.usage.cost_usd, None);
        assert_eq!(seen.summary.as_deref(), Some("2 + 2 equals 4."));
        assert_eq!(seen.verdict(), Ok(()));
    }

    #[test]
    fn a_refused_key_is_a_failure_whatever_the_exit_code() {
        let mut seen = Transcript::new(Output::Amp);
        seen.read(
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"error":"Unauthorized"}"#,
        );
        assert_eq!(seen.verdict(), Err("The agent failed: Unauthorized".to_owned()));
    }
}
