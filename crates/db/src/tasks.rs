//! `tasks`: one row per request, read and stored with its current attempt. Every decision is stored by
//! [`store`], which is guarded by the state on which the decision was based. [`attempts::record_progress`] and
//! [`remember_status_comment`] also write, but only values on which no decision depends.

use domain::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName, UserId};
use serde::Serialize;

use super::attempts::{self, attempt_of};
use super::{Connection, Error, instant, json_rows, millis, parsed};
use domain::task::{Issue, Phase, Priority, Repository, Requester, Status, Task, TaskId};

/// A task and its current attempt, as sqlx reads them.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) status: String,
    pub(super) phase: Option<String>,
    pub(super) attempt: i64,
    pub(super) priority: i64,
    pub(super) agent: String,
    pub(super) model: Option<String>,
    pub(super) base_branch: Option<String>,
    pub(super) base_settled: i64,
    pub(super) repo_id: RepositoryId,
    pub(super) repo_owner: String,
    pub(super) repo_name: String,
    pub(super) default_branch: String,
    pub(super) installation_id: InstallationId,
    pub(super) issue_number: IssueNumber,
    pub(super) issue_title: String,
    pub(super) issue_body: String,
    pub(super) issue_url: String,
    pub(super) is_pull_request: i64,
    pub(super) comment_id: Option<i64>,
    pub(super) instructions: String,
    pub(super) requester_id: UserId,
    pub(super) requester_login: String,
    pub(super) progress: i64,
    pub(super) activity: Option<String>,
    pub(super) created_at: i64,
    pub(super) queued_at: i64,
    pub(super) started_at: Option<i64>,
    pub(super) completed_at: Option<i64>,
    pub(super) updated_at: i64,
    pub(super) deadline_at: Option<i64>,
    pub(super) seen_at: Option<i64>,
    pub(super) machine_id: Option<String>,
    pub(super) branch: Option<String>,
    pub(super) commit_sha: Option<String>,
    pub(super) pr_url: Option<String>,
    pub(super) pr_number: Option<i64>,
    pub(super) summary: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) failure_stage: Option<String>,
    pub(super) input_tokens: Option<i64>,
    pub(super) output_tokens: Option<i64>,
    pub(super) cost_usd: Option<f64>,
    pub(super) callback_attempts: Option<i64>,
    pub(super) callback_max_attempts: Option<i64>,
    pub(super) callback_last_http_code: Option<i64>,
    pub(super) status_comment_id: Option<i64>,
    pub(super) failure_reason: Option<String>,
    pub(super) cache_read_tokens: Option<i64>,
    pub(super) cache_write_tokens: Option<i64>,
    pub(super) attempt_model: Option<String>,
    pub(super) place: Option<String>,
    pub(super) remarks: String,
}

impl TryFrom<Row> for Task {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: parsed("task id", &row.id, TaskId::parse)?,
            revision: row.revision,
            status: parsed("status", &row.status, Status::parse)?,
            phase: row.phase.map(|phase| parsed("phase", &phase, Phase::parse)).transpose()?,
            attempt: attempt_of!(row),
            priority: Priority::from_number(row.priority)
                .ok_or_else(|| Error::Corrupt { what: format!("priority {}", row.priority) })?,
            agent: row.agent,
            model: row.model,
            base_branch: row.base_branch,
            base_settled: row.base_settled != 0,
            repository: Repository {
                id: row.repo_id,
                full_name: RepositoryName { owner: row.repo_owner, name: row.repo_name },
                default_branch: row.default_branch,
                installation_id: row.installation_id,
            },
            issue: Issue {
                number: row.issue_number,
                title: row.issue_title,
                body: row.issue_body,
                url: row.issue_url,
                is_pull_request: row.is_pull_request != 0,
            },
            comment_id: row.comment_id.map(CommentId::new),
            instructions: row.instructions,
            requester: Requester { id: row.requester_id, login: row.requester_login },
            created_at: instant(row.created_at)?,
            queued_at: instant(row.queued_at)?,
            updated_at: instant(row.updated_at)?,
            pr_url: row.pr_url,
            pr_number: row.pr_number.map(IssueNumber::new),
            status_comment_id: row.status_comment_id.map(CommentId::new),
        })
    }
}

/// `SELECT` of whole tasks, each with its current attempt. The first argument is the text after the join, which
/// must qualify columns that exist in both tables. `CROSS JOIN` prevents SQLite from reading `attempts` first.
macro_rules! select_tasks {
    ($tail:tt $(+ $more:tt)* $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::tasks::Row,
            "SELECT id, revision, tasks.status, phase, tasks.attempt, priority, agent, tasks.model, base_branch,
               base_settled, repo_id, repo_owner, repo_name, default_branch, installation_id, issue_number,
               issue_title, issue_body, issue_url, is_pull_request, comment_id, instructions, requester_id,
               requester_login, created_at, queued_at, updated_at, pr_url, pr_number, status_comment_id,
               attempts.model AS attempt_model, place, machine_id, started_at, attempts.completed_at,
               deadline_at, seen_at, progress, activity, branch, commit_sha, summary, error_message,
               failure_stage, failure_reason, input_tokens, output_tokens, cache_read_tokens,
               cache_write_tokens, cost_usd, callback_attempts, callback_max_attempts,
               callback_last_http_code, remarks
             FROM tasks CROSS JOIN attempts
               ON attempts.task_id = tasks.id AND attempts.attempt = tasks.attempt "
                + $tail $(+ $more)*
            $(, $argument)*
        )
    };
}
pub(super) use select_tasks;

/// Converts rows to tasks.
pub(super) fn tasks(rows: Vec<Row>) -> Result<Vec<Task>, Error> {
    rows.into_iter().map(Task::try_from).collect()
}

/// A new task in the form that is inserted. Columns that are missing here start empty.
#[derive(Serialize)]
struct NewRow<'a> {
    id: &'a str,
    revision: i64,
    status: &'a str,
    attempt: u32,
    priority: i64,
    agent: &'a str,
    model: Option<&'a str>,
    base_branch: Option<&'a str>,
    repo_id: RepositoryId,
    repo_owner: &'a str,
    repo_name: &'a str,
    default_branch: &'a str,
    installation_id: InstallationId,
    issue_number: IssueNumber,
    issue_title: &'a str,
    issue_body: &'a str,
    issue_url: &'a str,
    is_pull_request: bool,
    comment_id: Option<CommentId>,
    instructions: &'a str,
    requester_id: UserId,
    requester_login: &'a str,
    created_at: i64,
    queued_at: i64,
}

impl<'a> From<&'a Task> for NewRow<'a> {
    fn from(task: &'a Task) -> Self {
        Self {
            id: task.id.as_str(),
            revision: task.revision,
            status: task.status.as_str(),
            attempt: task.attempt.number,
            priority: task.priority.number(),
            agent: &task.agent,
            model: task.model.as_deref(),
            base_branch: task.base_branch.as_deref(),
            repo_id: task.repository.id,
            repo_owner: &task.repository.full_name.owner,
            repo_name: &task.repository.full_name.name,
            default_branch: &task.repository.default_branch,
            installation_id: task.repository.installation_id,
            issue_number: task.issue.number,
            issue_title: &task.issue.title,
            issue_body: &task.issue.body,
            issue_url: &task.issue.url,
            is_pull_request: task.issue.is_pull_request,
            comment_id: task.comment_id,
            instructions: &task.instructions,
            requester_id: task.requester.id,
            requester_login: &task.requester.login,
            created_at: millis(task.created_at),
            queued_at: millis(task.queued_at),
        }
    }
}

/// Stores new, queued tasks with their first attempts.
///
/// # Errors
/// [`Error::Conflict`] when an issue already has an active task of that agent; then no task is stored.
pub async fn insert(connection: &mut Connection, tasks: &[Task]) -> Result<(), Error> {
    let rows: Vec<NewRow<'_>> = tasks.iter().map(NewRow::from).collect();
    let rows = json_rows("a task", &rows)?;
    sqlx::query!(
        "INSERT INTO tasks (id, revision, status, attempt, priority, agent, model, base_branch, repo_id,
           repo_owner, repo_name, default_branch, installation_id, issue_number, issue_title, issue_body,
           issue_url, is_pull_request, comment_id, instructions, requester_id, requester_login, created_at,
           queued_at, updated_at)
         SELECT value ->> 'id', value ->> 'revision', value ->> 'status', value ->> 'attempt',
           value ->> 'priority', value ->> 'agent', value ->> 'model', value ->> 'base_branch',
           value ->> 'repo_id', value ->> 'repo_owner', value ->> 'repo_name', value ->> 'default_branch',
           value ->> 'installation_id', value ->> 'issue_number', value ->> 'issue_title',
           value ->> 'issue_body', value ->> 'issue_url', value ->> 'is_pull_request',
           value ->> 'comment_id', value ->> 'instructions', value ->> 'requester_id',
           value ->> 'requester_login', value ->> 'created_at', value ->> 'queued_at', value ->> 'created_at'
         FROM json_each(?)",
        rows
    )
    .execute(&mut *connection)
    .await?;
    attempts::insert(connection, tasks).await
}

/// Stores `after` if the row still matches `before`; returns `false` if it has changed. A new attempt is stored
/// in its own row, and the row of the previous attempt stays unchanged.
///
/// # Errors
/// [`Error::Conflict`] when a retry would create a second active task of the same issue and agent.
pub async fn store(connection: &mut Connection, before: &Task, after: &Task) -> Result<bool, Error> {
    let id = before.id.as_str();
    let (was, status) = (before.status.as_str(), after.status.as_str());
    let phase = after.phase.map(Phase::as_str);
    let (queued_at, updated_at) = (millis(after.queued_at), millis(after.updated_at));
    let completed_at = after.attempt.completed_at.map(millis);
    let pr_number = after.pr_number.map(IssueNumber::get);
    let done = sqlx::query!(
        "UPDATE tasks SET revision = ?, status = ?, phase = ?, attempt = ?, base_branch = ?, base_settled = ?,
           queued_at = ?, completed_at = ?, updated_at = ?, pr_url = ?, pr_number = ?
         WHERE id = ? AND status = ? AND attempt = ? AND revision = ?",
        after.revision,
        status,
        phase,
        after.attempt.number,
        after.base_branch,
        after.base_settled,
        queued_at,
        completed_at,
        updated_at,
        after.pr_url,
        pr_number,
        id,
        was,
        before.attempt.number,
        before.revision,
    )
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    if after.attempt.number == before.attempt.number {
        attempts::update(connection, after).await?;
    } else {
        attempts::insert(connection, std::slice::from_ref(after)).await?;
    }
    Ok(true)
}

/// Stores the id of the status comment. An id that is already stored is kept.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn remember_status_comment(
    connection: &mut Connection,
    task: &TaskId,
    comment_id: CommentId,
) -> Result<(), Error> {
    let comment_id = comment_id.get();
    let id = task.as_str();
    sqlx::query!(
        "UPDATE tasks SET status_comment_id = ? WHERE id = ? AND status_comment_id IS NULL",
        comment_id,
        id
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the task with this id.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn find(connection: &mut Connection, id: &TaskId) -> Result<Option<Task>, Error> {
    let id = id.as_str();
    select_tasks!("WHERE id = ?", id).fetch_optional(connection).await?.map(Task::try_from).transpose()
}

/// Returns the queued and running tasks of an issue, oldest first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_active_on_issue(
    connection: &mut Connection,
    repo_id: RepositoryId,
    issue_number: IssueNumber,
) -> Result<Vec<Task>, Error> {
    let (repo_id, issue_number) = (repo_id.get(), issue_number.get());
    tasks(
        select_tasks!(
            "WHERE repo_id = ? AND issue_number = ? AND tasks.status IN ('queued', 'running') ORDER BY id",
            repo_id,
            issue_number
        )
        .fetch_all(connection)
        .await?,
    )
}

/// The fields of an active task that are needed to detect a conflict with another task.
#[derive(Clone, Debug)]
pub struct Active {
    /// The task's identifier.
    pub id: TaskId,
    /// The repository's id on GitHub.
    pub repo_id: RepositoryId,
    /// The issue's number.
    pub issue_number: IssueNumber,
    /// The agent's id.
    pub agent: String,
    /// Queued or running.
    pub status: Status,
}

impl From<&Task> for Active {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id.clone(),
            repo_id: task.repository.id,
            issue_number: task.issue.number,
            agent: task.agent.clone(),
            status: task.status,
        }
    }
}

/// Returns the queued and running tasks of these issues, each given as a repository id and an issue number.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_active_on_issues(
    connection: &mut Connection,
    issues: &[(RepositoryId, IssueNumber)],
) -> Result<Vec<Active>, Error> {
    let issues = json_rows("an issue's number", issues)?;
    let rows = sqlx::query!(
        "SELECT tasks.id, repo_id, issue_number, agent, status FROM json_each(?) AS asked
           CROSS JOIN tasks ON repo_id = asked.value ->> 0 AND issue_number = asked.value ->> 1
             AND status IN ('queued', 'running')",
        issues
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Active {
                id: parsed("task id", &row.id, TaskId::parse)?,
                repo_id: row.repo_id.into(),
                issue_number: row.issue_number.into(),
                agent: row.agent,
                status: parsed("status", &row.status, Status::parse)?,
            })
        })
        .collect()
}

/// Returns the issue's latest task, to which a person's `retry` or `status` refers.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn find_latest_on_issue(
    connection: &mut Connection,
    repo_id: RepositoryId,
    issue_number: IssueNumber,
) -> Result<Option<Task>, Error> {
    let (repo_id, issue_number) = (repo_id.get(), issue_number.get());
    select_tasks!(
        "WHERE id = (SELECT max(id) FROM (
             SELECT id FROM tasks WHERE repo_id = ?1 AND issue_number = ?2 AND status IN ('queued', 'running')
             UNION ALL
             SELECT max(id) FROM tasks
               WHERE repo_id = ?1 AND issue_number = ?2 AND completed_at IS NOT NULL))",
        repo_id,
        issue_number
    )
    .fetch_optional(connection)
    .await?
    .map(Task::try_from)
    .transpose()
}

/// Returns every running task in no particular order, because an `ORDER BY` would make SQLite scan all tasks.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_running(connection: &mut Connection) -> Result<Vec<Task>, Error> {
    tasks(select_tasks!("WHERE tasks.status = 'running'").fetch_all(connection).await?)
}

/// Returns the people whose tasks have changed since this time.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_requesters_since(
    connection: &mut Connection,
    since: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<UserId>, Error> {
    let since = millis(since);
    let people = sqlx::query_scalar!(
        "SELECT DISTINCT requester_id FROM tasks INDEXED BY tasks_by_change WHERE updated_at > ?",
        since
    )
    .fetch_all(connection)
    .await?;
    Ok(people.into_iter().map(UserId::new).collect())
}
