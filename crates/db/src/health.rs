//! Checks the schema of the database for this build, for `/readyz`, `/api/startup/check` and `doctor`.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{AssertSqlSafe, Row};

use super::{Connection, Db, Error, MIGRATIONS};

/// The state of a table that must exist.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// The table's name.
    pub name: String,
    /// Whether the table exists.
    pub present: bool,
    /// Whether the table has every column that the migrations create.
    pub columns_ok: bool,
    /// The missing columns.
    pub missing_columns: Vec<String>,
}

/// The state of the migrations.
#[derive(Clone, Debug, Serialize)]
pub struct Migrations {
    /// The number of applied migrations.
    pub applied: usize,
    /// The number of migrations in this build that are not applied.
    pub pending: usize,
}

/// Compares the database's tables with those of a new database.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn check(db: &Db) -> Result<(Vec<Table>, Migrations), Error> {
    let expected = {
        let fresh =
            sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
        MIGRATIONS.run(&fresh).await?;
        let mut connection = fresh.acquire().await?;
        columns(&mut connection).await?
    };
    let mut connection = db.read().await?;
    let actual = columns(&mut connection).await?;
    let tables = expected
        .into_iter()
        .filter(|(name, _)| !name.starts_with('_'))
        .map(|(name, wanted)| {
            let there = actual.get(&name);
            let missing: Vec<String> = wanted
                .into_iter()
                .filter(|column| !there.is_some_and(|columns| columns.contains(column)))
                .collect();
            Table { present: there.is_some(), columns_ok: missing.is_empty(), missing_columns: missing, name }
        })
        .collect();
    let applied = if actual.contains_key("_sqlx_migrations") {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut *connection)
            .await?;
        usize::try_from(count).unwrap_or(0)
    } else {
        0
    };
    let pending = MIGRATIONS.iter().count().saturating_sub(applied);
    Ok((tables, Migrations { applied, pending }))
}

/// Checks that the database responds.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn ping(connection: &mut Connection) -> Result<(), Error> {
    sqlx::query("SELECT 1").execute(connection).await?;
    Ok(())
}

async fn columns(connection: &mut Connection) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let sql = "SELECT m.name AS table_name, c.name AS column_name
               FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
               WHERE m.type = 'table' ORDER BY m.name, c.cid";
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await? {
        tables.entry(row.try_get("table_name")?).or_default().push(row.try_get("column_name")?);
    }
    Ok(tables)
}
