//! The events of a task. This is the only definition of the events that `db` stores and `GET
//! /api/tasks/:id/events` streams (main-spec §6). No other code writes or reads their JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::report::Usage;
use crate::task::{Status, Task};

/// An event. Its kind is the event name in the stream, and its fields are the event's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum TaskEvent {
    /// The task's status changed.
    Status {
        /// The new status.
        status: Status,
        /// The reason why the task did not succeed, as text for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
        /// The URL of the pull request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pr_url: Option<String>,
    },
    /// The attempt's progress.
    Progress {
        /// Progress in percent, 0 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<u8>,
        /// The current activity, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A message from the agent to the person.
    Message {
        /// The message's text.
        text: String,
    },
    /// The agent called one of its tools.
    Tool {
        /// The agent's id of the call; the result has the same id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool's name.
        name: String,
        /// The call, in one line.
        summary: String,
        /// The command line, if the tool runs one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// The result of a tool call.
    ToolResult {
        /// The id of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Whether the call succeeded.
        ok: bool,
        /// The tool's output.
        output: String,
        /// The exit code of the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The duration, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// The agent changed a file.
    File {
        /// The file's path in the repository.
        path: String,
        /// The kind of change.
        change: FileChange,
        /// The number of added lines.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added: Option<u64>,
        /// The number of removed lines.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removed: Option<u64>,
    },
    /// The agent's complete plan, sent whenever it changes.
    Plan {
        /// The steps, in order.
        items: Vec<PlanItem>,
    },
    /// The resources that the attempt has used so far.
    Usage(Usage),
    /// An error.
    Error {
        /// The error, as text for people.
        message: String,
    },
    /// A note from the worker.
    Note {
        /// The note's text.
        text: String,
    },
    /// A line of output that does not represent another event.
    Output {
        /// The line.
        text: String,
    },
}

/// The kind of a change to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// The file is new.
    Added,
    /// The file's contents changed.
    Modified,
    /// The file was deleted.
    Deleted,
}

/// A step of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// The step's text.
    pub text: String,
    /// The step's state.
    pub state: PlanState,
}

/// The state of a step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Not started.
    Pending,
    /// In progress.
    InProgress,
    /// Done.
    Completed,
}

impl TaskEvent {
    /// Returns the event for the current status of `task`.
    pub fn status_of(task: &Task) -> Self {
        Self::Status {
            status: task.status,
            error_message: task.attempt.error_message.clone(),
            pr_url: task.pr_url.clone(),
        }
    }

    /// Returns the kind in its stored and streamed form.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Progress { .. } => "progress",
            Self::Message { .. } => "message",
            Self::Tool { .. } => "tool",
            Self::ToolResult { .. } => "tool_result",
            Self::File { .. } => "file",
            Self::Plan { .. } => "plan",
            Self::Usage(_) => "usage",
            Self::Error { .. } => "error",
            Self::Note { .. } => "note",
            Self::Output { .. } => "output",
        }
    }

    /// Returns the data in its stored and streamed form, which is always an object.
    pub fn data(&self) -> Map<String, Value> {
        // Plain data with text keys always serializes, and each variant becomes an object under `data`.
        match serde_json::to_value(self).map(|mut event| event["data"].take()) {
            Ok(Value::Object(data)) => data,
            _ => Map::new(),
        }
    }

    /// Returns the event of this kind with this data; `None` when no such event exists. Unknown fields are
    /// ignored.
    pub fn parse(kind: &str, data: &str) -> Option<Self> {
        let data: Value = serde_json::from_str(data).ok()?;
        serde_json::from_value(json!({ "kind": kind, "data": data })).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every kind of event, with its name and its data as in main-spec §6.
    fn events() -> Vec<(TaskEvent, &'static str, Value)> {
        let text = |text: &str| text.to_owned();
        let usage = Usage { input_tokens: Some(7), cache_read_tokens: Some(5), ..Usage::default() };
        vec![
            (
                TaskEvent::Status {
                    status: Status::TimedOut,
                    error_message: Some(text("late")),
                    pr_url: Some(text("https://github.example/2")),
                },
                "status",
                json!({ "status": "timed_out", "errorMessage": "late", "prUrl": "https://github.example/2" }),
            ),
            (
                TaskEvent::Progress { progress: Some(40), message: Some(text("Half way")) },
                "progress",
                json!({ "progress": 40, "message": "Half way" }),
            ),
            (TaskEvent::Message { text: text("Hello.") }, "message", json!({ "text": "Hello." })),
            (
                TaskEvent::Tool {
                    id: Some(text("1")),
                    name: text("bash"),
                    summary: text("Run the tests"),
                    command: Some(text("./test.sh")),
                },
                "tool",
                json!({ "id": "1", "name": "bash", "summary": "Run the tests", "command": "./test.sh" }),
            ),
            (
                TaskEvent::ToolResult {
                    id: Some(text("1")),
                    ok: false,
                    output: text("1 failed"),
                    exit_code: Some(1),
                    duration_ms: Some(20),
                },
                "tool_result",
                json!({ "id": "1", "ok": false, "output": "1 failed", "exitCode": 1, "durationMs": 20 }),
            ),
            (
                TaskEvent::File {
                    path: text("src/a.rs"),
                    change: FileChange::Modified,
                    added: Some(2),
                    removed: Some(1),
                },
                "file",
                json!({ "path": "src/a.rs", "change": "modified", "added": 2, "removed": 1 }),
            ),
            (
                TaskEvent::Plan {
                    items: vec![PlanItem { text: text("Test"), state: PlanState::InProgress }],
                },
                "plan",
                json!({ "items": [{ "text": "Test", "state": "in_progress" }] }),
            ),
            (TaskEvent::Usage(usage), "usage", json!({ "inputTokens": 7, "cacheReadTokens": 5 })),
            (TaskEvent::Error { message: text("no") }, "error", json!({ "message": "no" })),
            (TaskEvent::Note { text: text("cloned") }, "note", json!({ "text": "cloned" })),
            (TaskEvent::Output { text: text("ok\n1") }, "output", json!({ "text": "ok\n1" })),
        ]
    }

    #[test]
    fn every_event_is_serialized_as_documented_and_parsed_back() {
        for (event, kind, data) in events() {
            assert_eq!((event.kind(), Value::from(event.data())), (kind, data.clone()));
            assert_eq!(TaskEvent::parse(kind, &data.to_string()), Some(event));
        }
    }

    #[test]
    fn what_is_unknown_is_absent_and_null_is_read_as_unknown() {
        let queued = TaskEvent::Status { status: Status::Queued, error_message: None, pr_url: None };
        assert_eq!(Value::from(queued.data()), json!({ "status": "queued" }));
        let stored = r#"{"attempt":1,"errorMessage":null,"prUrl":null,"status":"queued"}"#;
        assert_eq!(TaskEvent::parse("status", stored), Some(queued));
    }

    #[test]
    fn unknown_event_kinds_and_invalid_data_are_rejected() {
        for (kind, data) in
            [("log", "{}"), ("output", "{}"), ("output", "no JSON"), ("status", r#"{"status":"x"}"#)]
        {
            assert_eq!(TaskEvent::parse(kind, data), None, "{kind} {data}");
        }
    }
}
