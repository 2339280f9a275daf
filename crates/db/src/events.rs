//! `task_events`: the history of a task, in order. `GET /api/tasks/:id/events` streams it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Connection, Error, instant, json_rows, millis, narrow, parsed};
use domain::event::TaskEvent;
use domain::task::{Task, TaskId};

/// A stored event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The position in the task's history, from 1. It is the `id` in the event stream.
    pub seq: i64,
    /// The number of the attempt.
    pub attempt: u32,
    /// The time at which the event was recorded.
    pub at: DateTime<Utc>,
    /// The event's content.
    pub event: TaskEvent,
}

/// The maximum number of stored events per task, not counting status changes, so that an agent with much output
/// cannot fill the disk.
const MAX_EVENTS: i64 = 4000;

/// A new event.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    task_id: String,
    attempt: u32,
    kind: &'static str,
    data: String,
}

impl NewEvent {
    /// Returns a new event of the task's current attempt.
    pub fn new(task: &Task, event: &TaskEvent) -> Self {
        let data = serde_json::Value::from(event.data()).to_string();
        Self { task_id: task.id.to_string(), attempt: task.attempt.number, kind: event.kind(), data }
    }
}

/// Appends events to the histories of tasks, in order and in one statement.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn append(
    connection: &mut Connection,
    events: &[NewEvent],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let rows = json_rows("an event", events)?;
    let at = millis(at);
    sqlx::query!(
        "INSERT INTO task_events (task_id, seq, attempt, at, kind, data)
         SELECT task_id, last + n, attempt, ?2, kind, data
         FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'attempt' AS attempt,
                 value ->> 'kind' AS kind, value ->> 'data' AS data,
                 row_number() OVER (PARTITION BY value ->> 'task_id' ORDER BY key) AS n,
                 (SELECT coalesce(max(seq), 0) FROM task_events
                    WHERE task_events.task_id = value ->> 'task_id') AS last
               FROM json_each(?1))",
        rows,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes a task's oldest events above the limit, but no status changes.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn trim(connection: &mut Connection, task: &TaskId) -> Result<(), Error> {
    let id = task.as_str();
    sqlx::query!(
        "DELETE FROM task_events WHERE task_id = ?1 AND kind <> 'status'
           AND seq <= (SELECT max(seq) FROM task_events WHERE task_id = ?1) - ?2",
        id,
        MAX_EVENTS
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns at most `most` tasks that ended before this time and still have events other than status changes.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_over(
    connection: &mut Connection,
    before: DateTime<Utc>,
    most: u32,
) -> Result<Vec<TaskId>, Error> {
    let before = millis(before);
    let ids = sqlx::query_scalar!(
        "SELECT id FROM tasks WHERE completed_at < ? AND EXISTS
           (SELECT 1 FROM task_events WHERE task_id = tasks.id AND kind <> 'status') LIMIT ?",
        before,
        most
    )
    .fetch_all(connection)
    .await?;
    ids.iter().map(|id| parsed("task id", id, TaskId::parse)).collect()
}

/// Deletes the events of a task, but no status changes.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn forget_output(connection: &mut Connection, task: &TaskId) -> Result<(), Error> {
    let id = task.as_str();
    sqlx::query!("DELETE FROM task_events WHERE task_id = ? AND kind <> 'status'", id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the events after the one numbered `after`, oldest first, at most `limit`.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_after(
    connection: &mut Connection,
    task: &TaskId,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    let id = task.as_str();
    let rows = sqlx::query_as!(
        Row,
        "SELECT seq, attempt, at, kind, data FROM task_events
         WHERE task_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        id,
        after,
        limit
    )
    .fetch_all(connection)
    .await?;
    events(rows)
}

/// Returns the last events, oldest first, at most `limit`.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn list_last(connection: &mut Connection, task: &TaskId, limit: i64) -> Result<Vec<Event>, Error> {
    let id = task.as_str();
    let mut rows = sqlx::query_as!(
        Row,
        "SELECT seq, attempt, at, kind, data FROM task_events
         WHERE task_id = ? ORDER BY seq DESC LIMIT ?",
        id,
        limit
    )
    .fetch_all(connection)
    .await?;
    rows.reverse();
    events(rows)
}

/// A row, as sqlx reads it.
struct Row {
    seq: i64,
    attempt: i64,
    at: i64,
    kind: String,
    data: String,
}

fn events(rows: Vec<Row>) -> Result<Vec<Event>, Error> {
    rows.into_iter()
        .map(|row| {
            Ok(Event {
                seq: row.seq,
                attempt: narrow("attempt", row.attempt)?,
                at: instant(row.at)?,
                event: parsed("event", &row.data, |data| TaskEvent::parse(&row.kind, data))?,
            })
        })
        .collect()
}
