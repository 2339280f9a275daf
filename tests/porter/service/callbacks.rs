//! Workers' reports (main-spec §7): progress, completion, and their authentication.

use domain::task::{Phase, Status};
use reqwest::Method;
use serde_json::{Value, json};

use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_repeated_changes_nothing() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let commit = kit.push(&id).await;
    let first = kit.report_success(&task, &commit).await.expect(200);
    assert_eq!(first.json, json!({ "ok": true, "taskId": id, "status": "running" }));
    let again = kit.report_success(&task, &commit).await.expect(200);
    assert_eq!(again.json["duplicate"], true, "{}", again.text);
    let ended = kit.ended(&id).await;
    for repeat in [kit.report_success(&task, &commit).await, kit.report_failure(&task).await] {
        let expected = json!({ "ok": true, "taskId": id, "status": "success", "duplicate": true });
        assert_eq!((repeat.status, repeat.json), (200, expected));
    }
    assert_eq!(kit.ended(&id).await, ended, "the task was changed");
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_concurrent_reports_are_stored_once() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let commit = kit.push(&id).await;
    let reports = (0..20).map(|_| kit.report_success(&task, &commit));
    let answers = futures_util::future::join_all(reports).await;
    let new = answers.iter().filter(|answer| answer.status == 200 && answer.json["duplicate"].is_null());
    assert_eq!(new.count(), 1, "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_eq!(kit.ended(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_wrong_token_reveals_nothing_about_the_task() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let wrong = "0".repeat(64);
    let right = kit.token(&id, 1);
    let mut answers = Vec::new();
    for (named, token, attempt) in [
        (id.as_str(), wrong.as_str(), 1),
        (id.as_str(), "", 1),
        (id.as_str(), &right[..63], 1),
        // The token of another attempt, and a task that does not exist.
        (id.as_str(), &right, 2),
        ("task_0198c0de000070008000000000000000", &wrong, 1),
        ("not a task", &wrong, 1),
    ] {
        let body = json!({ "task_id": named, "attempt": attempt, "status": "failed" });
        for what in ["complete", "progress"] {
            let answer = kit.call_back(what, token, &body).await;
            answers.push(answer.expect_error(401, "invalid_callback_token").json["message"].clone());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the refusals differ: {answers:?}");
    let without = kit.request(Method::POST, "/api/callbacks/complete");
    let body = json!({ "task_id": id, "status": "failed" });
    kit.send(without.json(&body)).await.expect_error(401, "invalid_callback_token");
    assert_eq!(kit.task(&id).await.revision, task.revision, "the task was changed");

    // The token may be in the body, and the task id may be in its older field.
    let body = json!({ "execution_id": id, "status": "complete", "callback_token": right });
    kit.send(kit.request(Method::POST, "/api/callbacks/complete").json(&body)).await.expect(200);
    assert_eq!(kit.ended(&id).await.attempt.summary.as_deref(), Some("no changes"));
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_with_the_token_of_another_attempt_is_refused() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&id).await;
    kit.post(ADA, &format!("/api/tasks/{id}/retry"), &json!({})).await.expect(202);
    let task = kit.working(&id).await;
    let (first, second, third) = (kit.token(&id, 1), kit.token(&id, 2), kit.token(&id, 3));
    // The worker of the first attempt reports late, with its own attempt number and with that of the second; another
    // request has a token for an attempt that does not exist.
    for (token, attempt) in [(&first, 1), (&first, 2), (&second, 1), (&second, 3), (&third, 2), (&third, 3)] {
        let body = json!({ "task_id": id, "attempt": attempt, "status": "failed", "progress": 50 });
        for what in ["complete", "progress"] {
            kit.call_back(what, token, &body).await.expect_error(401, "invalid_callback_token");
        }
    }
    assert_eq!(kit.task(&id).await, task, "the task was changed");
    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_report_is_a_bad_request() {
    let kit = Plan::silent().start().await;
    for (body, status, code) in [
        ("{", 400, "invalid_request"),
        ("{\"task_id\":\"task_1\",\"status\":\"sideways\"}", 400, "invalid_request"),
    ] {
        let request = kit.request(Method::POST, "/api/callbacks/complete").body(body);
        kit.send(request).await.expect_error(status, code);
    }
    let huge = format!("{{\"task_id\":\"task_1\",\"summary\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
    let request = kit.request(Method::POST, "/api/callbacks/complete").body(huge);
    kit.send(request).await.expect_error(413, "payload_too_large");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_report_is_truncated() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let words = "é".repeat(400_000);
    let body = json!({ "task_id": id, "attempt": 1, "status": "failed", "error": words, "summary": words });
    kit.call_back("complete", &kit.token(&id, task.attempt.number), &body).await.expect(200);
    let task = kit.ended(&id).await;
    for kept in [task.attempt.error_message.unwrap(), task.attempt.summary.unwrap()] {
        assert!(kept.starts_with("éé") && kept.len() <= 16 * 1024, "{} bytes", kept.len());
    }
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_recorded_and_shown_on_the_issue() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let before = kit.working(&id).await;
    kit.drained().await;
    let token = kit.token(&id, 1);
    let body = json!({
        "task_id": id, "attempt": 1, "progress": 42, "message": "Running the tests",
        "events": ["one", "two"], "usage": { "input_tokens": 7 },
    });
    let answer = kit.call_back("progress", &token, &body).await.expect(200);
    assert_eq!(answer.json, json!({ "ok": true, "cancel": false }));
    let task = kit.task(&id).await;
    assert!(task.attempt.seen_at > before.attempt.seen_at, "the report was not recorded");
    assert_eq!((task.attempt.progress, task.attempt.activity.as_deref()), (42, Some("Running the tests")));
    assert_eq!(task.attempt.usage.input_tokens, Some(7));
    // A lower value does not reduce the progress; an invalid value is ignored.
    let less = json!({ "task_id": id, "attempt": 1, "progress": 3 });
    kit.call_back("progress", &token, &less).await.expect(200);
    let beyond = json!({ "task_id": id, "attempt": 1, "progress": 250 });
    kit.call_back("progress", &token, &beyond).await.expect(200);
    assert_eq!(kit.task(&id).await.attempt.progress, 99);
    kit.drained().await;
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("Now: `Running the tests`"), "{}", comment.body);
    let events =
        db::events::list_after(&mut kit.porter().store().read().await.unwrap(), &id, 0, 100).await.unwrap();
    let output = events.iter().map(|stored| &stored.event).filter(|event| event.kind() == "output");
    let lines: Vec<_> = output.map(|event| Value::from(event.data()).to_string()).collect();
    assert_eq!(lines, [r#"{"text":"one"}"#, r#"{"text":"two"}"#]);

    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    let answer = kit.call_back("progress", &token, &less).await.expect(200);
    assert_eq!(answer.json["cancel"], true, "the worker of a stopped task was not cancelled");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_report_without_a_commit_means_no_changes() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    kit.report_success(&task, "").await.expect(200);
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.phase), (Status::Failed, None::<Phase>));
    assert!(
        task.attempt.summary.as_deref().is_some_and(|summary| summary.starts_with("no changes")),
        "{task:?}"
    );
    assert!(kit.pulls().is_empty());
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("changed nothing"), "{}", comment.body);
    kit.close().await;
}
