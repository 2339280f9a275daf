//! Tests of the upgrade of a database that an earlier version wrote: no data is lost, and pending jobs have
//! their current names. The fixture was recorded with the migrations up to 0002.

use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;

use crate::{Connection, Db, attempts, events, jobs, secrets, tasks};
use domain::event::TaskEvent;
use domain::job::Job;
use domain::task::{Phase, Status, Task, TaskId};

const RECORDED: &str = include_str!("../../../../tests/fixtures/database/after-0002.sql");

/// A task that failed, was retried, and runs its second attempt.
const RETRIED: &str = "task_01a224d1772e70c1a5185d2f0b7d0fcd";
/// A task that succeeded.
const SUCCEEDED: &str = "task_01a224d18d2f7d3f92040ed12616bb35";
/// A task that timed out.
const TIMED_OUT: &str = "task_01a224d1901f7cc188b6806b857840e8";
/// A queued task without a status comment.
const WAITING: &str = "task_01a224d292bb79a694ee96fdc470c22f";

/// Returns the recorded database, migrated after `more` was executed.
async fn upgraded(more: &str) -> (TempDir, Db) {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(&folder.path().join("porter.db")).await.unwrap();
    let mut writer = db.writer().await.unwrap();
    let script = format!("{RECORDED}\nPRAGMA foreign_keys = ON;\n{more}");
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *writer).await.unwrap();
    drop(writer);
    db.migrate().await.unwrap();
    (folder, db)
}

async fn task(connection: &mut Connection, id: &str) -> Task {
    tasks::find(connection, &TaskId::parse(id).unwrap()).await.unwrap().expect("the task exists")
}

#[tokio::test]
async fn every_row_of_every_table_is_still_there() {
    let recorded = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
    let recorded = recorded.connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql(RECORDED).execute(&recorded).await.unwrap();
    let (_folder, db) = upgraded("").await;
    let mut reader = db.read().await.unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'";
    let mut compared = 0;
    for row in sqlx::query(tables).fetch_all(&recorded).await.unwrap() {
        let name: String = row.get("name");
        let count = format!("SELECT count(*) FROM {name}");
        let before: i64 =
            sqlx::query_scalar(AssertSqlSafe(count.clone())).fetch_one(&recorded).await.unwrap();
        let after: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *reader).await.unwrap();
        assert_eq!(after, before, "rows of {name}");
        compared += 1;
    }
    assert_eq!(compared, 14, "tables of the recorded database");
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *reader).await.unwrap();
    assert_eq!(broken.len(), 0, "rows whose parent is missing");
}

#[tokio::test]
async fn a_task_is_stored_with_its_current_and_earlier_attempts() {
    let (_folder, db) = upgraded("").await;
    let mut reader = db.read().await.unwrap();
    let retried = task(&mut reader, RETRIED).await;
    assert_eq!(
        (retried.status, retried.phase, retried.attempt.number),
        (Status::Running, Some(Phase::Working), 2)
    );
    assert_eq!(retried.attempt.machine_id, Some(format!("porter-{}-2", &RETRIED["task_".len()..])));
    assert_eq!((retried.attempt.progress, retried.attempt.activity.as_deref()), (60, Some("Once more")));
    assert_eq!(retried.attempt.usage.input_tokens, Some(100));
    assert!(retried.attempt.deadline_at > retried.attempt.started_at && retried.attempt.seen_at.is_some());
    let history = attempts::list(&mut reader, &retried.id).await.unwrap();
    assert_eq!(history.len(), 2, "{history:#?}");
    assert_eq!((history[1].status, &history[1].attempt), (Status::Running, &retried.attempt));
    // The earlier version kept only the status events of this attempt.
    let first = &history[0];
    assert_eq!((first.status, first.attempt.number), (Status::Failed, 1));
    assert_eq!(first.attempt.error_message.as_deref(), Some("I give up."));
    assert!(first.attempt.started_at.is_some() && first.attempt.started_at < first.attempt.completed_at);
    assert!(first.attempt.completed_at < retried.attempt.started_at);

    let succeeded = task(&mut reader, SUCCEEDED).await;
    assert_eq!((succeeded.status, succeeded.pr_number), (Status::Success, Some(5.into())));
    let attempt = &succeeded.attempt;
    assert_eq!(attempt.branch.as_deref(), Some(format!("porter/{SUCCEEDED}").as_str()));
    assert_eq!(attempt.commit_sha.as_ref().map(String::len), Some(40));
    assert_eq!((attempt.summary.as_deref(), attempt.progress), (Some("It greets."), 100));
    assert_eq!((attempt.usage.input_tokens, attempt.usage.output_tokens), (Some(1200), Some(34)));
    assert_eq!(attempt.usage.cost_usd, Some(0.5));
    assert_eq!((attempt.callback.attempts, attempt.callback.max_attempts), (Some(1), Some(40)));

    let timed_out = task(&mut reader, TIMED_OUT).await;
    assert_eq!(
        (timed_out.status, timed_out.attempt.error_message.as_deref()),
        (Status::TimedOut, Some("Time is up."))
    );
    assert!(timed_out.attempt.completed_at.is_some());

    let waiting = task(&mut reader, WAITING).await;
    assert_eq!((waiting.status, waiting.model.as_deref()), (Status::Queued, Some("tiny")));
    assert_eq!(waiting.attempt.started_at, None);
}

#[tokio::test]
async fn pending_jobs_are_those_that_this_version_writes() {
    let (_folder, db) = upgraded("").await;
    let mut writer = db.writer().await.unwrap();
    let rows = sqlx::query("SELECT kind, key, lane, payload, tries, last_error FROM jobs ORDER BY id");
    let rows = rows.fetch_all(&mut *writer).await.unwrap();
    let mut kinds = Vec::new();
    for row in rows {
        let job: Job = serde_json::from_str(row.get("payload")).expect("a job of the current version");
        let stored: (String, String, String) = (row.get("kind"), row.get("key"), row.get("lane"));
        assert_eq!(stored, (job.kind().to_owned(), job.key(), job.lane()));
        kinds.push((
            job.kind(),
            row.get::<i64, _>("tries"),
            row.get::<Option<String>, _>("last_error").is_some(),
        ));
    }
    assert_eq!(kinds, [("sync_issue", 1, true), ("control", 1, true), ("answer", 0, false)]);
    // A second request does not create a second job.
    let task = task(&mut writer, WAITING).await;
    let job = Job::SyncIssue { task: task.id.clone(), installation: task.repository.installation_id };
    assert!(jobs::is_pending(&mut writer, &job.key()).await.unwrap());
}

#[tokio::test]
async fn a_log_line_is_output_with_the_same_text() {
    let (_folder, db) = upgraded("").await;
    let mut reader = db.read().await.unwrap();
    let id = TaskId::parse(RETRIED).unwrap();
    let stored = events::list_after(&mut reader, &id, 0, 100).await.unwrap();
    let numbers: Vec<i64> = stored.iter().map(|stored| stored.seq).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    let output = |text: &str| TaskEvent::Output { text: text.to_owned() };
    assert_eq!(stored[2].event, output("first \"line\"\nof two"));
    assert_eq!(stored[3].event, output("second"));
    let half = TaskEvent::Progress { progress: Some(40), message: Some("Half way".to_owned()) };
    assert_eq!(stored[4].event, half);
    let failed = TaskEvent::Status {
        status: Status::Failed,
        error_message: Some("I give up.".to_owned()),
        pr_url: None,
    };
    assert_eq!((stored[5].attempt, &stored[5].event), (1, &failed));
    assert_eq!((stored[8].attempt, &stored[8].event), (2, &output("third")));
}

#[tokio::test]
async fn an_attempt_keeps_its_token_and_the_place_of_its_machine() {
    // The recorded machines were processes. This one and that of the previous attempt, whose token must still be
    // revoked, are in a Fly app.
    let (_folder, db) = upgraded(
        "UPDATE attempt_tokens SET fly_app = 'adas-app';
         INSERT INTO attempt_tokens
           SELECT task_id, 1, encrypted_value, iv, tag, key_version, 'an-older-app', created_at FROM attempt_tokens;",
    )
    .await;
    let mut reader = db.read().await.unwrap();
    let id = TaskId::parse(RETRIED).unwrap();
    for (attempt, place) in [(1, "an-older-app"), (2, "adas-app")] {
        let token = secrets::find_attempt_token(&mut reader, &id, attempt).await.unwrap().expect("a token");
        assert_eq!(token.place.as_deref(), Some(place));
    }
    let history = attempts::list(&mut reader, &id).await.unwrap();
    let places: Vec<_> = history.iter().map(|record| record.attempt.place.as_deref()).collect();
    assert_eq!(places, [Some("an-older-app"), Some("adas-app")]);
}
