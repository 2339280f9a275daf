//! `users`, `user_settings` and those rows of `user_oauth_tokens` that record who has signed in: the data about
//! a person on which decisions depend.

use domain::ids::UserId;
use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Connection, Error, json_rows};

/// The stored data of a person.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The key of the person's rows; `None` when they have none.
    pub user_key: Option<String>,
    /// Whether the person has signed in at least once.
    pub signed_in: bool,
    /// The person's settings, as JSON.
    pub settings: Option<String>,
    /// The names of the person's stored secrets.
    pub secrets: Vec<SecretName>,
}

/// The name of a stored secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    /// The provider or the kind of machines that it belongs to.
    pub provider: String,
    /// The environment variable that it goes into.
    pub env_key: String,
}

impl SecretName {
    /// Parses `provider/ENV_KEY`, as the query below returns it. A provider's id has no slash.
    fn parse(text: &str) -> Option<Self> {
        let (provider, env_key) = text.split_once('/')?;
        Some(Self { provider: provider.to_owned(), env_key: env_key.to_owned() })
    }
}

/// Returns the data of the person with this GitHub id. Unlike logins, GitHub ids are never reused.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn load_person(connection: &mut Connection, github_user_id: UserId) -> Result<Person, Error> {
    Ok(load_people(connection, &[github_user_id]).await?.remove(&github_user_id).unwrap_or_default())
}

/// Returns the data of the people with these GitHub ids.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn load_people(
    connection: &mut Connection,
    github_user_ids: &[UserId],
) -> Result<HashMap<UserId, Person>, Error> {
    let ids = json_rows("a person's id", github_user_ids)?;
    let rows = sqlx::query!(
        r#"SELECT CAST(asked.value AS INTEGER) AS "id!: i64",
             EXISTS (SELECT 1 FROM user_oauth_tokens WHERE github_user_id = asked.value) AS "signed_in!: bool",
             (SELECT user_key FROM users WHERE github_user_id = asked.value) AS "user_key?: String",
             (SELECT config_json FROM user_settings JOIN users USING (user_key)
                WHERE github_user_id = asked.value) AS "settings?: String",
             (SELECT group_concat(provider_id || '/' || env_key, char(10)) FROM user_secrets
                JOIN users USING (user_key) WHERE github_user_id = asked.value) AS "secrets?: String"
           FROM json_each(?) AS asked"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let secrets = row.secrets.map(|names| names.lines().filter_map(SecretName::parse).collect());
            let person = Person {
                user_key: row.user_key,
                signed_in: row.signed_in,
                settings: row.settings,
                secrets: secrets.unwrap_or_default(),
            };
            (row.id.into(), person)
        })
        .collect())
}

/// A signed-in person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The key of the person's rows.
    pub user_key: String,
    /// The person's id on GitHub.
    pub github_id: UserId,
    /// The person's login.
    pub login: String,
}

/// Inserts the person's row, or updates its login. An existing row keeps its key, whatever the value of
/// `user_key`, because keys may derive from an older root secret.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn upsert(
    connection: &mut Connection,
    user_key: &str,
    github_id: UserId,
    login: &str,
    at: DateTime<Utc>,
) -> Result<User, Error> {
    let github_id = github_id.get();
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let known = sqlx::query_scalar!(
        r#"SELECT user_key AS "key!: String" FROM users WHERE github_user_id = ?"#,
        github_id
    )
    .fetch_optional(&mut *connection)
    .await?;
    let user_key = known.unwrap_or_else(|| user_key.to_owned());
    sqlx::query!(
        "INSERT INTO users (user_key, github_user_id, github_login, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT(user_key) DO UPDATE SET github_user_id = ?2, github_login = ?3, updated_at = ?4",
        user_key,
        github_id,
        login,
        at
    )
    .execute(connection)
    .await?;
    Ok(User { user_key, github_id: github_id.into(), login: login.to_owned() })
}

/// Stores a person's settings, as JSON without secrets.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn store_settings(
    connection: &mut Connection,
    user_key: &str,
    settings: &str,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    sqlx::query!(
        "INSERT INTO user_settings (user_key, config_json, updated_at) VALUES (?1, ?2, ?3)
         ON CONFLICT(user_key) DO UPDATE SET config_json = ?2, updated_at = ?3",
        user_key,
        settings,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}
