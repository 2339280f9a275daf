//! Tasks that people stop, and the clean-up of machine and token (main-spec §4, §5, §7).

use chrono::TimeDelta;
use domain::task::{Phase, Status};
use serde_json::json;
use standin::IssuedToken;

use crate::testkit::{ADA, BOB, Plan, REPO, Testkit};

/// Returns the workers' tokens, which only allow pushing.
fn worker_tokens(kit: &Testkit) -> Vec<IssuedToken> {
    let narrow = |token: &IssuedToken| !token.permissions.contains_key("issues");
    kit.github.issued_tokens().into_iter().filter(narrow).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_destroys_the_machine_and_revokes_its_token() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock\nmock: write a.txt half\nmock: sleep 60").await;
    kit.task_when(&id, "the agent is at work", |task| task.attempt.progress >= 10).await;
    let tokens = worker_tokens(&kit);
    assert_eq!((tokens.len(), tokens[0].is_live), (1, true));
    let path = format!("/api/tasks/{id}/stop");
    let answer = kit.post(ADA, &path, &json!({})).await.expect(202);
    assert_eq!(
        (&answer.json["status"], &answer.json["errorMessage"]),
        (&json!("failed"), &json!("Stopped by ada."))
    );
    let again = kit.post(ADA, &path, &json!({})).await.expect(202);
    assert_eq!(again.json, answer.json, "stopping is not idempotent");
    // The worker has time to push its work before its machine is destroyed.
    kit.github
        .wait_until(
            |all| all.requests().iter().any(|request| request.path.ends_with("git-receive-pack")),
            crate::testkit::TEST_TIMEOUT,
        )
        .await
        .expect("the worker's push");
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Failed);
    assert!(kit.machines().await.is_empty());
    assert!(!worker_tokens(&kit)[0].is_live, "the token was not revoked");
    assert!(kit.pulls().is_empty());
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("**Mock Agent was stopped.**"), "{}", comment.body);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_revoked_after_success() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.succeed(&id).await;
    let tokens = worker_tokens(&kit);
    assert_eq!((tokens.len(), tokens[0].is_live), (1, false));
    assert!(kit.machines().await.is_empty());
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_issue_stops_its_running_and_waiting_tasks() {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1").start().await;
    let (issue, other) = (kit.issue().await, kit.issue().await);
    let running = kit.ask(issue, ADA, "@porter mock").await;
    kit.working(&running).await;
    let waiting = kit.ask(other, ADA, "@porter mock").await;
    for (number, id) in [(other, &waiting), (issue, &running)] {
        let delivery = kit.github.close_issue(REPO, number, BOB.login).await.unwrap().unwrap();
        assert_eq!(delivery.answer, json!({ "status": "accepted", "taskId": id }));
        let task = kit.ended(id).await;
        let message = "Stopped: the issue was closed by bob.";
        assert_eq!((task.status, task.attempt.error_message.as_deref()), (Status::Failed, Some(message)));
        kit.status_comment(number, id);
    }
    assert!(kit.machines().await.is_empty());
    let again = kit.github.close_issue(REPO, issue, BOB.login).await.unwrap().unwrap();
    assert_eq!(again.answer, json!({ "status": "ignored", "reason": "no_active_task" }));
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_during_publishing_leaves_one_result() {
    use standin::{Effect, Fault};
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    kit.drained().await;
    let pulls = format!("/repos/{REPO}/pulls");
    kit.github.inject(Fault::before(reqwest::Method::POST, pulls, Effect::Status(502)).always());
    let commit = kit.push(&id).await;
    kit.report_success(&task, &commit).await.expect(200);
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    kit.github.clear_faults();
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Failed);
    assert!(kit.pulls().is_empty(), "a pull request was opened for the stopped task");
    kit.status_comment(issue, &id);
    kit.close().await;
}

/// Returns the time on the kit's clock until all pending work of a stopped task is done.
async fn time_to_end(kit: &Testkit) -> TimeDelta {
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    kit.working(&id).await;
    let since = kit.clock.now();
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!(null)).await.expect(202);
    kit.drained().await;
    assert!(kit.machines().await.is_empty(), "the machine was not destroyed");
    kit.status_comment(issue, &id);
    kit.clock.now() - since
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_worker_has_time_to_save_its_work() {
    let kit = Plan::stubborn().start().await;
    let took = time_to_end(&kit).await;
    assert!((TimeDelta::seconds(85)..TimeDelta::seconds(130)).contains(&took), "it took {took}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_grace_period_ends_when_the_worker_has_ended() {
    let kit = Plan::silent().start().await;
    let took = time_to_end(&kit).await;
    assert!(took < TimeDelta::seconds(15), "it took {took}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_starts_its_machine_after_the_previous_one_is_gone() {
    let kit = Plan::stubborn().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    kit.working(&id).await;
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    kit.post(ADA, &format!("/api/tasks/{id}/retry"), &json!({})).await.expect(202);
    let works = |task: &domain::task::Task| task.phase == Some(Phase::Working);
    let task = kit.task_in_time(&id, "its second machine works", works).await;
    assert_eq!(task.attempt.number, 2);
    let attempts: Vec<u32> = kit.machines().await.iter().map(|machine| machine.attempt).collect();
    assert_eq!(attempts, [2], "the machines of both attempts exist");
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}
