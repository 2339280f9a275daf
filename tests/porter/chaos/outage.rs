//! Time passes while Porter does not run.

use axum::http::Method;
use db::Db;
use standin::{Effect, Fault};

use super::machines::Conduct;
use super::stage::Stage;

/// Moves all times in the database two hours into the past, as if Porter had not run for that long.
async fn hours_pass(stage: &Stage) {
    let db = Db::open(&stage.database()).await.expect("the database");
    let mut connection = db.writer().await.expect("a connection");
    let changed = sqlx::query(
        "UPDATE tasks SET created_at = created_at - 7200000, queued_at = queued_at - 7200000,
           updated_at = updated_at - 7200000",
    );
    changed.execute(&mut *connection).await.expect("older tasks");
    let changed = sqlx::query(
        "UPDATE attempts SET started_at = started_at - 7200000, deadline_at = deadline_at - 7200000,
           seen_at = seen_at - 7200000",
    );
    changed.execute(&mut *connection).await.expect("older attempts");
    sqlx::query("UPDATE jobs SET created_at = created_at - 7200000, run_at = run_at - 7200000")
        .execute(&mut *connection)
        .await
        .expect("older jobs");
    drop(connection);
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_could_not_report_during_an_outage_is_not_timed_out_at_once() {
    let (stage, asked) = Stage::small(Conduct::Waits).await;
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    stage.works().await;
    porter.kill();
    hours_pass(&stage).await;
    let porter = stage.porter.start_ready().await;
    // The watchdog has checked the attempts when it has listed the machines.
    let listed =
        || stage.fly.requests().iter().filter(|r| r.method == Method::GET && r.query.is_empty()).count();
    let before = listed();
    super::porter::eventually("the watchdog checks twice", super::LIMIT, async || listed() >= before + 2)
        .await;
    assert_eq!(stage.fly.living().len(), 1, "the worker's machine is still there");
    stage.machines.go_on();
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_was_pending_during_an_outage_is_retried_after_a_failure() {
    let (stage, asked) = Stage::small(Conduct::Reports).await;
    stage.fly.chaos_run(1, 100, &[crate::fake_fly::Fault::Status(500)]);
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    let tried = async || !stage.fly.requests().is_empty();
    super::porter::eventually("a launch is tried", super::LIMIT, tried).await;
    porter.kill();
    hours_pass(&stage).await;
    let before = stage.fly.requests().len();
    let porter = stage.porter.start_ready().await;
    let tried = async || stage.fly.requests().len() > before + 3;
    super::porter::eventually("the launch is tried again", super::LIMIT, tried).await;
    stage.fly.chaos_run(1, 0, &[crate::fake_fly::Fault::Cut]);
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_missed_during_an_outage_are_requested_again_despite_github_errors() {
    let (stage, asked) = Stage::small(Conduct::Reports).await;
    let delivery = stage.speak(&asked).await;
    assert_eq!(delivery.status, None, "expected no answer, because Porter does not run");
    let deliveries = "/app/hook/deliveries";
    stage.github.inject(Fault::before(Method::GET, deliveries, Effect::SecondaryLimit(1)));
    stage.github.inject(Fault::before(Method::POST, deliveries, Effect::Drop));
    let porter = stage.porter.start_ready().await;
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}
