//! `claude -p --output-format stream-json`: `system`, `assistant`, `user` (tool results) and, last,
//! `result`. The mock agent prints the same.
//!
//! On failure `subtype` can still be `success`: what counts is `is_error`.

use serde_json::Value;

use super::{EXIT_TIMEOUT, Transcript, anthropic_usage, tool_line};

/// Takes in one event; nothing when it is of a kind this does not know.
pub fn read(transcript: &mut Transcript, event: &Value) -> Option<Vec<String>> {
    match event["type"].as_str()? {
        "system" => Some(system(event)),
        "assistant" => Some(assistant(transcript, &event["message"])),
        "user" => Some(tool_results(&event["message"])),
        "result" => Some(result(transcript, event)),
        "rate_limit_event" => Some(Vec::new()),
        _ => None,
    }
}

fn system(event: &Value) -> Vec<String> {
    match (event["subtype"].as_str(), event["model"].as_str()) {
        (Some("init"), Some(model)) => vec![format!("Started with {model}")],
        (Some("init"), None) => vec!["Started".to_owned()],
        _ => Vec::new(),
    }
}

/// The agent's words and the tools it calls.
fn assistant(transcript: &mut Transcript, message: &Value) -> Vec<String> {
    let usage = anthropic_usage(&message["usage"]);
    if usage.output_tokens.is_some() {
        transcript.count_message(message["id"].as_str(), &usage);
    }
    transcript.works();
    let mut lines = Vec::new();
    for block in message["content"].as_array().into_iter().flatten() {
        match (block["type"].as_str(), block["text"].as_str(), block["name"].as_str()) {
            (Some("text"), Some(text), _) => {
                transcript.say(text);
                lines.push(text.to_owned());
            }
            (Some("tool_use"), _, Some(name)) => lines.push(tool_line(name, &block["input"])),
            _ => {}
        }
    }
    lines
}

/// Only what went wrong is worth a line.
fn tool_results(message: &Value) -> Vec<String> {
    let failed =
        message["content"].as_array().into_iter().flatten().filter(|block| block["is_error"] == true);
    failed.map(|block| format!("Tool failed: {}", first_line(&block["content"]))).collect()
}

fn first_line(content: &Value) -> &str {
    let text = content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or_default();
    text.lines().next().unwrap_or_default()
}

/// How it ended.
fn result(transcript: &mut Transcript, event: &Value) -> Vec<String> {
    transcript.finished = true;
    let words = event["result"].as_str().unwrap_or_default();
    transcript.say(words);
    let total = anthropic_usage(&event["usage"]);
    if total.output_tokens.is_some() {
        transcript.usage.input_tokens = total.input_tokens;
        transcript.usage.output_tokens = total.output_tokens;
    }
    if let Some(cost) = event["total_cost_usd"].as_f64() {
        transcript.usage.cost_usd = Some(cost);
    }
    if event["is_error"] == true {
        let reason =
            if words.is_empty() { event["subtype"].as_str().unwrap_or("no reason given") } else { words };
        let reason = event["errors"][0].as_str().filter(|_| words.is_empty()).unwrap_or(reason);
        transcript.fails(reason, false);
        return vec![format!("Failed: {reason}")];
    }
    transcript.succeeds(EXIT_TIMEOUT);
    match event["num_turns"].as_u64() {
        Some(turns) => vec![format!("Finished after {turns} turns")],
        None => vec!["Finished".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::agent::Output;

    fn transcript(lines: &[&str]) -> (Transcript, Vec<String>) {
        let mut transcript = Transcript::new(Output::Claude);
        let shown = lines.iter().flat_map(|line| transcript.read(line)).collect();
        (transcript, shown)
    }

    #[test]
    fn a_run_becomes_short_lines_usage_and_closing_words() {
        let (seen, shown) = transcript(&[
            r#"{"type":"system","subtype":"init","model":"claude-sonnet-4-5","cwd":"/x"}"#,
            r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"Let me look."}],"usage":{"input_tokens":10,"output_tokens":2}}}"#,
            r#"{"type":"assistant","message":{"id":"m1","content":[{"type":"tool_use","name":"Bash","input":{"command":"ls\nrm"}}],"usage":{"input_tokens":10,"output_tokens":5}}}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","is_error":true,"content":"no such file\nmore"}]}}"#,
            r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"Done.","total_cost_usd":0.0125,"usage":{"input_tokens":4,"cache_read_input_tokens":100,"cache_creation_input_tokens":20,"output_tokens":7}}"#,
        ]);
        assert_eq!(
            shown,
            [
                "Started with claude-sonnet-4-5",
                "Let me look.",
                "Bash: ls",
                "Tool failed: no such file",
                "Finished after 2 turns"
            ]
        );
        assert_eq!(seen.summary.as_deref(), Some("Done."));
        assert_eq!(
            (seen.usage.input_tokens, seen.usage.output_tokens, seen.usage.cost_usd),
            (Some(124), Some(7), Some(0.0125))
        );
        assert_eq!(seen.verdict(), Ok(()));
    }

    #[test]
    fn a_message_printed_twice_is_counted_once() {
        let line = r#"{"type":"assistant","message":{"id":"m1","content":[],"usage":{"input_tokens":10,"output_tokens":5}}}"#;
        let (seen, _) = transcript(&[line, line, &line.replace("m1", "m2")]);
        assert_eq!((seen.usage.input_tokens, seen.usage.output_tokens), (Some(20), Some(10)));
    }

    #[test]
    fn an_error_is_a_failure_even_when_the_subtype_says_success() {
        let (seen, shown) = transcript(&[
            r#"{"type":"result","subtype":"success","is_error":true,"result":"Invalid API key","api_error_status":401}"#,
        ]);
        assert_eq!(seen.verdict(), Err("The agent failed: Invalid API key".to_owned()));
        assert_eq!(shown, ["Failed: Invalid API key"]);
    }

    #[test]
    fn a_spent_budget_is_named() {
        let (seen, _) =
            transcript(&[r#"{"type":"result","subtype":"error_max_budget_usd","is_error":true}"#]);
        assert_eq!(seen.verdict(), Err("The agent failed: error_max_budget_usd".to_owned()));
    }
}
