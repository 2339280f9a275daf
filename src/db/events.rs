//! `task_events`: what happened to a task, in order; what `GET /api/tasks/:id/events` streams.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Connection, Error, instant, millis, narrow};
use crate::domain::task::{Task, TaskId};

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The status changed.
    Status,
    /// Percent and activity.
    Progress,
    /// A line of the agent's output.
    Log,
}

impl Kind {
    /// The kind as it is stored and streamed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Progress => "progress",
            Self::Log => "log",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the task's history, from 1; the `id` of the stream.
    pub seq: i64,
    /// Which attempt it was about.
    pub attempt: u32,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// `status`, `progress` or `log`.
    pub kind: String,
    /// JSON.
    pub data: String,
}

/// The most events kept of one task: a chatty agent must not fill the disk. Status changes always fit.
const MOST_EVENTS: i64 = 20_000;

/// Something that happened, about to be written.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    task_id: String,
    attempt: u32,
    kind: &'static str,
    data: String,
}

impl NewEvent {
    /// This happened to the task's attempt.
    pub fn new(task: &Task, kind: Kind, data: &Value) -> Self {
        let (task_id, kind) = (task.id.to_string(), kind.as_str());
        Self { task_id, attempt: task.attempt, kind, data: data.to_string() }
    }
}

/// Appends to the histories of tasks, in order, all in one statement. Beyond the bound, only status changes
/// are kept.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn append(
    connection: &mut Connection,
    events: &[NewEvent],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let rows = serde_json::to_string(events)
        .map_err(|error| Error::Corrupt { what: format!("an event: {error}") })?;
    let at = millis(at);
    sqlx::query!(
        "INSERT INTO task_events (task_id, seq, attempt, at, kind, data)
         SELECT task_id, last + n, attempt, ?2, kind, data
         FROM (SELECT value ->> 'task_id' AS task_id, value ->> 'attempt' AS attempt,
                 value ->> 'kind' AS kind, value ->> 'data' AS data,
                 row_number() OVER (PARTITION BY value ->> 'task_id' ORDER BY key) AS n,
                 (SELECT coalesce(max(seq), 0) FROM task_events
                    WHERE task_events.task_id = value ->> 'task_id') AS last
               FROM json_each(?1))
         WHERE kind = 'status' OR last + n <= ?3",
        rows,
        at,
        MOST_EVENTS
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What happened after `after`, oldest first, at most `limit`.
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
    let rows = sqlx::query!(
        "SELECT seq, attempt, at, kind, data FROM task_events
         WHERE task_id = ? AND seq > ? ORDER BY seq LIMIT ?",
        id,
        after,
        limit
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Event {
                seq: row.seq,
                attempt: narrow("attempt", row.attempt)?,
                at: instant(row.at)?,
                kind: row.kind,
                data: row.data,
            })
        })
        .collect()
}
