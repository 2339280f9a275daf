//! A task as JSON: the seed's `Task` and the fields that main-spec §6 adds. Unknown values are omitted.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use domain::report::{FailureStage, Usage};
use domain::task::{Status, Task};

/// The JSON form of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskJson {
    pub id: String,
    pub status: Status,
    pub attempt: u32,
    pub repo_owner: String,
    pub repo_name: String,
    pub issue_number: i64,
    pub issue_title: String,
    pub issue_body: String,
    pub issue_url: String,
    pub agent: String,
    pub priority: i64,
    pub progress: u8,
    pub created_by: String,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pr_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pr_number: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_stage: Option<FailureStage>,
    #[serde(skip_serializing_if = "is_unknown")]
    pub usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_last_http_code: Option<u16>,
}

impl TaskJson {
    /// Converts a task; `queue_position` is its position while it is queued.
    pub fn new(task: Task, queue_position: Option<u32>) -> Self {
        Self {
            id: task.id.to_string(),
            status: task.status,
            attempt: task.attempt,
            repo_owner: task.repository.owner,
            repo_name: task.repository.name,
            issue_number: task.issue.number,
            issue_title: task.issue.title,
            issue_body: task.issue.body,
            issue_url: task.issue.url,
            agent: task.agent,
            priority: task.priority.number(),
            progress: task.progress,
            created_by: task.requester.login,
            created_at: rfc3339(task.created_at),
            updated_at: rfc3339(task.updated_at),
            queue_position,
            model: task.model,
            base_branch: task.base_branch,
            branch: task.branch,
            commit_sha: task.commit_sha,
            pr_url: task.pr_url,
            pr_number: task.pr_number,
            machine_id: task.machine_id,
            summary: task.summary,
            error_message: task.error_message,
            failure_stage: task.failure_stage,
            usage: task.usage,
            started_at: task.started_at.map(rfc3339),
            completed_at: task.completed_at.map(rfc3339),
            callback_attempts: task.callback_attempts,
            callback_max_attempts: task.callback_max_attempts,
            callback_last_http_code: task.callback_last_http_code,
        }
    }
}

fn is_unknown(usage: &Usage) -> bool {
    *usage == Usage::default()
}

/// Formats an instant as RFC 3339 in UTC, with milliseconds.
pub(in crate::web) fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
