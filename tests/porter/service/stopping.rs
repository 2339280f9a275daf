//! Tasks that people end, and what becomes of machine and token (main-spec §4, §5, §7).

use chrono::TimeDelta;
use domain::task::{Phase, Status};
use serde_json::json;
use standin::IssuedToken;

use crate::testkit::{ADA, BOB, Plan, REPO, Testkit};

/// The tokens that workers were given: they may push, and no more.
fn worker_tokens(kit: &Testkit) -> Vec<IssuedToken> {
    let narrow = |token: &IssuedToken| !token.permissions.contains_key("issues");
    kit.github.issued_tokens().into_iter().filter(narrow).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_machine_and_takes_its_token_back() {
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
    assert_eq!(again.json, answer.json, "stopping twice is stopping once");
    // The worker has a moment to push what is worth keeping before its machine is destroyed.
    kit.github
        .wait_until(
            |all| all.requests().iter().any(|request| request.path.ends_with("git-receive-pack")),
            crate::testkit::TEST_TIMEOUT,
        )
        .await
        .expect("the worker pushed what there was");
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Failed);
    assert!(kit.machines().await.is_empty());
    assert!(!worker_tokens(&kit)[0].is_live, "the token was taken back");
    assert!(kit.pulls().is_empty());
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("**Mock Agent was stopped.**"), "{}", comment.body);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_back_after_success_too() {
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
async fn stopping_while_the_pull_request_is_being_opened_leaves_one_answer() {
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
    assert!(kit.pulls().is_empty(), "nobody wants it any more");
    kit.status_comment(issue, &id);
    kit.close().await;
}

/// How long, by the clock, it takes until everything owed for a stopped task is done.
async fn time_to_end(kit: &Testkit) -> TimeDelta {
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    kit.working(&id).await;
    let since = kit.clock.now();
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!(null)).await.expect(202);
    kit.drained().await;
    assert!(kit.machines().await.is_empty(), "its machine goes");
    kit.status_comment(issue, &id);
    kit.clock.now() - since
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_still_saves_its_work_is_given_the_time() {
    let kit = Plan::stubborn().start().await;
    let took = time_to_end(&kit).await;
    assert!((TimeDelta::seconds(85)..TimeDelta::seconds(130)).contains(&took), "it took {took}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_ended_is_not_waited_for() {
    let kit = Plan::silent().start().await;
    let took = time_to_end(&kit).await;
    assert!(took < TimeDelta::seconds(15), "it took {took}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_its_machine_only_once_the_stopped_attempts_machine_is_gone() {
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
    assert_eq!(attempts, [2], "what the first one saves must not come between");
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}
