//! `opencode run --format json`: `step_start`, `text`, `reasoning`, `tool_use`, `step_finish` (with the
//! step's tokens and cost) and `error`. There is no closing event: the exit code says that it is over.

use serde_json::Value;

use super::{QUIET_EXIT_TIMEOUT, Transcript, tool_line};

/// Takes in one event; nothing when it is of a kind this does not know.
pub fn read(transcript: &mut Transcript, event: &Value) -> Option<Vec<String>> {
    let part = &event["part"];
    match event["type"].as_str()? {
        "step_start" | "reasoning" => {
            transcript.works();
            Some(Vec::new())
        }
        "text" => {
            transcript.works();
            let text = part["text"].as_str()?;
            transcript.say(text);
            Some(vec![text.to_owned()])
        }
        "tool_use" => {
            transcript.works();
            Some(tool(part))
        }
        "step_finish" => {
            add_up(transcript, part);
            // The reason of every other step is that a tool is to be called.
            if part["reason"] == "stop" {
                transcript.succeeds(QUIET_EXIT_TIMEOUT);
            }
            Some(Vec::new())
        }
        "error" => {
            let error = &event["error"];
            let reason = error["data"]["message"].as_str().or_else(|| error["name"].as_str());
            let reason = reason.or_else(|| error.as_str()).unwrap_or("no reason given");
            transcript.fails(reason, true);
            Some(vec![format!("Failed: {reason}")])
        }
        _ => None,
    }
}

fn tool(part: &Value) -> Vec<String> {
    let state = &part["state"];
    let line = tool_line(part["tool"].as_str().unwrap_or("tool"), &state["input"]);
    match state["error"].as_str() {
        Some(error) => vec![line, format!("Tool failed: {}", error.lines().next().unwrap_or_default())],
        None => vec![line],
    }
}

fn add_up(transcript: &mut Transcript, part: &Value) {
    let tokens = &part["tokens"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let read = count(&tokens["input"]) + count(&tokens["cache"]["read"]) + count(&tokens["cache"]["write"]);
    let written = count(&tokens["output"]) + count(&tokens["reasoning"]);
    let usage = &mut transcript.usage;
    usage.input_tokens = Some(usage.input_tokens.unwrap_or(0).saturating_add(read));
    usage.output_tokens = Some(usage.output_tokens.unwrap_or(0).saturating_add(written));
    if let Some(cost) = part["cost"].as_f64() {
        usage.cost_usd = Some(usage.cost_usd.unwrap_or(0.0) + cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::agent::Output;

    #[test]
    fn steps_are_added_up_and_the_last_words_close() {
        let mut seen = Transcript::new(Output::Opencode);
        let lines = [
            r#"{"type":"step_start","part":{"type":"step-start"}}"#,
            r#"{"type":"tool_use","part":{"tool":"bash","state":{"status":"completed","input":{"command":"make test"}}}}"#,
            r#"{"type":"step_finish","part":{"tokens":{"input":10,"output":2,"reasoning":1,"cache":{"read":100,"write":5}},"cost":0.01}}"#,
            r#"{"type":"text","part":{"text":"All tests pass now."}}"#,
            r#"{"type":"step_finish","part":{"tokens":{"input":1,"output":1,"reasoning":0,"cache":{"read":0,"write":0}},"cost":0.02}}"#,
        ];
        let shown: Vec<String> = lines.iter().flat_map(|line| seen.read(line)).collect();
        assert_eq!(shown, ["bash: make test", "All tests pass now."]);
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens), (Some(116), Some(4)));
        assert!((seen.usage.cost_usd.unwrap() - 0.03).abs() < 1e-9);
        assert_eq!(seen.summary.as_deref(), Some("All tests pass now."));
        assert_eq!(seen.verdict(), Ok(()));
    }

    #[test]
    fn a_success_after_an_error_counts_and_an_error_after_a_success_as_well() {
        let error = r#"{"type":"error","error":{"name":"APIError","data":{"message":"Overloaded"}}}"#;
        let stop =
            r#"{"type":"step_finish","part":{"reason":"stop","tokens":{"input":1,"output":1},"cost":0}}"#;
        let call = stop.replace("stop\"", "tool-calls\"");
        let verdict = |lines: &[&str]| {
            let mut seen = Transcript::new(Output::Opencode);
            lines.iter().for_each(|line| drop(seen.read(line)));
            (seen.verdict().is_ok(), seen.exit_timeout.is_some())
        };
        assert_eq!(verdict(&[error, stop]), (true, true));
        assert_eq!(verdict(&[stop, error]), (false, false));
        assert_eq!(verdict(&[error, &call]), (false, false));
        assert_eq!(verdict(&[stop, r#"{"type":"step_start","part":{}}"#]), (true, false));
    }

    #[test]
    fn a_known_reason_is_the_end() {
        let mut seen = Transcript::new(Output::Opencode);
        seen.read(r#"{"type":"error","error":{"data":{"message":"Monthly usage limit reached"}}}"#);
        assert!(seen.exit_timeout.is_some());
        assert_eq!(seen.cause(), Some(super::super::Cause::UsageLimit));
    }

    #[test]
    fn an_error_event_is_a_failure() {
        let mut seen = Transcript::new(Output::Opencode);
        seen.read(r#"{"type":"error","error":{"name":"APIError","data":{"message":"invalid x-api-key","statusCode":401}}}"#);
        assert_eq!(seen.verdict(), Err("The agent failed: invalid x-api-key".to_owned()));
    }
}
