//! Encrypted values: `user_secrets`, `user_oauth_tokens`, `attempt_tokens`, `instance_secrets`. `crypto::vault`
//! seals them; this module cannot decrypt them.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::UserId;

use super::{Connection, Error, attempts, instant, millis};
use domain::sealed::{ALG, Sealed};
use domain::task::TaskId;

/// A stored key of a person.
pub struct UserSecret {
    /// The provider of the key: `anthropic`, `fly`, ….
    pub provider_id: String,
    /// The key's name: `ANTHROPIC_API_KEY`, `FLY_API_TOKEN`, ….
    pub env_key: String,
    /// The sealed value.
    pub sealed: Sealed,
}

/// Returns every key that a person has stored.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_of_user(connection: &mut Connection, user_key: &str) -> Result<Vec<UserSecret>, Error> {
    let rows = sqlx::query!(
        "SELECT provider_id, env_key, encrypted_value, iv, tag, alg, key_version
         FROM user_secrets WHERE user_key = ?",
        user_key
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| UserSecret {
            provider_id: row.provider_id,
            env_key: row.env_key,
            sealed: Sealed {
                encrypted_value: row.encrypted_value,
                iv: row.iv,
                tag: row.tag,
                alg: row.alg,
                key_version: row.key_version,
            },
        })
        .collect())
}

/// Stores a person's key and replaces an earlier one.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn store_of_user(
    connection: &mut Connection,
    user_key: &str,
    secret: &UserSecret,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let UserSecret { provider_id, env_key, sealed } = secret;
    sqlx::query!(
        "INSERT INTO user_secrets
           (user_key, provider_id, env_key, encrypted_value, iv, tag, alg, key_version, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT(user_key, provider_id, env_key) DO UPDATE SET
           encrypted_value = ?4, iv = ?5, tag = ?6, alg = ?7, key_version = ?8, updated_at = ?9",
        user_key,
        provider_id,
        env_key,
        sealed.encrypted_value,
        sealed.iv,
        sealed.tag,
        sealed.alg,
        sealed.key_version,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores a person's OAuth token, which marks them as signed in. When a login has moved to another account, the
/// row moves with it.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn store_oauth_token(
    connection: &mut Connection,
    github_user_id: UserId,
    login: &str,
    sealed: &Sealed,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let github_user_id = github_user_id.get();
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let login_norm = login.to_lowercase();
    sqlx::query!(
        "DELETE FROM user_oauth_tokens WHERE github_login_norm = ? AND github_user_id <> ?",
        login_norm,
        github_user_id
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "INSERT INTO user_oauth_tokens (github_user_id, github_login, github_login_norm, encrypted_token, iv,
           tag, alg, key_version, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT(github_user_id) DO UPDATE SET github_login = ?2, github_login_norm = ?3,
           encrypted_token = ?4, iv = ?5, tag = ?6, alg = ?7, key_version = ?8, updated_at = ?9",
        github_user_id,
        login,
        login_norm,
        sealed.encrypted_value,
        sealed.iv,
        sealed.tag,
        sealed.alg,
        sealed.key_version,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The token of an attempt, and the location of its machine.
pub struct AttemptToken {
    /// The sealed token.
    pub sealed: Sealed,
    /// The location of the attempt's machine, in a format that only the runner reads.
    pub place: Option<String>,
    /// The time at which the token was created.
    pub made_at: DateTime<Utc>,
}

/// Stores the token of an attempt, replacing an earlier one, and the location of the attempt's machine.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn store_attempt_token(
    connection: &mut Connection,
    task: &TaskId,
    attempt: u32,
    token: &AttemptToken,
) -> Result<(), Error> {
    let (id, at) = (task.as_str(), millis(token.made_at));
    sqlx::query!(
        "INSERT INTO attempt_tokens
           (task_id, attempt, encrypted_value, iv, tag, key_version, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT(task_id, attempt) DO UPDATE SET
           encrypted_value = ?3, iv = ?4, tag = ?5, key_version = ?6, created_at = ?7",
        id,
        attempt,
        token.sealed.encrypted_value,
        token.sealed.iv,
        token.sealed.tag,
        token.sealed.key_version,
        at
    )
    .execute(&mut *connection)
    .await?;
    attempts::set_place(connection, task, attempt, token.place.as_deref()).await
}

/// Returns the token of an attempt, unless it was revoked.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn find_attempt_token(
    connection: &mut Connection,
    task: &TaskId,
    attempt: u32,
) -> Result<Option<AttemptToken>, Error> {
    let id = task.as_str();
    let row = sqlx::query!(
        "SELECT encrypted_value, iv, tag, key_version, created_at, place
         FROM attempt_tokens JOIN attempts USING (task_id, attempt)
         WHERE task_id = ? AND attempt = ?",
        id,
        attempt
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let sealed = Sealed {
            encrypted_value: row.encrypted_value,
            iv: row.iv,
            tag: row.tag,
            alg: ALG.to_owned(),
            key_version: row.key_version,
        };
        Ok(AttemptToken { sealed, place: row.place, made_at: instant(row.created_at)? })
    })
    .transpose()
}

/// Deletes the token of an attempt.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn forget_attempt_token(
    connection: &mut Connection,
    task: &TaskId,
    attempt: u32,
) -> Result<(), Error> {
    let id = task.as_str();
    sqlx::query!("DELETE FROM attempt_tokens WHERE task_id = ? AND attempt = ?", id, attempt)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns a secret that Porter generated for itself.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn find_of_instance(connection: &mut Connection, name: &str) -> Result<Option<Sealed>, Error> {
    let row = sqlx::query!(
        "SELECT encrypted_value, iv, tag, key_version FROM instance_secrets WHERE name = ?",
        name
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Sealed {
        encrypted_value: row.encrypted_value,
        iv: row.iv,
        tag: row.tag,
        alg: ALG.to_owned(),
        key_version: row.key_version,
    }))
}

/// Stores a secret that Porter generated for itself. A secret that is already stored is kept.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn store_of_instance(
    connection: &mut Connection,
    name: &str,
    sealed: &Sealed,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let at = millis(at);
    sqlx::query!(
        "INSERT INTO instance_secrets (name, encrypted_value, iv, tag, key_version, created_at)
         VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO NOTHING",
        name,
        sealed.encrypted_value,
        sealed.iv,
        sealed.tag,
        sealed.key_version,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The row that contains a sealed value.
#[derive(Debug)]
pub enum Place {
    /// A person's key in `user_secrets`.
    OfUser {
        /// The key of the person's rows.
        user_key: String,
        /// The provider.
        provider_id: String,
        /// The key's name.
        env_key: String,
    },
    /// A token in `user_oauth_tokens`.
    OauthToken {
        /// The person's id on GitHub.
        github_user_id: UserId,
    },
    /// A secret in `instance_secrets`.
    OfInstance {
        /// The secret's name.
        name: String,
    },
}

/// Returns every long-lived sealed value: all except the tokens of attempts.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_all(connection: &mut Connection) -> Result<Vec<(Place, Sealed)>, Error> {
    let mut all = Vec::new();
    let users = sqlx::query_scalar!("SELECT DISTINCT user_key FROM user_secrets ORDER BY user_key")
        .fetch_all(&mut *connection)
        .await?;
    for user_key in users {
        for UserSecret { provider_id, env_key, sealed } in list_of_user(connection, &user_key).await? {
            all.push((Place::OfUser { user_key: user_key.clone(), provider_id, env_key }, sealed));
        }
    }
    let tokens = sqlx::query!(
        "SELECT github_user_id, encrypted_token, iv, tag, alg, key_version FROM user_oauth_tokens"
    );
    for row in tokens.fetch_all(&mut *connection).await? {
        let sealed = Sealed {
            encrypted_value: row.encrypted_token,
            iv: row.iv,
            tag: row.tag,
            alg: row.alg,
            key_version: row.key_version,
        };
        all.push((Place::OauthToken { github_user_id: row.github_user_id.into() }, sealed));
    }
    let names = sqlx::query_scalar!("SELECT name FROM instance_secrets").fetch_all(&mut *connection).await?;
    for name in names {
        if let Some(sealed) = find_of_instance(connection, &name).await? {
            all.push((Place::OfInstance { name }, sealed));
        }
    }
    Ok(all)
}

/// Replaces a sealed value with a new encryption of the same secret. The time of the secret's last change stays
/// the same.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn replace(connection: &mut Connection, place: &Place, sealed: &Sealed) -> Result<(), Error> {
    let Sealed { encrypted_value, iv, tag, alg, key_version } = sealed;
    let user_id = match place {
        Place::OauthToken { github_user_id } => Some(github_user_id.get()),
        _ => None,
    };
    let query = match place {
        Place::OfUser { user_key, provider_id, env_key } => sqlx::query!(
            "UPDATE user_secrets SET encrypted_value = ?, iv = ?, tag = ?, alg = ?, key_version = ?
             WHERE user_key = ? AND provider_id = ? AND env_key = ?",
            encrypted_value,
            iv,
            tag,
            alg,
            key_version,
            user_key,
            provider_id,
            env_key
        ),
        Place::OauthToken { .. } => sqlx::query!(
            "UPDATE user_oauth_tokens SET encrypted_token = ?, iv = ?, tag = ?, alg = ?, key_version = ?
             WHERE github_user_id = ?",
            encrypted_value,
            iv,
            tag,
            alg,
            key_version,
            user_id
        ),
        Place::OfInstance { name } => sqlx::query!(
            "UPDATE instance_secrets SET encrypted_value = ?, iv = ?, tag = ?, key_version = ? WHERE name = ?",
            encrypted_value,
            iv,
            tag,
            key_version,
            name
        ),
    };
    query.execute(connection).await?;
    Ok(())
}
