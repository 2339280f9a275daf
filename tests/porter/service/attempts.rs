//! A task's attempts (main-spec §6): each keeps its result when another one follows.

use domain::task::Task;
use serde_json::json;

use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_keeps_the_usage_the_error_and_the_machine_of_the_attempt_before_it() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock --model=tiny").await;
    let path = format!("/api/tasks/{id}");
    let Task { attempt: working, .. } = kit.working(&id).await;
    let shown = kit.get(ADA, &path).await.expect(200).json;
    let mut first = json!({
        "attempt": 1, "status": "running", "model": "tiny", "machineId": working.machine_id,
        "startedAt": shown["startedAt"], "remarks": [],
    });
    assert_eq!(shown["attempts"], json!([first]));

    let usage = json!({
        "inputTokens": 7, "outputTokens": 8, "cacheReadTokens": 5, "cacheWriteTokens": 1, "costUsd": 0.25,
    });
    let body = json!({
        "task_id": id, "attempt": 1, "status": "failed", "error": "I give up.", "failure_stage": "agent",
        "summary": "It was too hard.", "usage": usage,
    });
    kit.call_back("complete", &kit.token(&id, 1), &body).await.expect(200);
    kit.ended(&id).await;
    let shown = kit.get(ADA, &path).await.expect(200).json;
    assert_eq!((&shown["usage"], &shown["errorMessage"]), (&usage, &json!("I give up.")));
    first["status"] = "failed".into();
    first["completedAt"] = shown["completedAt"].clone();
    first["failureStage"] = "agent".into();
    first["errorMessage"] = "I give up.".into();
    first["summary"] = "It was too hard.".into();
    first["usage"] = usage;
    assert_eq!(shown["attempts"], json!([first]));
    assert!(first["startedAt"].is_string() && first["completedAt"].is_string(), "{first}");

    let retried = kit.post(ADA, &format!("{path}/retry"), &json!({})).await.expect(202).json;
    assert_eq!((&retried["attempt"], &retried["usage"]), (&json!(2), &json!(null)));
    let task = kit.succeed(&id).await;
    let shown = kit.get(ADA, &path).await.expect(200).json;
    let second = json!({
        "attempt": 2, "status": "success", "model": "tiny", "machineId": task.attempt.machine_id,
        "startedAt": shown["startedAt"], "completedAt": shown["completedAt"], "branch": id.branch(),
        "commitSha": task.attempt.commit_sha, "summary": "It greets.", "remarks": [],
    });
    assert_eq!(shown["attempts"], json!([first, second]));
    assert_eq!(
        (&shown["usage"], &shown["errorMessage"]),
        (&json!(null), &json!(null)),
        "expected the values of the second attempt"
    );
    let listed = kit.get(ADA, "/api/tasks").await.expect(200).json;
    assert_eq!(listed[0]["attempts"], json!(null), "the list contains attempts");
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_task_has_a_queued_attempt() {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS", "1").start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let other = kit.issue().await;
    let waiting = kit.ask(other, ADA, "@porter mock").await;
    let shown = kit.get(ADA, &format!("/api/tasks/{waiting}")).await.expect(200).json;
    assert_eq!(shown["attempts"], json!([{ "attempt": 1, "status": "queued", "remarks": [] }]));
    for (issue, id) in [(issue, id), (other, waiting)] {
        kit.fail(&id).await;
        kit.status_comment(issue, &id);
    }
    kit.close().await;
}
