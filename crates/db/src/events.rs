//! `task_events`: what happened to a task, in order; what `GET /api/tasks/:id/events` streams.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Connection, Error, instant, json_rows, millis, narrow, parsed};
use domain::event::TaskEvent;
use domain::task::{Task, TaskId};

/// One stored event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the task's history, from 1; the `id` of the stream.
    pub seq: i64,
    /// Which attempt it was about.
    pub attempt: u32,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: TaskEvent,
}

/// How many events are kept of one task, besides its status changes: a chatty agent must not fill the disk.
const MAX_EVENTS: i64 = 4000;

/// An event to be written.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    task_id: String,
    attempt: u32,
    kind: &'static str,
    data: String,
}

impl NewEvent {
    /// This happened to the task's attempt.
    pub fn new(task: &Task, event: &TaskEvent) -> Self {
        let data = serde_json::Value::from(event.data()).to_string();
        Self { task_id: task.id.to_string(), attempt: task.attempt.number, kind: event.kind(), data }
    }
}

/// Appends to the histories of tasks, in order, all in one statement.
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

/// Deletes the oldest events of a task, except its status changes, where there are more than are kept.
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

/// Tasks that ended before then and still have events besides their status changes, at most `most`.
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

/// Deletes the events of a task, except its status changes.
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

/// The events after the one numbered `after`, oldest first, at most `limit`.
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

/// The last events, oldest first, at most `limit`.
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

/// A row as sqlx reads it.
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
