//! Tests of behaviour that is implemented in SQL: leases, fences and lanes of jobs, the order and limits of the
//! queue, the history of attempts, and the migration of older databases.

mod attempts;
mod jobs;
mod migrations;
mod queue;
mod upgrade;

use chrono::{DateTime, Utc};
use tempfile::TempDir;

use super::Db;

/// Returns a new, migrated database in a temporary folder.
async fn fresh() -> (TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&folder.path().join("porter.db")).await.unwrap();
    db.migrate().await.unwrap();
    (folder, db)
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}
