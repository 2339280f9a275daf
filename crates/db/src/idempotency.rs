//! `idempotency_keys`: maps a repeated `POST /api/tasks` to its task, for 24 hours.

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::UserId;

use super::{Connection, Error, millis};

/// The lifetime of a key (main-spec §6).
pub const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// The stored data of a key.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The digest of the first request with this key.
    pub request_digest: String,
    /// The task that the request created.
    pub task_id: String,
}

/// Returns the data of this person's key, unless it has expired.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn find(
    connection: &mut Connection,
    requester_id: UserId,
    key: &str,
    now: DateTime<Utc>,
) -> Result<Option<Remembered>, Error> {
    let requester_id = requester_id.get();
    let since = millis(now - KEY_LIFETIME);
    Ok(sqlx::query_as!(
        Remembered,
        "SELECT request_digest, task_id FROM idempotency_keys
         WHERE requester_id = ? AND key = ? AND created_at > ?",
        requester_id,
        key,
        since
    )
    .fetch_optional(connection)
    .await?)
}

/// Stores a key, and deletes expired ones.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Conflict`] when the key already exists.
pub async fn insert(
    connection: &mut Connection,
    requester_id: UserId,
    key: &str,
    remembered: &Remembered,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let requester_id = requester_id.get();
    let over = millis(now - KEY_LIFETIME);
    sqlx::query!("DELETE FROM idempotency_keys WHERE created_at <= ?", over)
        .execute(&mut *connection)
        .await?;
    let now = millis(now);
    sqlx::query!(
        "INSERT INTO idempotency_keys (requester_id, key, request_digest, task_id, created_at)
         VALUES (?, ?, ?, ?, ?)",
        requester_id,
        key,
        remembered.request_digest,
        remembered.task_id,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}
