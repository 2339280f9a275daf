//! `sessions`: the sessions of signed-in people. Rows contain a keyed digest of the cookie's value, never the
//! value itself.

use chrono::{DateTime, Utc};

use super::users::User;
use super::{Connection, Error, millis};

/// Stores a new session.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn insert(
    connection: &mut Connection,
    id_digest: &str,
    user_key: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), Error> {
    let (now, expires_at) = (millis(now), millis(expires_at));
    sqlx::query!(
        "INSERT INTO sessions (id_digest, user_key, created_at, expires_at) VALUES (?, ?, ?, ?)",
        id_digest,
        user_key,
        now,
        expires_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the person and the end of a session; returns `None` when the session has expired.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn find(
    connection: &mut Connection,
    id_digest: &str,
    now: DateTime<Utc>,
) -> Result<Option<(User, DateTime<Utc>)>, Error> {
    let now = millis(now);
    let row = sqlx::query!(
        r#"SELECT users.user_key AS "user_key!", github_user_id AS "github_id!",
             coalesce(github_login, '') AS "login!: String", expires_at
           FROM sessions JOIN users USING (user_key)
           WHERE id_digest = ? AND expires_at > ? AND github_user_id IS NOT NULL"#,
        id_digest,
        now
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let user = User { user_key: row.user_key, github_id: row.github_id.into(), login: row.login };
        Ok((user, super::instant(row.expires_at)?))
    })
    .transpose()
}

/// Changes the end of a session.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn extend(
    connection: &mut Connection,
    id_digest: &str,
    expires_at: DateTime<Utc>,
) -> Result<(), Error> {
    let expires_at = millis(expires_at);
    sqlx::query!("UPDATE sessions SET expires_at = ? WHERE id_digest = ?", expires_at, id_digest)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes a session.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn delete(connection: &mut Connection, id_digest: &str) -> Result<(), Error> {
    sqlx::query!("DELETE FROM sessions WHERE id_digest = ?", id_digest).execute(connection).await?;
    Ok(())
}

/// Deletes the expired sessions.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn delete_expired(connection: &mut Connection, now: DateTime<Utc>) -> Result<u64, Error> {
    let now = millis(now);
    let gone = sqlx::query!("DELETE FROM sessions WHERE expires_at <= ?", now).execute(connection).await?;
    Ok(gone.rows_affected())
}
