//! The migrations use only SQL that Cloudflare D1 also supports (main-spec §9).

use sqlx::Row;

use super::fresh;
use crate::MIGRATIONS;

/// Returns the statements of a migration without comments. No string in the migrations contains a semicolon or
/// two dashes.
fn statements(sql: &str) -> Vec<String> {
    let lines: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    lines
        .join("\n")
        .split(';')
        .map(|statement| statement.trim().to_uppercase())
        .filter(|s| !s.is_empty())
        .collect()
}

#[test]
fn no_migration_uses_what_d1_refuses() {
    let mut seen = 0;
    for migration in MIGRATIONS.iter() {
        for statement in statements(migration.sql.as_str()) {
            let word = statement.split_whitespace().next().unwrap_or_default();
            assert!(
                ["CREATE", "ALTER", "INSERT", "UPDATE", "DELETE", "DROP"].contains(&word),
                "migration {}: {statement}",
                migration.version
            );
            // With foreign keys enabled, which a migration cannot change on D1, the task's events and tokens
            // would also be deleted.
            assert!(!statement.starts_with("DROP TABLE TASKS"), "migration {}", migration.version);
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} statements were found");
}

#[tokio::test]
async fn no_table_has_more_columns_than_d1_takes() {
    let (_folder, db) = fresh().await;
    let mut reader = db.read().await.unwrap();
    let sql = "SELECT m.name, (SELECT count(*) FROM pragma_table_info(m.name)) AS columns
               FROM sqlite_schema AS m WHERE m.type = 'table'";
    for row in sqlx::query(sql).fetch_all(&mut *reader).await.unwrap() {
        let (name, columns): (String, i64) = (row.get("name"), row.get("columns"));
        assert!(columns <= 100, "{name} has {columns} columns");
    }
}
