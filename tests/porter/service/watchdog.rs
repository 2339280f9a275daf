//! The watchdog (main-spec §6): lost reports, silent workers and lost machines.

use chrono::TimeDelta;
use domain::report::FailureStage;
use domain::task::{Phase, Status, Task, TaskId};
use porter::tasks::watch;
use reqwest::Method;
use serde_json::json;
use standin::{Effect, Fault, File};

use crate::testkit::{ADA, Plan, REPO, Testkit};

/// Advances the clock and runs the watchdog.
async fn look_after(kit: &Testkit, seconds: i64, id: &TaskId) -> Task {
    kit.clock.advance(TimeDelta::seconds(seconds));
    watch::look(kit.porter()).await.unwrap();
    kit.task(id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_disappears_without_a_report_ends_the_attempt() {
    let kit = Plan::hasty().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.machine_gone(&id).await;
    let task = look_after(&kit, 46, &id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Callback)));
    kit.ended(&id).await;
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("The machine ended without a report."), "{}", comment.body);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_work_is_published_without_a_report() {
    let kit = Plan::hasty().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.machine_gone(&id).await;
    let commit = kit.push(&id).await;
    look_after(&kit, 46, &id).await;
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.commit_sha), (Status::Success, Some(commit)));
    let pull = kit.only_pull();
    assert!(pull.body.contains("its closing report never arrived"), "{}", pull.body);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saved_work_of_an_unfinished_run_is_not_published() {
    let kit = Plan::hasty().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.machine_gone(&id).await;
    let message = "Unfinished: x\n\nPorter-Result: unfinished\n";
    kit.github.commit(REPO, &id.branch(), &[File::text("a", "half\n")], message).await.unwrap();
    let task = look_after(&kit, 46, &id).await;
    assert_eq!(task.status, Status::Failed, "{task:#?}");
    kit.ended(&id).await;
    assert!(kit.pulls().is_empty());
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_minutes_of_silence_end_the_attempt_and_destroy_its_machine() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let task = look_after(&kit, 100, &id).await;
    assert_eq!(task.status, Status::Running, "its machine is alive");
    let report = json!({ "task_id": id, "attempt": 1 });
    kit.call_back("progress", &kit.token(&id, 1), &report).await.expect(200);
    let task = look_after(&kit, 100, &id).await;
    assert_eq!(task.status, Status::Running, "its last report was 100 seconds ago");
    let task = look_after(&kit, 81, &id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Callback)));
    kit.ended(&id).await;
    assert!(kit.machines().await.is_empty(), "the machine was not destroyed");
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("not been heard for three minutes"), "{}", comment.body);

    let late = kit.call_back("progress", &kit.token(&id, 1), &report).await.expect(200);
    assert_eq!(late.json["cancel"], true, "the worker was not cancelled after a late report");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_an_attempt_that_still_reports() {
    let kit = Plan::silent().with("PORTER_TASK_TIMEOUT_MINUTES", "1").start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let report = json!({ "task_id": id, "attempt": 1, "message": "still at it" });
    for _ in 0..3 {
        kit.call_back("progress", &kit.token(&id, 1), &report).await.expect(200);
        assert_eq!(look_after(&kit, 70, &id).await.status, Status::Running);
    }
    kit.call_back("progress", &kit.token(&id, 1), &report).await.expect(200);
    let task = look_after(&kit, 31, &id).await;
    assert_eq!(task.status, Status::TimedOut, "one minute of the agent and three for the rest: {task:#?}");
    kit.ended(&id).await;
    assert!(kit.labels(issue).contains(&"porter:timed_out".to_owned()));
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_work_is_published_after_its_worker_was_killed() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock\nmock: write a.txt x\nmock: sleep 60").await;
    kit.task_when(&id, "the agent is at work", |task| task.attempt.progress >= 10).await;
    kit.kill_machine(&id).await;
    let commit = kit.push(&id).await;
    look_after(&kit, 46, &id).await;
    let task = kit.ended(&id).await;
    assert_eq!(
        (task.status, task.attempt.commit_sha),
        (Status::Success, Some(commit)),
        "{:?}",
        task.attempt.error_message
    );
    kit.only_pull();
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_after_the_watchdog_ended_the_attempt_has_no_effect() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let working = kit.task(&id).await;
    let task = look_after(&kit, 181, &id).await;
    assert_eq!(task.status, Status::Failed);
    let commit = kit.push(&id).await;
    let answer = kit.report_success(&working, &commit).await.expect(200);
    assert_eq!((&answer.json["duplicate"], &answer.json["status"]), (&json!(true), &json!("failed")));
    assert_eq!(kit.ended(&id).await.status, Status::Failed);
    assert!(kit.pulls().is_empty());
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_without_a_running_attempt_are_destroyed() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.launch_stray(&id, 7).await;
    assert_eq!(kit.machines().await.len(), 2);
    watch::reap(kit.porter()).await.unwrap();
    let left = kit.machines().await;
    assert_eq!(left.iter().map(|machine| machine.attempt).collect::<Vec<_>>(), [1], "{left:?}");
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

/// Advances the clock while no job of the task finishes, as when each one panics, and runs the watchdog.
async fn look_after_idle(kit: &mut Testkit, minutes: i64, id: &TaskId) -> Task {
    kit.stop_porter().await;
    let context = kit.context_without_engine().await;
    kit.clock.advance(TimeDelta::minutes(minutes));
    watch::look(&context).await.unwrap();
    let task = context.load(id).await.unwrap();
    context.store().close().await;
    drop(context);
    kit.start_porter().await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_that_never_finishes_is_ended() {
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let permission = format!("/repos/{REPO}/collaborators");
    kit.github.inject(Fault::before(Method::GET, permission, Effect::Status(502)).always());
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.task_when(&id, "it is admitted", |task| task.phase == Some(Phase::Launching)).await;
    let task = look_after_idle(&mut kit, 65, &id).await;
    assert_eq!(task.status, Status::Running, "the watchdog ended the attempt before the launch could");
    let task = look_after_idle(&mut kit, 71, &id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    kit.github.clear_faults();
    kit.ended(&id).await;
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("could not start a machine within an hour"), "{}", comment.body);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publishing_that_never_finishes_is_ended() {
    let mut kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let pulls = format!("/repos/{REPO}/pulls");
    kit.github.inject(Fault::before(Method::POST, pulls, Effect::Status(502)).always());
    let commit = kit.push(&id).await;
    kit.report_success(&kit.task(&id).await, &commit).await.expect(200);
    let task = look_after_idle(&mut kit, 23 * 60, &id).await;
    assert_eq!(task.phase, Some(Phase::Publishing), "the publishing ended during an outage of GitHub");
    let task = look_after_idle(&mut kit, 25 * 60, &id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Pr)));
    kit.github.clear_faults();
    kit.ended(&id).await;
    assert!(kit.pulls().is_empty());
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("could not open the pull request within a day"), "{}", comment.body);
    kit.close().await;
}
