//! `idempotency_keys`: which task a repeated `POST /api/tasks` means, for 24 hours.

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::UserId;

use super::{Connection, Error, millis};

/// How long a key is remembered (main-spec §6).
pub const KEY_LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What a key stands for.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Digest of the request it came with first.
    pub request_digest: String,
    /// The task that request made.
    pub task_id: String,
}

/// What this person's key stands for, if it still does.
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

/// Remembers a key, and forgets those that are over.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Conflict`] when the key is there.
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
