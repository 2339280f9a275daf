//! A task as JSON: the seed's `Task` and the fields that main-spec §6 adds. Unknown values are omitted.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::IssueNumber;
use serde::Serialize;

use domain::report::Remark;
use domain::report::{FailureStage, Usage};
use domain::task::{AttemptRecord, Status, Task};

/// The JSON form of a task.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskJson {
    pub id: String,
    pub status: Status,
    pub attempt: u32,
    pub repo_owner: String,
    pub repo_name: String,
    pub issue_number: IssueNumber,
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
    pub pr_number: Option<IssueNumber>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptJson>>,
}

/// One attempt of a task on the wire.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptJson {
    pub attempt: u32,
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_stage: Option<FailureStage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "is_unknown")]
    pub usage: Usage,
    pub remarks: Vec<Remark>,
}

impl From<AttemptRecord> for AttemptJson {
    fn from(AttemptRecord { status, attempt }: AttemptRecord) -> Self {
        Self {
            attempt: attempt.number,
            status,
            model: attempt.model,
            branch: attempt.branch,
            commit_sha: attempt.commit_sha,
            machine_id: attempt.machine_id,
            started_at: attempt.started_at.map(rfc3339),
            completed_at: attempt.completed_at.map(rfc3339),
            failure_stage: attempt.failure_stage,
            failure_reason: attempt.failure_reason,
            error_message: attempt.error_message,
            summary: attempt.summary,
            usage: attempt.usage,
            remarks: attempt.remarks,
        }
    }
}

impl TaskJson {
    /// Converts a task; `queue_position` is its position while it is queued.
    pub fn new(task: Task, queue_position: Option<u32>) -> Self {
        Self {
            id: task.id.to_string(),
            status: task.status,
            attempt: task.attempt.number,
            repo_owner: task.repository.full_name.owner,
            repo_name: task.repository.full_name.name,
            issue_number: task.issue.number,
            issue_title: task.issue.title,
            issue_body: task.issue.body,
            issue_url: task.issue.url,
            agent: task.agent,
            priority: task.priority.number(),
            progress: task.attempt.progress,
            created_by: task.requester.login,
            created_at: rfc3339(task.created_at),
            updated_at: rfc3339(task.updated_at),
            queue_position,
            model: task.model,
            base_branch: task.base_branch,
            branch: task.attempt.branch,
            commit_sha: task.attempt.commit_sha,
            pr_url: task.pr_url,
            pr_number: task.pr_number,
            machine_id: task.attempt.machine_id,
            summary: task.attempt.summary,
            error_message: task.attempt.error_message,
            failure_stage: task.attempt.failure_stage,
            usage: task.attempt.usage,
            started_at: task.attempt.started_at.map(rfc3339),
            completed_at: task.attempt.completed_at.map(rfc3339),
            callback_attempts: task.attempt.callback.attempts,
            callback_max_attempts: task.attempt.callback.max_attempts,
            callback_last_http_code: task.attempt.callback.last_http_code,
            attempts: None,
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
