//! Opens a database of an earlier version with unfinished work, which this version continues. `porter-db` tests that
//! no row is lost.

use domain::task::{Status, TaskId};
use serde_json::json;

use crate::testkit::{ADA, Plan};

const RECORDED: &str = include_str!("../../fixtures/database/after-0002.sql");
/// The root secret that encrypts the recorded values.
const ROOT_SECRET: &str = "the root secret of a recorded database";
/// A running task on issue 1, in its second attempt.
const RUNNING: &str = "task_01a224d1772e70c1a5185d2f0b7d0fcd";
/// A queued task on issue 4, which the issue does not show yet.
const WAITING: &str = "task_01a224d292bb79a694ee96fdc470c22f";
/// Comments on issue 3, where a task timed out: `@porter status`, and one that is refused.
const ASKED_STATUS: u64 = 2_000_000_066;
const REFUSED: u64 = 2_000_000_068;

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_work_of_an_earlier_version_is_completed() {
    let plan = Plan::silent()
        .with("PORTER_SECRET_ENCRYPTION_KEY", ROOT_SECRET)
        .with("PORTER_MAX_CONCURRENT_TASKS", "1");
    let mut kit = plan.prepare().await;
    for _ in 1..=4 {
        kit.issue().await;
    }
    let db = db::Db::open(&kit.folder.path().join("porter.db")).await.unwrap();
    let mut writer = db.writer().await.unwrap();
    sqlx::raw_sql(RECORDED).execute(&mut *writer).await.unwrap();
    // The recorded comments do not exist on this GitHub, where their ids belong to other comments.
    let forget = "UPDATE tasks SET comment_id = NULL, status_comment_id = NULL";
    sqlx::raw_sql(forget).execute(&mut *writer).await.unwrap();
    drop(writer);
    db.close().await;
    let (running, waiting) = (TaskId::parse(RUNNING).unwrap(), TaskId::parse(WAITING).unwrap());
    let commit = kit.push(&running).await;
    kit.start_porter().await;
    kit.sign_in(ADA).await;

    // The machine does not exist here. Whether its report or the watchdog comes first, the pushed work is published.
    let body = json!({
        "task_id": running, "attempt": 2, "status": "success", "commit_hash": commit,
        "branch_name": running.branch(),
    });
    kit.call_back("complete", &kit.token(&running, 2), &body).await.expect(200);
    let ended = kit.task_when(&running, "it has ended", |task| task.status.is_terminal()).await;
    assert_eq!((ended.status, ended.attempt.number), (Status::Success, 2), "{ended:#?}");
    assert_eq!(kit.only_pull().head, running.branch());
    let shown = kit.get(ADA, &format!("/api/tasks/{running}")).await.expect(200).json;
    let attempts = &shown["attempts"];
    assert_eq!(
        (&attempts[0]["status"], &attempts[0]["errorMessage"]),
        (&json!("failed"), &json!("I give up."))
    );
    assert_eq!((&attempts[1]["status"], &attempts[1]["commitSha"]), (&json!("success"), &json!(commit)));

    // The comments that were written while GitHub was down receive replies.
    assert!(kit.answer_to(3, ASKED_STATUS).await.contains("timed out"));
    assert!(kit.answer_to(3, REFUSED).await.contains("ANTHROPIC_API_KEY"));

    // The queued task is admitted, and the job that shows it, stored under its old name, has run.
    let done = kit.succeed(&waiting).await;
    assert_eq!((done.status, done.attempt.number), (Status::Success, 1), "{done:#?}");
    let mut connection = kit.porter().store().read().await.unwrap();
    for attempt in [1, 2] {
        let token = db::secrets::find_attempt_token(&mut connection, &running, attempt).await.unwrap();
        assert!(token.is_none(), "the token of attempt {attempt} was not revoked");
    }
    drop(connection);
    kit.status_comment(1, &running);
    kit.status_comment(4, &waiting);
    kit.close().await;
}
