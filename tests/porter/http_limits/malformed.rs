//! Malformed requests get an error response in the usual form, and unusual text in comments never causes a 5xx.

use domain::task::{Phase, Status};
use reqwest::Method;
use serde_json::{Value, json};

use crate::testkit::{ADA, Answer, Plan, REPO, Testkit};

/// Checks that the response is a 4xx with the fields of an error.
#[track_caller]
fn assert_refused(what: &str, answer: &Answer) {
    assert!(
        (400..500).contains(&answer.status),
        "{what}: expected a 4xx, seen {}: {}",
        answer.status,
        answer.text
    );
    for field in ["error", "message", "requestId"] {
        let text = answer.json[field].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{what}: expected the field {field} in {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_paths_and_parameters_are_rejected_with_a_reason() {
    let kit = Plan::silent().start().await;
    let long = "a".repeat(50_000);
    let paths = [
        "/api/tasks?limit=-1",
        "/api/tasks?limit=0",
        "/api/tasks?limit=99999999999999999999",
        "/api/tasks?cursor=%00",
        "/api/tasks?cursor=%ff",
        "/api/tasks?status=running%00",
        "/api/tasks?nonsense=1",
        "/api/tasks?limit=1&limit=2",
        "/api/tasks/history?cursor=AAAA",
        "/api/tasks/history?status=no",
        "/api/tasks/%ff",
        "/api/tasks/%00",
        "/api/tasks/task_%00",
        "/api/tasks/..%2f..%2fetc%2fpasswd",
        "/api/tasks/task_%27%20OR%201=1",
        "/api/tasks/%ff/status",
        "/api/tasks/%ff/events",
        "/tasks/%ff",
        &format!("/api/tasks/task_{long}"),
    ];
    for path in paths {
        assert_refused(path, &kit.get(ADA, path).await);
    }
    for (name, text) in [("last-event-id", "x"), ("last-event-id", "99999999999999999999")] {
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter mock go").await;
        let request = kit.as_person(Method::GET, ADA, &format!("/api/tasks/{id}/events")).await;
        assert_refused(text, &kit.send(request.header(name, text)).await);
        kit.post(ADA, &format!("/api/tasks/{id}/stop"), &Value::Null).await.expect(202);
        kit.ended(&id).await;
        kit.status_comment(issue, &id);
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_task_requests_are_rejected_with_a_reason() {
    let kit = Plan::silent().start().await;
    let with = |name: &str, value: Value| {
        let mut new = json!({"repoOwner": "acme", "repoName": "greeter", "issueNumber": 1, "agent": "mock"});
        new[name] = value;
        new
    };
    let malformed = [
        with("issueNumber", json!(0)),
        with("issueNumber", json!(-1)),
        with("issueNumber", json!(9_223_372_036_854_775_808_u64)),
        with("issueNumber", json!(1.5)),
        with("issueNumber", json!("1")),
        with("issueNumber", json!(i64::MAX)),
        with("repoOwner", json!("..")),
        with("repoName", json!("")),
        with("repoName", json!("greeter/../other")),
        with("repoName", json!("\u{0}")),
        with("repoOwner", json!("x".repeat(100_000))),
        with("baseBranch", json!("--upload-pack=touch x")),
        with("baseBranch", json!("-b")),
        with("baseBranch", json!("a..b")),
        with("model", json!("--model")),
        with("model", json!("a\nb")),
        with("priority", json!(4)),
        with("priority", json!([])),
        with("agent", json!("../../bin/sh")),
        with("unknown", json!(1)),
        json!([]),
        json!(null),
        json!({}),
    ];
    for new in malformed {
        let answer = kit.post(ADA, "/api/tasks", &new).await;
        assert_refused(&new.to_string().chars().take(120).collect::<String>(), &answer);
    }
    for body in ["{", "\u{0}", &"[".repeat(200_000), r#"{"repoOwner":"a","repoOwner":"b","repoName":"c"}"#] {
        let request = kit.as_person(Method::POST, ADA, "/api/tasks").await.body(body.to_owned());
        assert_refused(&body.chars().take(20).collect::<String>(), &kit.send(request).await);
    }
    let request = kit.as_person(Method::POST, ADA, "/api/tasks").await.body(" ".repeat(3 * 1024 * 1024));
    kit.send(request).await.expect_error(413, "payload_too_large");
    let request =
        kit.as_person(Method::POST, ADA, "/api/tasks").await.body(b"{\"repoOwner\":\"\xff\"}".to_vec());
    assert_refused("invalid UTF-8", &kit.send(request).await);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_in_peoples_texts_do_not_fail_a_task() {
    let kit = Plan::real().start().await;
    let title = "\u{202e}evil\u{2066} \u{0}\u{7}\u{1b}[31m <!-- --> `@porter` $(touch x) \u{feff}";
    let issue = kit.github.open_issue(REPO, "bob", title, "\u{0}\u{200b}body").await.expect("an issue");
    let words = "@porter mock \u{0}\u{202e}odd\nmock: write odd.txt \u{0}odd";
    let id = kit.ask(issue, ADA, words).await;
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    let pull = kit.only_pull();
    let invisible = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2066}' | '\u{feff}');
    assert!(!pull.title.contains(invisible), "{:?}", pull.title);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_of_one_megabyte_results_in_a_pull_request() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let words = format!("@porter mock\nmock: write long.txt long\n{}", "é".repeat(500_000));
    let id = kit.ask(issue, ADA, &words).await;
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Success, "{:?}", task.attempt.error_message);
    assert!(kit.status_comment(issue, &id).body.len() < 65_536);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_reports_are_rejected_and_change_nothing() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    let working = kit.working(&id).await;
    let token = kit.token(&id, 1);
    let malformed = [
        json!({"task_id": id, "attempt": 0, "status": "success"}),
        json!({"task_id": id, "attempt": 4_294_967_296_u64, "status": "success"}),
        json!({"task_id": id, "attempt": -1, "status": "success"}),
        json!({"task_id": id, "attempt": 2, "status": "success"}),
        json!({"task_id": "task_\u{0}", "status": "success"}),
        json!({"task_id": format!("task_{}", "a".repeat(1_000_000)), "status": "success"}),
        json!({"task_id": id, "status": "won"}),
        json!({"task_id": id, "status": "success", "summary": "x".repeat(2_200_000)}),
        json!({"task_id": id, "status": "success", "usage": {"inputTokens": -1}}),
        json!([]),
        Value::Null,
    ];
    for report in &malformed {
        for path in ["/api/callbacks/complete", "/api/callbacks/progress"] {
            // A progress report has no status, so the field is ignored as unknown.
            let same = path.ends_with("progress") && report["attempt"].is_null() && report["status"] == "won";
            let request = kit.request(Method::POST, path).header("x-porter-callback-token", &token);
            let answer = kit.send(request.json(report)).await;
            if !same {
                assert_refused(&report.to_string().chars().take(80).collect::<String>(), &answer);
            }
        }
    }
    let task = kit.task(&id).await;
    assert_eq!((task.phase, task.attempt.number), (Some(Phase::Working), working.attempt.number));
    end(&kit, issue, &id).await;
    kit.close().await;
}

async fn end(kit: &Testkit, issue: u64, id: &domain::task::TaskId) {
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &Value::Null).await.expect(202);
    kit.ended(id).await;
    kit.status_comment(issue, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_id_is_not_returned() {
    let kit = Plan::silent().start().await;
    let ask = |id: &[u8]| {
        let id = reqwest::header::HeaderValue::from_bytes(id).expect("a header value");
        kit.send(kit.request(Method::GET, "/nothing").header("x-request-id", id))
    };
    for malformed in [b"<script>".as_slice(), b"\xff\xfe", b"a b", b"", "x".repeat(5_000).as_bytes()] {
        let answer = ask(malformed).await.expect_error(404, "not_found");
        assert_eq!(answer.json["requestId"].as_str().map(str::len), Some(36), "{}", answer.text);
    }
    assert_eq!(ask(b"edge-7_1.2").await.json["requestId"], "edge-7_1.2");
    kit.close().await;
}
