//! A database in a temporary folder, and the fixture: an export and its plaintexts.

use crypto::vault::{Identity, Sealed, Vault};
use db::Db;
use porter_import::{ImportError, Report, import};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Row, Sqlite};
use tempfile::TempDir;

pub const EXPORT: &str = include_str!("../../../../tests/fixtures/d1-export/export.sql");
pub const VECTORS: &str = include_str!("../../../../tests/fixtures/d1-export/vectors.json");
pub const FLY_TOKEN: &str = "fo1_fixture_fly_token";
pub const OCTOCAT: &str = "d109ef5b1f141c22d53339ba346ddc5b53d1425871fd39fa2953fd03fa9d0c17";
pub const LATER: &str = "2026-02-20T10:00:00.001Z";

/// An empty database of Porter, and the vault with the root secret of the export.
pub struct Environment {
    pub folder: TempDir,
    pub db: Db,
    pub connection: PoolConnection<Sqlite>,
    pub vault: Vault,
}

impl Environment {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open(folder).await
    }

    async fn open(folder: TempDir) -> Self {
        let db = Db::open(&folder.path().join("porter.db")).await.unwrap();
        db.migrate().await.unwrap();
        let connection = db.writer().await.unwrap();
        Self { folder, db, connection, vault: vault(&[root()]) }
    }

    /// An environment into which the export is imported.
    pub async fn imported() -> Self {
        let mut environment = Self::new().await;
        environment.import(EXPORT).await.unwrap();
        environment
    }

    pub async fn import(&mut self, sql: &str) -> Result<Report, ImportError> {
        import(&mut self.connection, &self.vault, sql).await
    }

    /// Asserts that an import fails and writes nothing, and returns its message.
    pub async fn refusal(&mut self, sql: &str) -> String {
        let before = self.dump().await;
        let error = anyhow::Error::from(self.import(sql).await.expect_err("the import must fail"));
        assert_eq!(self.dump().await, before, "a refused import wrote something");
        format!("{error:#}")
    }

    pub async fn execute(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *self.connection).await.unwrap();
    }

    pub async fn text(&mut self, sql: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *self.connection).await.unwrap()
    }

    /// Every row of the four tables, as JSON.
    pub async fn dump(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        for (table, columns) in [
            ("users", "user_key, github_user_id, github_login, created_at, updated_at"),
            ("user_settings", "user_key, config_json, updated_at"),
            (
                "user_secrets",
                "user_key, provider_id, env_key, encrypted_value, iv, tag, alg, key_version, updated_at",
            ),
            (
                "user_oauth_tokens",
                "github_user_id, github_login, github_login_norm, encrypted_token, iv, tag, alg, key_version, updated_at",
            ),
        ] {
            let sql = format!("SELECT json_array('{table}', {columns}) FROM {table} ORDER BY 1");
            let query = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql));
            rows.extend(query.fetch_all(&mut *self.connection).await.unwrap());
        }
        rows
    }

    /// The plaintext of a user's secret.
    pub async fn secret(&mut self, user_key: &str, provider_id: &str, env_key: &str) -> String {
        let sql = "SELECT encrypted_value, iv, tag, alg, key_version FROM user_secrets
            WHERE user_key = ? AND provider_id = ? AND env_key = ?";
        let query = sqlx::query(sql).bind(user_key).bind(provider_id).bind(env_key);
        let sealed = sealed(&query.fetch_one(&mut *self.connection).await.unwrap());
        let identity = Identity::UserSecret { user_key, provider_id, env_key };
        self.vault.open(&identity, &sealed).unwrap().expose_secret().to_owned()
    }

    pub async fn oauth_token(&mut self, github_user_id: i64) -> String {
        let sql = "SELECT encrypted_token, iv, tag, alg, key_version FROM user_oauth_tokens WHERE github_user_id = ?";
        let sealed =
            sealed(&sqlx::query(sql).bind(github_user_id).fetch_one(&mut *self.connection).await.unwrap());
        let identity = Identity::OauthToken { github_user_id: github_user_id.into() };
        self.vault.open(&identity, &sealed).unwrap().expose_secret().to_owned()
    }

    /// The same environment with a newly opened database.
    pub async fn reopened(self) -> Self {
        let folder = self.close().await;
        Self::open(folder).await
    }

    pub async fn close(self) -> TempDir {
        drop(self.connection);
        self.db.close().await;
        self.folder
    }
}

pub fn sealed(row: &sqlx::sqlite::SqliteRow) -> Sealed {
    Sealed {
        encrypted_value: row.get(0),
        iv: row.get(1),
        tag: row.get(2),
        alg: row.get(3),
        key_version: row.get(4),
    }
}

pub fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

pub fn root() -> String {
    vectors()["root_secret"].as_str().unwrap().to_owned()
}

pub fn vault(roots: &[String]) -> Vault {
    let mut roots = roots.iter().map(|root| root.as_str().into());
    Vault::new(roots.next().unwrap(), roots.collect())
}

/// The export with `from` replaced by `to`.
pub fn altered(from: &str, to: &str) -> String {
    assert!(EXPORT.contains(from), "the export does not contain {from}");
    EXPORT.replace(from, to)
}
