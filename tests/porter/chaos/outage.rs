//! Time that passes while Porter is away.

use axum::http::Method;
use db::Db;
use standin::{Effect, Fault};

use super::machines::Conduct;
use super::stage::Stage;

/// Makes everything in the database older by as many minutes as Porter is to have been away.
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
async fn a_worker_that_could_not_be_heard_while_porter_was_away_is_waited_for() {
    let (stage, asked) = Stage::small(Conduct::Waits).await;
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    stage.works().await;
    porter.kill();
    hours_pass(&stage).await;
    let porter = stage.porter.start_ready().await;
    // The watchdog has looked when it has listed the machines.
    let listed =
        || stage.fly.requests().iter().filter(|r| r.method == Method::GET && r.query.is_empty()).count();
    let before = listed();
    super::porter::eventually("the watchdog looks twice", super::LIMIT, async || listed() >= before + 2)
        .await;
    assert_eq!(stage.fly.living().len(), 1, "the worker's machine is still there");
    stage.machines.go_on();
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_waited_while_porter_was_away_is_tried_again_and_not_given_up_at_the_first_stumble() {
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
async fn what_was_refused_while_porter_was_away_is_asked_for_although_github_stumbles() {
    let (stage, asked) = Stage::small(Conduct::Reports).await;
    let delivery = stage.speak(&asked).await;
    assert_eq!(delivery.status, None, "Porter is away");
    let deliveries = "/app/hook/deliveries";
    stage.github.inject(Fault::before(Method::GET, deliveries, Effect::SecondaryLimit(1)));
    stage.github.inject(Fault::before(Method::POST, deliveries, Effect::Drop));
    let porter = stage.porter.start_ready().await;
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}
