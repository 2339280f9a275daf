//! Jobs that this version of Porter cannot read.

use domain::task::Status;
use serde_json::json;

use crate::testkit::{ADA, Plan, Testkit, logs};

/// Stores a job with a payload of another version, in the lane of the repository's installation.
async fn store_unreadable(kit: &Testkit, kind: &str, installation: i64) {
    let mut work = kit.porter().store().begin().await.unwrap();
    sqlx::query(
        "INSERT INTO jobs (kind, key, lane, lane_kind, rank, payload, run_at, created_at)
         VALUES (?1, ?1, 'github:' || ?2, 'github', 0, '{\"from_the_future\":{}}', 1, 1)",
    )
    .bind(kind)
    .bind(installation)
    .execute(&mut *work)
    .await
    .unwrap();
    work.commit().await.unwrap();
    kit.porter().store().wake_engine();
}

/// Parts of the log line about a failed job.
const REPORT: [&str; 2] = ["unreadable_example", "kept as failed"];

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_job_is_kept_reported_once_and_retried_at_the_next_start() {
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let installation = kit.installation_of(issue).await;
    store_unreadable(&kit, "unreadable_example", installation).await;
    kit.backlog_when("the job has failed", |all| all.failed == 1 && all.pending == 0).await;
    let check = kit.look("/api/startup/check").await.expect(200).json;
    assert_eq!(check["engine"]["jobs"], json!({ "pending": 0, "late": 0, "retrying": 0, "failed": 1 }));
    // The other jobs of its lane are performed.
    let id = kit.ask(issue, ADA, "@porter mock").await;
    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    assert_eq!(logs::count_lines(&REPORT), 1, "the job was retried before a restart");

    kit.stop_porter().await;
    kit.start_porter().await;
    logs::wait_for(2, &REPORT).await;
    kit.backlog_when("the job has failed again", |all| all.failed == 1 && all.pending == 0).await;
    kit.close().await;
}
