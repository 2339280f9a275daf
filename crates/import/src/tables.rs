//! The rows of the four tables of accounts, and [`Target`]: the transaction that writes them into Porter's
//! database. `import` decides which rows are written.

use sqlx::{Connection as _, Sqlite, SqliteConnection};

use crypto::vault::Sealed;

/// The tables, each after those that it references.
pub const TABLES: [&str; 4] = ["users", "user_settings", "user_secrets", "user_oauth_tokens"];

/// A row of `users`. All times are RFC 3339, or as SQLite's `CURRENT_TIMESTAMP` writes them.
#[derive(Debug)]
pub struct User {
    pub user_key: String,
    pub github_user_id: Option<i64>,
    pub github_login: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// A row of `user_settings`.
#[derive(Debug, sqlx::FromRow)]
pub struct Settings {
    pub user_key: String,
    pub config_json: String,
    pub updated_at: String,
}

/// A row of `user_secrets`.
#[derive(Debug)]
pub struct Secret {
    pub user_key: String,
    pub provider_id: String,
    pub env_key: String,
    pub sealed: Sealed,
    pub updated_at: String,
}

/// A row of `user_oauth_tokens`.
#[derive(Debug)]
pub struct OauthToken {
    pub github_user_id: i64,
    pub github_login: String,
    /// The login in lower case; unique.
    pub github_login_norm: String,
    pub sealed: Sealed,
    pub updated_at: String,
}

/// The primary key of a row.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    User(&'a str),
    Settings(&'a str),
    Secret { user_key: &'a str, provider_id: &'a str, env_key: &'a str },
    OauthToken(i64),
}

/// A writing transaction. It is rolled back if it is dropped without [`Target::commit`].
pub struct Target<'c>(sqlx::Transaction<'c, Sqlite>);

impl<'c> Target<'c> {
    /// Begins the transaction and blocks other writers until it ends. From now on the connection overwrites
    /// deleted content with zeros (`secure_delete`), so that a token removed from `config_json` is also
    /// removed from the file.
    pub async fn begin(connection: &'c mut SqliteConnection) -> sqlx::Result<Self> {
        sqlx::raw_sql("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
        Ok(Self(connection.begin_with("BEGIN IMMEDIATE").await?))
    }

    pub async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }

    /// The key of this GitHub user; `preferred` if the user has several.
    pub async fn find_user_key(&mut self, github_id: i64, preferred: &str) -> sqlx::Result<Option<String>> {
        let sql = "SELECT user_key FROM users WHERE github_user_id = ?
            ORDER BY user_key = ? DESC, updated_at DESC LIMIT 1";
        sqlx::query_scalar(sql).bind(github_id).bind(preferred).fetch_optional(&mut *self.0).await
    }

    /// The `updated_at` of a row; `None` if there is no such row.
    pub async fn find_time(&mut self, row: Key<'_>) -> sqlx::Result<Option<String>> {
        let query = match row {
            Key::User(key) => sqlx::query_scalar("SELECT updated_at FROM users WHERE user_key = ?").bind(key),
            Key::Settings(key) => {
                sqlx::query_scalar("SELECT updated_at FROM user_settings WHERE user_key = ?").bind(key)
            }
            Key::Secret { user_key, provider_id, env_key } => {
                let sql = "SELECT updated_at FROM user_secrets
                    WHERE user_key = ? AND provider_id = ? AND env_key = ?";
                sqlx::query_scalar(sql).bind(user_key).bind(provider_id).bind(env_key)
            }
            Key::OauthToken(id) => {
                sqlx::query_scalar("SELECT updated_at FROM user_oauth_tokens WHERE github_user_id = ?")
                    .bind(id)
            }
        };
        query.fetch_optional(&mut *self.0).await
    }

    /// The GitHub id of the account that has this login.
    pub async fn find_login_owner(&mut self, github_login_norm: &str) -> sqlx::Result<Option<i64>> {
        let sql = "SELECT github_user_id FROM user_oauth_tokens WHERE github_login_norm = ?";
        sqlx::query_scalar(sql).bind(github_login_norm).fetch_optional(&mut *self.0).await
    }

    /// Inserts the user or updates it; a missing id or login does not erase the stored one.
    pub async fn store_user(&mut self, user: &User) -> sqlx::Result<()> {
        let sql = "INSERT INTO users (user_key, github_user_id, github_login, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_key) DO UPDATE SET
            github_user_id = coalesce(excluded.github_user_id, github_user_id),
            github_login = coalesce(excluded.github_login, github_login), updated_at = excluded.updated_at";
        let User { user_key, github_user_id, github_login, created_at, updated_at } = user;
        let query = sqlx::query(sql).bind(user_key).bind(github_user_id).bind(github_login);
        query.bind(created_at).bind(updated_at).execute(&mut *self.0).await.map(|_| ())
    }

    pub async fn store_settings(&mut self, settings: &Settings) -> sqlx::Result<()> {
        let sql = "INSERT OR REPLACE INTO user_settings (user_key, config_json, updated_at) VALUES (?, ?, ?)";
        let Settings { user_key, config_json, updated_at } = settings;
        let query = sqlx::query(sql).bind(user_key).bind(config_json).bind(updated_at);
        query.execute(&mut *self.0).await.map(|_| ())
    }

    pub async fn store_secret(&mut self, secret: &Secret) -> sqlx::Result<()> {
        let sql = "INSERT OR REPLACE INTO user_secrets
            (user_key, provider_id, env_key, encrypted_value, iv, tag, alg, key_version, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let Secret { user_key, provider_id, env_key, sealed, updated_at } = secret;
        let query = sqlx::query(sql).bind(user_key).bind(provider_id).bind(env_key);
        let query = query.bind(&sealed.encrypted_value).bind(&sealed.iv).bind(&sealed.tag);
        let query = query.bind(&sealed.alg).bind(&sealed.key_version).bind(updated_at);
        query.execute(&mut *self.0).await.map(|_| ())
    }

    /// Inserts or replaces the account's token. A conflict on the login is an error: `INSERT OR REPLACE`
    /// would delete the other account's row.
    pub async fn store_oauth_token(&mut self, token: &OauthToken) -> sqlx::Result<()> {
        let sql = "INSERT INTO user_oauth_tokens
            (github_user_id, github_login, github_login_norm, encrypted_token, iv, tag, alg, key_version, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (github_user_id) DO UPDATE SET
            github_login = excluded.github_login, github_login_norm = excluded.github_login_norm,
            encrypted_token = excluded.encrypted_token, iv = excluded.iv, tag = excluded.tag,
            alg = excluded.alg, key_version = excluded.key_version, updated_at = excluded.updated_at";
        let OauthToken { github_user_id, github_login, github_login_norm, sealed, updated_at } = token;
        let query = sqlx::query(sql).bind(github_user_id).bind(github_login).bind(github_login_norm);
        let query = query.bind(&sealed.encrypted_value).bind(&sealed.iv).bind(&sealed.tag);
        let query = query.bind(&sealed.alg).bind(&sealed.key_version).bind(updated_at);
        query.execute(&mut *self.0).await.map(|_| ())
    }

    /// The settings that can contain a Fly token.
    pub async fn list_settings_naming_a_fly_token(&mut self) -> sqlx::Result<Vec<Settings>> {
        let sql = "SELECT user_key, config_json, updated_at FROM user_settings
            WHERE instr(config_json, '\"flyToken\"') > 0 ORDER BY user_key";
        sqlx::query_as(sql).fetch_all(&mut *self.0).await
    }
}
