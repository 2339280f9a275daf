//! The order of admission: priority, then age. A queued task rises by one priority class every ten minutes
//! (main-spec §6). Tasks of a person at their limit are skipped, so that they do not block the tasks of others.

use domain::ids::UserId;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Connection, Error, millis, parsed};
use domain::task::{Task, TaskId};

/// The waiting time after which a queued task rises by one priority class.
const RISE_AFTER: TimeDelta = TimeDelta::minutes(10);

/// The maximum number of tasks that run at once.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// The limit per person.
    pub per_user: u32,
    /// The limit for all people together.
    pub overall: u32,
}

/// Returns the next task to admit; returns `None` when Porter, or everyone who has a queued task, is at the
/// limit.
///
/// The first step walks the index from person to person, so the cost grows with the number of people who have
/// queued tasks, not with the number of tasks.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn find_next(
    connection: &mut Connection,
    caps: Caps,
    now: DateTime<Utc>,
) -> Result<Option<TaskId>, Error> {
    let (now, rise) = (millis(now), RISE_AFTER.num_milliseconds());
    let id = sqlx::query_scalar!(
        r#"WITH RECURSIVE people(id) AS (
             SELECT min(requester_id) FROM tasks WHERE status = 'queued'
             UNION ALL
             SELECT (SELECT min(requester_id) FROM tasks WHERE status = 'queued' AND requester_id > people.id)
             FROM people WHERE people.id IS NOT NULL
           ),
           classes(priority) AS (VALUES (1), (2), (3)),
           first_of_class(id) AS (
             SELECT (SELECT id FROM tasks WHERE status = 'queued' AND requester_id = people.id
                       AND priority = classes.priority ORDER BY queued_at, id LIMIT 1)
             FROM people, classes
             WHERE people.id IS NOT NULL
               AND (SELECT count(*) FROM tasks WHERE status = 'running' AND requester_id = people.id) < ?1
           )
           SELECT tasks.id AS "id!: String" FROM first_of_class JOIN tasks ON tasks.id = first_of_class.id
           WHERE (SELECT count(*) FROM tasks WHERE status = 'running') < ?2
           ORDER BY min(3, priority + (?3 - queued_at) / ?4) DESC, queued_at, tasks.id
           LIMIT 1"#,
        caps.per_user,
        caps.overall,
        now,
        rise,
    )
    .fetch_optional(connection)
    .await?;
    id.map(|id| parsed("task id", &id, TaskId::parse)).transpose()
}

/// Returns the position of a queued task, from 1.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn position(connection: &mut Connection, task: &Task, now: DateTime<Utc>) -> Result<u32, Error> {
    let (id, priority) = (task.id.as_str(), task.priority.number());
    let (now, queued_at) = (millis(now), millis(task.queued_at));
    let rise = RISE_AFTER.num_milliseconds();
    let ahead = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!: i64" FROM tasks
           WHERE status = 'queued' AND id <> ?1
             AND (-min(3, priority + (?2 - queued_at) / ?5), queued_at, id)
               < (-min(3, ?3 + (?2 - ?4) / ?5), ?4, ?1)"#,
        id,
        now,
        priority,
        queued_at,
        rise,
    )
    .fetch_one(connection)
    .await?;
    Ok(u32::try_from(ahead).unwrap_or(u32::MAX).saturating_add(1))
}

/// Returns the positions of these queued tasks, from 1, by task id.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn positions(
    connection: &mut Connection,
    ids: &[&str],
    now: DateTime<Utc>,
) -> Result<HashMap<String, u32>, Error> {
    let ids = serde_json::Value::from(ids).to_string();
    let (now, rise) = (millis(now), RISE_AFTER.num_milliseconds());
    let rows = sqlx::query!(
        r#"SELECT id AS "id!: String", place AS "place!: i64"
           FROM (SELECT id, row_number() OVER
                   (ORDER BY min(3, priority + (?1 - queued_at) / ?3) DESC, queued_at, id) AS place
                 FROM tasks WHERE status = 'queued')
           WHERE id IN (SELECT value FROM json_each(?2))"#,
        now,
        ids,
        rise
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, u32::try_from(row.place).unwrap_or(u32::MAX))).collect())
}

/// Returns the number of queued tasks of a person.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn count_waiting(connection: &mut Connection, requester_id: UserId) -> Result<u32, Error> {
    let requester_id = requester_id.get();
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!: i64" FROM tasks WHERE status = 'queued' AND requester_id = ?"#,
        requester_id
    )
    .fetch_one(connection)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
