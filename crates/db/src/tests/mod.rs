//! What the SQL itself must hold: leases, fences and lanes of jobs, the order of the queue, its caps, the history
//! of attempts; and what the migrations must do to older databases.

mod attempts;
mod jobs;
mod migrations;
mod queue;
mod upgrade;

use chrono::{DateTime, Utc};
use tempfile::TempDir;

use super::Db;

/// A database in a folder of its own, up to date.
async fn fresh() -> (TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&folder.path().join("porter.db")).await.unwrap();
    db.migrate().await.unwrap();
    (folder, db)
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}
