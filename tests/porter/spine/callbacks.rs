//! What workers say (contract §7): progress, completion, and who may say it.

use domain::task::{Phase, Status};
use reqwest::Method;
use serde_json::json;

use crate::world::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_repeated_changes_nothing() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let commit = world.push(&id).await;
    let first = world.report_success(&task, &commit).await.expect(200);
    assert_eq!(first.json, json!({ "ok": true, "taskId": id, "status": "running" }));
    let again = world.report_success(&task, &commit).await.expect(200);
    assert_eq!(again.json["duplicate"], true, "{}", again.text);
    let ended = world.ended(&id).await;
    for repeat in [world.report_success(&task, &commit).await, world.report_failure(&task).await] {
        let expected = json!({ "ok": true, "taskId": id, "status": "success", "duplicate": true });
        assert_eq!((repeat.status, repeat.json), (200, expected));
    }
    assert_eq!(world.ended(&id).await, ended, "nothing has changed");
    world.status_comment(issue, &id);
    world.only_pull();
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_reports_at_once_are_one() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let commit = world.push(&id).await;
    let reports = (0..20).map(|_| world.report_success(&task, &commit));
    let answers = futures_util::future::join_all(reports).await;
    let new = answers.iter().filter(|answer| answer.status == 200 && answer.json["duplicate"].is_null());
    assert_eq!(new.count(), 1, "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_eq!(world.ended(&id).await.status, Status::Success);
    world.status_comment(issue, &id);
    world.only_pull();
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_says_nothing_about_the_task() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let wrong = "0".repeat(64);
    let right = world.token(&id, 1);
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
            let answer = world.call_back(what, token, &body).await;
            answers.push(answer.expect_error(401, "invalid_callback_token").json["message"].clone());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "every refusal reads the same: {answers:?}");
    let without = world.request(Method::POST, "/api/callbacks/complete");
    let body = json!({ "task_id": id, "status": "failed" });
    world.send(without.json(&body)).await.expect_error(401, "invalid_callback_token");
    assert_eq!(world.task(&id).await.revision, task.revision, "nothing was changed");

    // The token may stand in the body, and the task may go by its older name.
    let body = json!({ "execution_id": id, "status": "complete", "callback_token": right });
    world.send(world.request(Method::POST, "/api/callbacks/complete").json(&body)).await.expect(200);
    assert_eq!(world.ended(&id).await.summary.as_deref(), Some("no changes"));
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_with_the_token_of_another_attempt_is_refused() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.fail(&id).await;
    world.post(ADA, &format!("/api/tasks/{id}/retry"), &json!({})).await.expect(202);
    let task = world.working(&id).await;
    let (first, second, third) = (world.token(&id, 1), world.token(&id, 2), world.token(&id, 3));
    // The worker of the first attempt comes late, under its own name and under that of its successor; and
    // somebody has a token of an attempt that never was.
    for (token, attempt) in [(&first, 1), (&first, 2), (&second, 1), (&second, 3), (&third, 2), (&third, 3)] {
        let body = json!({ "task_id": id, "attempt": attempt, "status": "failed", "progress": 50 });
        for what in ["complete", "progress"] {
            world.call_back(what, token, &body).await.expect_error(401, "invalid_callback_token");
        }
    }
    assert_eq!(world.task(&id).await, task, "nothing was changed");
    assert_eq!(world.succeed(&id).await.status, Status::Success);
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_cannot_be_read_is_a_bad_request() {
    let world = Plan::silent().start().await;
    for (body, status, code) in [
        ("{", 400, "invalid_request"),
        ("{\"task_id\":\"task_1\",\"status\":\"sideways\"}", 400, "invalid_request"),
    ] {
        let request = world.request(Method::POST, "/api/callbacks/complete").body(body);
        world.send(request).await.expect_error(status, code);
    }
    let huge = format!("{{\"task_id\":\"task_1\",\"summary\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
    let request = world.request(Method::POST, "/api/callbacks/complete").body(huge);
    world.send(request).await.expect_error(413, "payload_too_large");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_report_with_endless_words_only_the_beginning_is_kept() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let words = "é".repeat(400_000);
    let body = json!({ "task_id": id, "attempt": 1, "status": "failed", "error": words, "summary": words });
    world.call_back("complete", &world.token(&id, task.attempt), &body).await.expect(200);
    let task = world.ended(&id).await;
    for kept in [task.error_message.unwrap(), task.summary.unwrap()] {
        assert!(kept.starts_with("éé") && kept.len() <= 16 * 1024, "{} bytes", kept.len());
    }
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_a_sign_of_life_and_shows_on_the_issue() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    let before = world.working(&id).await;
    world.drained().await;
    let token = world.token(&id, 1);
    let body = json!({
        "task_id": id, "attempt": 1, "progress": 42, "message": "Running the tests",
        "events": ["one", "two"], "usage": { "input_tokens": 7 },
    });
    let answer = world.call_back("progress", &token, &body).await.expect(200);
    assert_eq!(answer.json, json!({ "ok": true, "cancel": false }));
    let task = world.task(&id).await;
    assert!(task.seen_at > before.seen_at, "it was heard");
    assert_eq!((task.progress, task.activity.as_deref()), (42, Some("Running the tests")));
    assert_eq!(task.usage.input_tokens, Some(7));
    // Less is no step back; nonsense is not believed.
    let less = json!({ "task_id": id, "attempt": 1, "progress": 3 });
    world.call_back("progress", &token, &less).await.expect(200);
    let beyond = json!({ "task_id": id, "attempt": 1, "progress": 250 });
    world.call_back("progress", &token, &beyond).await.expect(200);
    assert_eq!(world.task(&id).await.progress, 99);
    world.drained().await;
    let comment = world.status_comment(issue, &id);
    assert!(comment.body.contains("Now: `Running the tests`"), "{}", comment.body);
    let events =
        db::events::list_after(&mut world.porter().db.read().await.unwrap(), &id, 0, 100).await.unwrap();
    let lines: Vec<_> = events.iter().filter(|event| event.kind == "log").map(|event| &event.data).collect();
    assert_eq!(lines, [r#"{"line":"one"}"#, r#"{"line":"two"}"#]);

    world.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    let answer = world.call_back("progress", &token, &less).await.expect(200);
    assert_eq!(answer.json["cancel"], true, "a worker that is no longer wanted is told so");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_success_without_a_commit_is_no_changes() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    world.report_success(&task, "").await.expect(200);
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.phase), (Status::Failed, None::<Phase>));
    assert!(task.summary.as_deref().is_some_and(|summary| summary.starts_with("no changes")), "{task:?}");
    assert!(world.pulls().is_empty());
    let comment = world.status_comment(issue, &id);
    assert!(comment.body.contains("changed nothing"), "{}", comment.body);
    world.close().await;
}
