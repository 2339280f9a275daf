//! Changing tasks over the API (main-spec §6): create, stop and retry, and the required permissions.

use domain::task::{Status, Task, TaskId};
use reqwest::Method;
use serde_json::{Value, json};
use standin::{Effect, Fault};

use crate::testkit::{ADA, Answer, BOB, EVE, Plan, REPO, Testkit};

fn wanted(more: &Value) -> Value {
    let mut body = json!({ "repoOwner": "acme", "repoName": "greeter", "agent": "mock" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn id(answer: &Answer) -> TaskId {
    TaskId::parse(answer.json["id"].as_str().expect("a task")).expect("a task id")
}

async fn create_with_key(kit: &Testkit, key: &str, body: &Value) -> Answer {
    let request = kit.as_person(Method::POST, ADA, "/api/tasks").await;
    kit.send(request.header("idempotency-key", key).json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_created_with_every_field() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let body = wanted(&json!({
        "issueNumber": issue, "priority": 3, "prompt": "Be quick.", "model": "some/model-1", "baseBranch": "main",
    }));
    let answer = kit.post(ADA, "/api/tasks", &body).await.expect(201);
    let task = kit.task(&id(&answer)).await;
    for (name, value) in [
        ("issueNumber", json!(issue)),
        ("issueTitle", json!("The greeting has a hole")),
        ("agent", json!("mock")),
        ("priority", json!(3)),
        ("model", json!("some/model-1")),
        ("baseBranch", json!("main")),
        ("attempt", json!(1)),
        ("createdBy", json!("ada")),
    ] {
        assert_eq!(answer.json[name], value, "{name} in {}", answer.text);
    }
    assert_eq!((task.instructions.as_str(), task.comment_id), ("Be quick.", None));
    let task = kit.succeed(&task.id).await;
    assert_eq!(task.status, Status::Success);
    kit.only_pull();
    kit.status_comment(issue, &task.id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_an_issue_creates_one() {
    let kit = Plan::silent().start().await;
    let body = wanted(&json!({ "prompt": "Greet the moon\n\nAnd the sun.", "priority": "low" }));
    let answer = kit.post(ADA, "/api/tasks", &body).await.expect(201);
    let number = answer.json["issueNumber"].as_u64().expect("a number");
    assert_eq!(answer.json["issueTitle"], "Greet the moon");
    assert_eq!(kit.github.read(|all| all.issue_count(REPO)), 1);
    kit.succeed(&id(&answer)).await;
    assert!(kit.only_pull().body.starts_with(&format!("Closes #{number}\n")));
    kit.status_comment(number, &id(&answer));
    let empty = kit.post(ADA, "/api/tasks", &wanted(&json!({ "prompt": "  \n" }))).await;
    empty.expect_error(400, "invalid_request");
    assert_eq!(kit.github.read(|all| all.issue_count(REPO)), 1, "a refused request created an issue");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_field_is_refused_and_named() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    for (more, word) in [
        (json!({ "colour": "red" }), "colour"),
        (json!({ "agent": "nobody" }), "nobody"),
        (json!({ "priority": 4 }), "priority"),
        (json!({ "priority": "urgent" }), "priority"),
        (json!({ "priority": true }), "riority"),
        (json!({ "issueNumber": 0 }), "issueNumber"),
        (json!({ "issueNumber": 999 }), "999"),
        (json!({ "issueNumber": "one" }), "invalid type"),
        (json!({ "model": "--yolo" }), "model"),
        (json!({ "baseBranch": "../x" }), "baseBranch"),
        (json!({ "repoOwner": "" }), "repoOwner"),
        (json!({ "repoName": ".." }), "repoName"),
        (json!({ "repoName": "a/b" }), "repoName"),
    ] {
        let mut body = wanted(&json!({ "issueNumber": issue }));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = kit.post(ADA, "/api/tasks", &body).await;
        assert!((400..500).contains(&answer.status), "{body}: {} {}", answer.status, answer.text);
        assert!(answer.text.contains(word), "{word} is not named in {}", answer.text);
    }
    for body in ["", "{", "[]", "{}", "null"] {
        let request = kit.as_person(Method::POST, ADA, "/api/tasks").await;
        kit.send(request.body(body)).await.expect_error(400, "invalid_request");
    }
    for key in ["", &"k".repeat(256)] {
        let body = wanted(&json!({ "issueNumber": issue }));
        create_with_key(&kit, key, &body).await.expect_error(400, "invalid_request");
    }
    assert_eq!(kit.get(ADA, "/api/tasks").await.json, json!([]));
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_github_is_returned_with_its_explanation() {
    let kit = Plan::silent().start().await;
    for (status, answered, code) in [
        (403, 403, "github_forbidden"),
        (404, 404, "github_not_found"),
        (410, 410, "github_gone"),
        (422, 422, "github_refused"),
        (401, 500, "internal"),
    ] {
        let path = format!("/repos/{REPO}/issues");
        kit.github.inject(Fault::before(Method::POST, path, Effect::Status(status)).always());
        let answer = kit.post(ADA, "/api/tasks", &wanted(&json!({ "prompt": "Greet the moon" }))).await;
        let answer = answer.expect_error(answered, code);
        let words = answer.json["message"].as_str().unwrap();
        assert_eq!(words.contains(&format!("answered {status}")), status != 401, "{words}");
        kit.github.clear_faults();
    }
    assert_eq!(kit.github.read(|all| all.issue_count(REPO)), 0);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_for_comments_apply_to_the_api() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.add_repository("other", "place", &[], "main").await.unwrap();
    let here = wanted(&json!({ "issueNumber": issue }));
    let elsewhere = json!({ "repoOwner": "other", "repoName": "place", "agent": "mock", "issueNumber": 1 });
    let claude =
        json!({ "repoOwner": "acme", "repoName": "greeter", "agent": "claude", "issueNumber": issue });
    kit.post(EVE, "/api/tasks", &here).await.expect_error(403, "not_allowed");
    kit.post(ADA, "/api/tasks", &elsewhere).await.expect_error(404, "missing_installation");
    let answer = kit.post(ADA, "/api/tasks", &claude).await.expect_error(409, "missing_credentials");
    assert!(answer.json["message"].as_str().unwrap().contains("ANTHROPIC_API_KEY"), "{}", answer.text);
    assert_eq!(answer.json["actionUrl"], format!("{}/settings", kit.url));
    kit.send(kit.request(Method::POST, "/api/tasks").json(&here)).await.expect_error(401, "unauthenticated");

    let first = id(&kit.post(ADA, "/api/tasks", &here).await.expect(201));
    let second = kit.post(BOB, "/api/tasks", &here).await.expect_error(409, "too_many_tasks");
    assert_eq!(second.json["actionUrl"], format!("{}/tasks/{first}", kit.url));
    kit.fail(&first).await;
    kit.status_comment(issue, &first);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_on_queued_tasks_applies_to_the_api() {
    let kit = Plan::silent()
        .with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1")
        .with("PORTER_MAX_QUEUED_TASKS_PER_USER", "1")
        .start()
        .await;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let issue = kit.issue().await;
        let made = kit.post(ADA, "/api/tasks", &wanted(&json!({ "issueNumber": issue }))).await.expect(201);
        tasks.push((issue, id(&made)));
        kit.working(&tasks[0].1).await;
    }
    let issue = kit.issue().await;
    let answer = kit.post(ADA, "/api/tasks", &wanted(&json!({ "issueNumber": issue }))).await;
    answer.expect_error(409, "too_many_tasks");
    for (issue, id) in tasks {
        kit.fail(&id).await;
        kit.status_comment(issue, &id);
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_idempotency_key_returns_the_first_task() {
    let kit = Plan::silent().start().await;
    let body = wanted(&json!({ "prompt": "Greet the moon" }));
    let first = create_with_key(&kit, "key-1", &body).await.expect(201);
    let again = create_with_key(&kit, "key-1", &body).await.expect(201);
    assert_eq!(id(&again), id(&first));
    let other = wanted(&json!({ "prompt": "Greet the sun" }));
    create_with_key(&kit, "key-1", &other).await.expect_error(409, "idempotency_key_reused");
    kit.fail(&id(&first)).await;
    let late = create_with_key(&kit, "key-1", &body).await.expect(201);
    assert_eq!((id(&late), &late.json["status"]), (id(&first), &json!("failed")));
    assert_eq!(kit.github.read(|all| all.issue_count(REPO)), 1);
    // The same key of another person is independent, and a key expires after a day.
    let request = kit.as_person(Method::POST, BOB, "/api/tasks").await;
    let bobs = kit.send(request.header("idempotency-key", "key-1").json(&body)).await.expect(201);
    assert_ne!(id(&bobs), id(&first));
    kit.fail(&id(&bobs)).await;
    kit.clock.advance(chrono::TimeDelta::hours(25));
    let next_day = create_with_key(&kit, "key-1", &body).await.expect(201);
    assert_ne!(id(&next_day), id(&first));
    kit.fail(&id(&next_day)).await;
    for answer in [&first, &bobs, &next_day] {
        kit.status_comment(answer.json["issueNumber"].as_u64().unwrap(), &id(answer));
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_create_one_issue_and_one_task() {
    let kit = Plan::silent().start().await;
    let body = wanted(&json!({ "prompt": "Greet the moon" }));
    let sending = (0..8).map(|_| create_with_key(&kit, "key-1", &body));
    let answers = futures_util::future::join_all(sending).await;
    let made: Vec<TaskId> = answers.into_iter().map(|answer| id(&answer.expect(201))).collect();
    assert!(made.iter().all(|id| *id == made[0]), "expected one task, found {made:?}");
    assert_eq!(kit.github.read(|all| all.issue_count(REPO)), 1);
    let task = kit.fail(&made[0]).await;
    kit.status_comment(u64::try_from(task.issue.number.get()).unwrap(), &task.id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_retry_require_a_suitable_status() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let path = |what: &str| format!("/api/tasks/{id}/{what}");
    kit.post(ADA, &path("retry"), &json!({})).await.expect_error(409, "invalid_state");
    kit.fail(&id).await;
    kit.post(ADA, &path("stop"), &json!({})).await.expect_error(409, "invalid_state");
    let again = kit.post(ADA, &path("retry"), &json!({})).await.expect(202);
    assert_eq!(again.json["attempt"], 2, "{}", again.text);
    kit.working(&id).await;
    let stopped = kit.post(ADA, &path("stop"), &json!({})).await.expect(202);
    assert_eq!(stopped.json["status"], "failed");
    kit.drained().await;
    kit.post(ADA, &path("retry"), &json!({})).await.expect(202);
    let task = kit.succeed(&id).await;
    assert_eq!((task.status, task.attempt.number), (Status::Success, 3));
    for what in ["stop", "retry"] {
        kit.post(ADA, &path(what), &json!({})).await.expect_error(409, "invalid_state");
    }
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_refused_while_another_task_is_active() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&first).await;
    let second = kit.ask(issue, ADA, "@porter mock").await;
    kit.working(&second).await;
    let answer = kit.post(ADA, &format!("/api/tasks/{first}/retry"), &json!({})).await;
    answer.expect_error(409, "invalid_state");
    kit.fail(&second).await;
    for id in [first, second] {
        kit.status_comment(issue, &id);
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_act_for_a_signed_in_person() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let paths = ["/api/tasks".to_owned(), format!("/api/tasks/{id}/stop"), format!("/api/tasks/{id}/retry")];
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in &paths {
            let request = kit.as_person(Method::POST, ADA, path).await.header(header, value);
            let answer = kit.send(request.json(&wanted(&json!({ "issueNumber": issue })))).await;
            answer.expect_error(403, "cross_site");
        }
        let reads = kit.as_person(Method::GET, ADA, "/api/tasks").await.header(header, value);
        kit.send(reads).await.expect(200);
    }
    assert_eq!(kit.task(&id).await.status, Status::Running);
    let own = kit.as_person(Method::POST, ADA, &paths[1]).await.header("origin", &kit.url);
    kit.send(own).await.expect(202);
    kit.ended(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}
