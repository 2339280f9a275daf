//! The SQL of the move from the earlier Porter's database: a [`Scratch`] database in memory, into which an
//! export is loaded, and a [`Target`], the transaction that writes into the real one. Which rows are written
//! is decided by `import`, the only caller.

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Row, Sqlite, SqliteConnection};

/// A connection to the real database.
pub type Connection = SqliteConnection;

/// The database failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement of ours.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// Its tables cannot be brought up to date.
    #[error("the database's tables cannot be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Why rows of an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// A statement of the export fails; in SQLite's words.
    #[error("SQLite refuses it: {0}")]
    Refused(String),
    /// A table of the export lacks a column that cannot be done without.
    #[error("table `{table}` of the export has no column `{column}`")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// Its column.
        column: &'static str,
    },
    /// A value that the column cannot hold.
    #[error("row {row} of table `{table}` of the export has an unusable {column}")]
    BadValue {
        /// The table.
        table: &'static str,
        /// Which of its rows, from 1.
        row: usize,
        /// The column.
        column: String,
    },
    /// The scratch database itself fails.
    #[error("the scratch database failed")]
    Database(#[from] sqlx::Error),
}

/// A row of `users`.
pub struct User {
    /// Primary key.
    pub user_key: String,
    /// GitHub's id of the account.
    pub github_user_id: Option<i64>,
    /// Its name.
    pub github_login: Option<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// A row of `user_settings`.
pub struct Settings {
    /// Primary key; in `users`.
    pub user_key: String,
    /// A JSON object; the earlier Porter kept a Fly token in it.
    pub config_json: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// The columns of a sealed secret.
#[derive(Clone)]
pub struct Ciphertext {
    /// `encrypted_value`, or `encrypted_token`.
    pub value: String,
    /// The nonce.
    pub iv: String,
    /// The authentication tag.
    pub tag: String,
    /// The algorithm.
    pub alg: String,
    /// The format.
    pub key_version: String,
}

/// A row of `user_secrets`.
pub struct Secret {
    /// Primary key; in `users`.
    pub user_key: String,
    /// Primary key.
    pub provider_id: String,
    /// Primary key.
    pub env_key: String,
    /// The secret.
    pub ciphertext: Ciphertext,
    /// RFC 3339.
    pub updated_at: String,
}

/// A row of `user_oauth_tokens`.
pub struct OauthToken {
    /// Primary key.
    pub github_user_id: i64,
    /// The account's name.
    pub github_login: String,
    /// The name in lower case; unique.
    pub github_login_norm: String,
    /// The token.
    pub ciphertext: Ciphertext,
    /// RFC 3339.
    pub updated_at: String,
}

/// A database in memory that is gone when this is dropped.
pub struct Scratch(SqliteConnection);

impl Scratch {
    /// An empty one.
    ///
    /// # Errors
    /// SQLite cannot open it.
    pub async fn open() -> Result<Self, ScratchError> {
        let options = SqliteConnectOptions::new()
            .in_memory(true)
            .foreign_keys(false)
            // Statements of an export hold their values, a Fly token in the clear among them.
            .disable_statement_logging();
        Ok(Self(options.connect().await?))
    }

    /// Executes a statement of the export, which the caller has checked.
    ///
    /// # Errors
    /// SQLite refuses it.
    pub async fn execute(&mut self, statement: &str) -> Result<(), ScratchError> {
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.0).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) => {
                // Messages on syntax quote the text, which may be a secret.
                let quotes = error.message().contains("near \"") || error.message().contains("token:");
                let message = if quotes { "a syntax error" } else { error.message() };
                Err(ScratchError::Refused(message.to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The rows of `users`.
    ///
    /// # Errors
    /// A column is missing or holds an unusable value; likewise for the other three tables.
    pub async fn users(&mut self) -> Result<Vec<User>, ScratchError> {
        let columns = [
            ("user_key", None),
            ("github_user_id", Some("NULL")),
            ("github_login", Some("NULL")),
            ("created_at", Some(UNKNOWN_TIME)),
            ("updated_at", Some(UNKNOWN_TIME)),
        ];
        self.rows("users", &columns, |row| {
            Ok(User {
                user_key: required(row, "user_key")?,
                github_user_id: row.try_get("github_user_id")?,
                github_login: row.try_get("github_login")?,
                created_at: required(row, "created_at")?,
                updated_at: required(row, "updated_at")?,
            })
        })
        .await
    }

    /// The rows of `user_settings`.
    ///
    /// # Errors
    /// See [`Scratch::users`].
    pub async fn settings(&mut self) -> Result<Vec<Settings>, ScratchError> {
        let columns = [("user_key", None), ("config_json", None), ("updated_at", Some(UNKNOWN_TIME))];
        self.rows("user_settings", &columns, settings).await
    }

    /// The rows of `user_secrets`.
    ///
    /// # Errors
    /// See [`Scratch::users`].
    pub async fn secrets(&mut self) -> Result<Vec<Secret>, ScratchError> {
        let columns = [
            ("user_key", None),
            ("provider_id", None),
            ("env_key", None),
            ("encrypted_value", None),
            ("iv", None),
            ("tag", None),
            ("alg", Some("'aes-256-gcm'")),
            ("key_version", Some("'v1'")),
            ("updated_at", Some(UNKNOWN_TIME)),
        ];
        self.rows("user_secrets", &columns, |row| {
            Ok(Secret {
                user_key: required(row, "user_key")?,
                provider_id: required(row, "provider_id")?,
                env_key: required(row, "env_key")?,
                ciphertext: ciphertext(row, "encrypted_value")?,
                updated_at: required(row, "updated_at")?,
            })
        })
        .await
    }

    /// The rows of `user_oauth_tokens`.
    ///
    /// # Errors
    /// See [`Scratch::users`].
    pub async fn oauth_tokens(&mut self) -> Result<Vec<OauthToken>, ScratchError> {
        let columns = [
            ("github_user_id", None),
            ("github_login", None),
            ("github_login_norm", Some("lower(github_login)")),
            ("encrypted_token", None),
            ("iv", None),
            ("tag", None),
            ("alg", Some("'aes-256-gcm'")),
            ("key_version", Some("'v1'")),
            ("updated_at", Some(UNKNOWN_TIME)),
        ];
        self.rows("user_oauth_tokens", &columns, |row| {
            Ok(OauthToken {
                github_user_id: required(row, "github_user_id")?,
                github_login: required(row, "github_login")?,
                github_login_norm: required(row, "github_login_norm")?,
                ciphertext: ciphertext(row, "encrypted_token")?,
                updated_at: required(row, "updated_at")?,
            })
        })
        .await
    }

    /// All rows of a table; a column may be missing where an expression stands for it.
    async fn rows<T>(
        &mut self,
        table: &'static str,
        columns: &[(&'static str, Option<&str>)],
        decode: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, ScratchError> {
        let present: Vec<String> = sqlx::query_scalar("SELECT lower(name) FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&mut self.0)
            .await?;
        let mut selected = Vec::with_capacity(columns.len());
        for &(column, otherwise) in columns {
            selected.push(match otherwise {
                _ if present.iter().any(|name| name == column) => format!("\"{column}\" AS {column}"),
                Some(expression) => format!("{expression} AS {column}"),
                None => return Err(ScratchError::NoColumn { table, column }),
            });
        }
        let select = format!("SELECT {} FROM {table}", selected.join(", "));
        let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(&mut self.0).await?;
        let decoded = rows.iter().enumerate().map(|(index, row)| {
            decode(row).map_err(|error| match error {
                sqlx::Error::ColumnDecode { index: column, .. } => {
                    ScratchError::BadValue { table, row: index + 1, column: column.replace('"', "`") }
                }
                error => error.into(),
            })
        });
        decoded.collect()
    }
}

/// The age of a row of an export that does not tell it: older than any other.
const UNKNOWN_TIME: &str = "'1970-01-01T00:00:00.000Z'";

fn settings(row: &SqliteRow) -> Result<Settings, sqlx::Error> {
    Ok(Settings {
        user_key: required(row, "user_key")?,
        config_json: required(row, "config_json")?,
        updated_at: required(row, "updated_at")?,
    })
}

fn ciphertext(row: &SqliteRow, value: &str) -> Result<Ciphertext, sqlx::Error> {
    Ok(Ciphertext {
        value: required(row, value)?,
        iv: required(row, "iv")?,
        tag: required(row, "tag")?,
        alg: required(row, "alg")?,
        key_version: required(row, "key_version")?,
    })
}

/// The value of a column that must not be NULL, which sqlx would take for an empty text or a zero.
fn required<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
{
    let null = || sqlx::Error::ColumnDecode {
        index: format!("{column:?}"),
        source: Box::new(sqlx::error::UnexpectedNullError),
    };
    row.try_get::<Option<T>, _>(column)?.ok_or_else(null)
}

/// The primary key of a row.
#[derive(Clone, Copy)]
pub enum Key<'a> {
    /// Of `users`.
    User(&'a str),
    /// Of `user_settings`.
    Settings(&'a str),
    /// Of `user_secrets`: user, provider and environment variable.
    Secret(&'a str, &'a str, &'a str),
    /// Of `user_oauth_tokens`.
    OauthToken(i64),
}

/// A writing transaction on the real database. Dropped without [`Target::commit`], nothing was written.
pub struct Target<'c>(sqlx::Transaction<'c, Sqlite>);

impl<'c> Target<'c> {
    /// Begins it; no one else writes until it ends. From here on this connection overwrites what it deletes,
    /// so that a token taken out of `config_json` is out of the file, too.
    ///
    /// # Errors
    /// The database fails, or is being written for longer than its busy timeout; likewise for all that follows.
    pub async fn begin(connection: &'c mut Connection) -> Result<Self, Error> {
        sqlx::raw_sql("PRAGMA secure_delete = ON").execute(&mut *connection).await?;
        Ok(Self(connection.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// Makes it all so.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }

    /// The key under which this GitHub user is known here; `preferred` where there are several.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn find_user_key(
        &mut self,
        github_user_id: i64,
        preferred: &str,
    ) -> Result<Option<String>, Error> {
        let sql =
            "SELECT user_key FROM users WHERE github_user_id = ? ORDER BY user_key = ? DESC, updated_at DESC
            LIMIT 1";
        let query = sqlx::query_scalar(sql).bind(github_user_id).bind(preferred);
        Ok(query.fetch_optional(&mut *self.0).await?)
    }

    /// The row's `updated_at`; nothing when it is not here.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn find_time(&mut self, row: Key<'_>) -> Result<Option<String>, Error> {
        let query = match row {
            Key::User(key) => sqlx::query_scalar("SELECT updated_at FROM users WHERE user_key = ?").bind(key),
            Key::Settings(key) => {
                sqlx::query_scalar("SELECT updated_at FROM user_settings WHERE user_key = ?").bind(key)
            }
            Key::Secret(user_key, provider_id, env_key) => {
                let sql = "SELECT updated_at FROM user_secrets
                    WHERE user_key = ? AND provider_id = ? AND env_key = ?";
                sqlx::query_scalar(sql).bind(user_key).bind(provider_id).bind(env_key)
            }
            Key::OauthToken(id) => {
                sqlx::query_scalar("SELECT updated_at FROM user_oauth_tokens WHERE github_user_id = ?")
                    .bind(id)
            }
        };
        Ok(query.fetch_optional(&mut *self.0).await?)
    }

    /// Which account holds this login here.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn find_login_owner(&mut self, github_login_norm: &str) -> Result<Option<i64>, Error> {
        let sql = "SELECT github_user_id FROM user_oauth_tokens WHERE github_login_norm = ?";
        Ok(sqlx::query_scalar(sql).bind(github_login_norm).fetch_optional(&mut *self.0).await?)
    }

    /// Inserts the user, or brings what is known of the account up to date.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn store_user(&mut self, user: &User) -> Result<(), Error> {
        let sql = "INSERT INTO users (user_key, github_user_id, github_login, created_at, updated_at)
            VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_key) DO UPDATE SET
            github_user_id = coalesce(excluded.github_user_id, github_user_id),
            github_login = coalesce(excluded.github_login, github_login), updated_at = excluded.updated_at";
        sqlx::query(sql)
            .bind(&user.user_key)
            .bind(user.github_user_id)
            .bind(&user.github_login)
            .bind(&user.created_at)
            .bind(&user.updated_at)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Inserts or replaces the settings.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn store_settings(&mut self, settings: &Settings) -> Result<(), Error> {
        let sql = "INSERT OR REPLACE INTO user_settings (user_key, config_json, updated_at) VALUES (?, ?, ?)";
        sqlx::query(sql)
            .bind(&settings.user_key)
            .bind(&settings.config_json)
            .bind(&settings.updated_at)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Inserts or replaces the secret.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn store_secret(&mut self, secret: &Secret) -> Result<(), Error> {
        let sql = "INSERT OR REPLACE INTO user_secrets
            (user_key, provider_id, env_key, encrypted_value, iv, tag, alg, key_version, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(&secret.user_key)
            .bind(&secret.provider_id)
            .bind(&secret.env_key)
            .bind(&secret.ciphertext.value)
            .bind(&secret.ciphertext.iv)
            .bind(&secret.ciphertext.tag)
            .bind(&secret.ciphertext.alg)
            .bind(&secret.ciphertext.key_version)
            .bind(&secret.updated_at)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// Inserts or replaces the account's token.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn store_oauth_token(&mut self, token: &OauthToken) -> Result<(), Error> {
        let sql = "INSERT INTO user_oauth_tokens
            (github_user_id, github_login, github_login_norm, encrypted_token, iv, tag, alg, key_version, updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (github_user_id) DO UPDATE SET
            github_login = excluded.github_login, github_login_norm = excluded.github_login_norm,
            encrypted_token = excluded.encrypted_token, iv = excluded.iv, tag = excluded.tag,
            alg = excluded.alg, key_version = excluded.key_version, updated_at = excluded.updated_at";
        sqlx::query(sql)
            .bind(token.github_user_id)
            .bind(&token.github_login)
            .bind(&token.github_login_norm)
            .bind(&token.ciphertext.value)
            .bind(&token.ciphertext.iv)
            .bind(&token.ciphertext.tag)
            .bind(&token.ciphertext.alg)
            .bind(&token.ciphertext.key_version)
            .bind(&token.updated_at)
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }

    /// The settings in which a Fly token may stand.
    ///
    /// # Errors
    /// See [`Target::begin`].
    pub async fn list_settings_naming_a_fly_token(&mut self) -> Result<Vec<Settings>, Error> {
        let sql = "SELECT user_key, config_json, updated_at FROM user_settings
            WHERE instr(config_json, '\"flyToken\"') > 0 ORDER BY user_key";
        let rows = sqlx::query(sql).fetch_all(&mut *self.0).await?;
        Ok(rows.iter().map(settings).collect::<Result<_, _>>()?)
    }
}
