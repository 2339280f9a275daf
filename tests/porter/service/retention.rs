//! Data that Porter deletes after a time.

use chrono::TimeDelta;
use domain::task::Task;
use porter::tasks::retention;
use serde_json::json;
use standin::Signature;

use crate::testkit::people::accepted;
use crate::testkit::{ADA, BOB, Plan, Testkit};

async fn count(kit: &Testkit, of: &'static str) -> i64 {
    let mut connection = kit.porter().store().read().await.unwrap();
    sqlx::query_scalar(of).fetch_one(&mut *connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_deliveries_are_deleted_except_those_of_tasks() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.say(issue, ADA, "@porter mock").await;
    let (id, payload) = (accepted(&first), kit.github.payload(&first.guid).expect("the payload"));
    kit.fail(&id).await;
    let mut write = kit.porter().store().begin().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
         INSERT INTO deliveries (guid, event, outcome, reason, received_at)
         SELECT 'old ' || i, 'issue_comment', 'ignored', 'no_mention', 1 FROM n",
    )
    .execute(&mut *write)
    .await
    .unwrap();
    write.commit().await.unwrap();
    kit.clock.advance(TimeDelta::days(9));
    kit.say(issue, BOB, "Nobody is spoken to.").await;
    retention::run(kit.porter()).await.unwrap();
    let ignored = "SELECT count(*) FROM deliveries WHERE task_id IS NULL AND outcome = 'ignored'";
    assert_eq!(count(&kit, ignored).await, 1, "expected today's delivery only");
    let again = kit.github.deliver_raw("issue_comment", payload, Signature::Valid, None).await.unwrap();
    assert_eq!(again.answer, json!({ "status": "duplicate", "taskId": id }));
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_output_is_deleted_after_a_week_and_its_statuses_are_kept() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let body = json!({ "task_id": id, "attempt": 1, "message": "Half way", "events": ["first", "second"] });
    kit.call_back("progress", &kit.token(&id, 1), &body).await.expect(200);
    kit.fail(&id).await;
    let (output, statuses) = (
        "SELECT count(*) FROM task_events WHERE kind <> 'status'",
        "SELECT count(*) FROM task_events WHERE kind = 'status'",
    );
    for (days, kept) in [(6, 3), (2, 0)] {
        kit.clock.advance(TimeDelta::days(days));
        retention::run(kit.porter()).await.unwrap();
        assert_eq!((count(&kit, output).await, count(&kit, statuses).await), (kept, 3));
    }
    kit.status_comment(issue, &id);
    kit.close().await;
}
