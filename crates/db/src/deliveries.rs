//! `deliveries`: processed webhooks and their results, so that a repeated delivery has no second effect.

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{RepositoryId, UserId};
use serde::Serialize;

use super::{Connection, Error, json_rows, millis};

/// A delivery in its stored form.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// The `X-GitHub-Delivery` header, which is the same for every attempt to deliver an event.
    pub guid: String,
    /// The `X-GitHub-Event` header.
    pub event: String,
    /// The payload's action.
    pub action: Option<String>,
    /// `accepted`, `duplicate`, `ignored` or `rejected`.
    pub outcome: &'static str,
    /// The reason, unless the outcome is `accepted`.
    pub reason: Option<&'static str>,
    /// `<comment id>:<repository id>`, for the first delivery about a mention.
    pub comment_key: Option<String>,
    /// The task that the delivery created or referred to.
    pub task_id: Option<String>,
    /// The id of the user who sent the event.
    pub sender_id: Option<UserId>,
    /// The id of the repository.
    pub repo_id: Option<RepositoryId>,
}

/// A delivery that was already processed.
#[derive(Clone, Debug)]
pub struct Known {
    /// The delivery's GUID.
    pub guid: String,
    /// The comment, if this was the first delivery about it.
    pub comment_key: Option<String>,
    /// The task that the delivery created or referred to.
    pub task_id: Option<String>,
}

/// Returns the deliveries with these GUIDs, and the first deliveries about these comments.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_known(
    connection: &mut Connection,
    guids: &[&str],
    comment_keys: &[&str],
) -> Result<Vec<Known>, Error> {
    let guids = serde_json::Value::from(guids).to_string();
    let comment_keys = serde_json::Value::from(comment_keys).to_string();
    Ok(sqlx::query_as!(
        Known,
        "SELECT guid, comment_key, task_id FROM deliveries
           WHERE guid IN (SELECT value FROM json_each(?1))
         UNION ALL
         SELECT guid, comment_key, task_id FROM deliveries
           WHERE comment_key IN (SELECT value FROM json_each(?2))",
        guids,
        comment_keys
    )
    .fetch_all(connection)
    .await?)
}

/// Stores deliveries in one statement.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn insert(
    connection: &mut Connection,
    deliveries: &[Delivery],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let rows = json_rows("a delivery", deliveries)?;
    let at = millis(at);
    sqlx::query!(
        "INSERT INTO deliveries (guid, event, action, outcome, reason, comment_key, task_id, sender_id,
           repo_id, received_at)
         SELECT value ->> 'guid', value ->> 'event', value ->> 'action', value ->> 'outcome',
           value ->> 'reason', value ->> 'comment_key', value ->> 'task_id', value ->> 'sender_id',
           value ->> 'repo_id', ?2
         FROM json_each(?1)
         WHERE true
         ON CONFLICT(guid) DO NOTHING",
        rows,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns whether this person was invited to sign in for this repository within a day before `now`.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn was_invited(
    connection: &mut Connection,
    sender_id: UserId,
    repo_id: RepositoryId,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let (sender_id, repo_id) = (sender_id.get(), repo_id.get());
    let since = millis(now - TimeDelta::days(1));
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM deliveries WHERE reason = 'missing_user_oauth' AND sender_id = ?
             AND repo_id = ? AND received_at > ?) AS "found!: bool""#,
        sender_id,
        repo_id,
        since
    )
    .fetch_one(connection)
    .await?;
    Ok(found)
}

/// Deletes deliveries that GitHub can no longer repeat (3 days on github.com, 7 on Enterprise Server), oldest
/// first and at most `most`, and returns the number of deleted rows. A delivery that refers to a task is kept as
/// long as the task.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn forget_before(
    connection: &mut Connection,
    before: DateTime<Utc>,
    most: u32,
) -> Result<u64, Error> {
    let before = millis(before);
    let gone = sqlx::query!(
        "DELETE FROM deliveries WHERE guid IN
           (SELECT guid FROM deliveries WHERE received_at < ? AND task_id IS NULL ORDER BY received_at LIMIT ?)",
        before,
        most
    )
    .execute(connection)
    .await?;
    Ok(gone.rows_affected())
}
