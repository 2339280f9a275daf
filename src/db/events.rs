//! `task_events`: what happened to a task, in order; what `GET /api/tasks/:id/events` streams.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Connection, Error, instant, millis, narrow};
use crate::domain::task::TaskId;

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

/// Appends to a task's history. Beyond the bound, only status changes are kept.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn append(
    connection: &mut Connection,
    task: &TaskId,
    attempt: u32,
    kind: Kind,
    data: &Value,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let (id, kind_text, data, at) = (task.as_str(), kind.as_str(), data.to_string(), millis(at));
    let most = if kind == Kind::Status { i64::MAX } else { MOST_EVENTS };
    sqlx::query!(
        "INSERT INTO task_events (task_id, seq, attempt, at, kind, data)
         SELECT ?1, n + 1, ?2, ?3, ?4, ?5
         FROM (SELECT coalesce(max(seq), 0) AS n FROM task_events WHERE task_id = ?1)
         WHERE n < ?6",
        id,
        attempt,
        at,
        kind_text,
        data,
        most
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
