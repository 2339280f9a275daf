//! What happened to a task: the one definition of the events that `db` stores and
//! `GET /api/tasks/:id/events` streams (main-spec §6). Nothing else writes or reads their JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::report::Usage;
use crate::task::{Status, Task};

/// One thing that happened. Its kind is the name of the event in the stream, its fields are the event's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum TaskEvent {
    /// The task's status changed.
    Status {
        /// What it is now.
        status: Status,
        /// Why it did not succeed, for a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
        /// The pull request's page.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pr_url: Option<String>,
    },
    /// How far the attempt is.
    Progress {
        /// Percent, 0 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<u8>,
        /// What is happening, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The agent wrote to the person.
    Message {
        /// Its text.
        text: String,
    },
    /// The agent called one of its tools.
    Tool {
        /// The agent's id of the call; the result has the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool's name.
        name: String,
        /// The call in one line.
        summary: String,
        /// The command line, where the tool runs one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// A tool returned.
    ToolResult {
        /// The id of its call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// It succeeded.
        ok: bool,
        /// What it printed.
        output: String,
        /// The exit code of its command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// How long it ran, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// The agent changed a file.
    File {
        /// Its path in the repository.
        path: String,
        /// How.
        change: FileChange,
        /// Lines added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        added: Option<u64>,
        /// Lines removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removed: Option<u64>,
    },
    /// The agent's plan, whole, each time it changes.
    Plan {
        /// Its steps, in order.
        items: Vec<PlanItem>,
    },
    /// What the attempt has used so far.
    Usage(Usage),
    /// Something went wrong.
    Error {
        /// What, for a person.
        message: String,
    },
    /// A remark of the worker.
    Note {
        /// Its text.
        text: String,
    },
    /// A line of output that has no other meaning.
    Output {
        /// The line.
        text: String,
    },
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One step of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// What is to be done.
    pub text: String,
    /// How far it is.
    pub state: PlanState,
}

/// How far a step of a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanState {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

impl TaskEvent {
    /// The event that tells the status of `task`.
    pub fn status_of(task: &Task) -> Self {
        Self::Status {
            status: task.status,
            error_message: task.attempt.error_message.clone(),
            pr_url: task.pr_url.clone(),
        }
    }

    /// The kind, as it is stored and streamed.
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

    /// The data, as it is stored and streamed: always an object.
    pub fn data(&self) -> Map<String, Value> {
        // Plain data with text keys: it always serializes, and each variant to an object under `data`.
        match serde_json::to_value(self).map(|mut event| event["data"].take()) {
            Ok(Value::Object(data)) => data,
            _ => Map::new(),
        }
    }

    /// The event of this kind with this data; `None` when there is no such event. Unknown fields are ignored.
    pub fn parse(kind: &str, data: &str) -> Option<Self> {
        let data: Value = serde_json::from_str(data).ok()?;
        serde_json::from_value(json!({ "kind": kind, "data": data })).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of event, with its name and its data as main-spec §6 has them.
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
    fn every_event_is_written_as_the_contract_has_it_and_read_back() {
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
    fn a_kind_or_data_that_no_event_has_is_none() {
        for (kind, data) in
            [("log", "{}"), ("output", "{}"), ("output", "no JSON"), ("status", r#"{"status":"x"}"#)]
        {
            assert_eq!(TaskEvent::parse(kind, data), None, "{kind} {data}");
        }
    }
}
