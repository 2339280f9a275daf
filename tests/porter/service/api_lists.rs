//! Reading tasks over the API (main-spec §6): lists, pages, filters, single tasks, and who may see them.

use std::collections::BTreeSet;

use domain::task::TaskId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::testkit::{ADA, Answer, BOB, Plan, REPO, Testkit};

/// Creates seven tasks of Ada, oldest first: four that have ended, one of them successfully, two that are queued, and
/// one that runs.
async fn seven() -> (Testkit, Vec<TaskId>) {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS", "1").start().await;
    let mut tasks = Vec::new();
    for number in 0..7 {
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter mock").await;
        match number {
            0 => drop(kit.succeed(&id).await),
            1..4 => drop(kit.fail(&id).await),
            4 => drop(kit.working(&id).await),
            _ => {}
        }
        kit.drained().await;
        kit.status_comment(issue, &id);
        tasks.push(id);
    }
    (kit, tasks)
}

fn ids(answer: &Answer) -> Vec<String> {
    let list = answer.json.as_array().unwrap_or_else(|| panic!("no array: {}", answer.text));
    list.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns the path of the next page from the Link header.
fn next(kit: &Testkit, answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let url =
        link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("one next page");
    Some(url.strip_prefix(&kit.url).expect("an address of this Porter").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn active_tasks_come_first_newest_first_in_pages_of_any_size() {
    let (kit, tasks) = seven().await;
    let order: Vec<String> = [6, 5, 4, 3, 2, 1, 0].map(|index: usize| tasks[index].to_string()).into();
    let all = kit.get(ADA, "/api/tasks").await.expect(200);
    assert_eq!((ids(&all), all.header("link")), (order.clone(), None));
    for limit in 1..=7 {
        let mut seen = Vec::new();
        let mut page = Some(format!("/api/tasks?limit={limit}"));
        while let Some(path) = page {
            let answer = kit.get(ADA, &path).await.expect(200);
            assert!(ids(&answer).len() <= limit, "{path} has {} tasks", ids(&answer).len());
            seen.extend(ids(&answer));
            page = next(&kit, &answer);
        }
        assert_eq!(seen, order, "in pages of {limit}");
    }
    let history = kit.get(ADA, "/api/tasks/history?limit=3").await.expect(200);
    assert_eq!(ids(&history), order[3..6]);
    let rest = kit.get(ADA, &next(&kit, &history).expect("a next page")).await.expect(200);
    assert_eq!((ids(&rest), rest.header("link")), (order[6..].to_vec(), None));
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_can_be_filtered() {
    let (kit, tasks) = seven().await;
    let some = |indices: &[usize]| indices.iter().map(|index| tasks[*index].to_string()).collect::<Vec<_>>();
    for (query, expected) in [
        ("tasks?status=running", some(&[4])),
        ("tasks?status=queued", some(&[6, 5])),
        ("tasks?status=failed", some(&[3, 2, 1])),
        ("tasks?status=failed&limit=2", some(&[3, 2])),
        ("tasks?status=timed_out", some(&[])),
        ("tasks?repo=acme/greeter&status=success", some(&[0])),
        ("tasks?repo=ACME/Greeter&status=success", some(&[0])),
        ("tasks?repo=acme/other", some(&[])),
        ("tasks/history?status=success", some(&[0])),
        ("tasks/history?status=running", some(&[])),
        ("tasks/history?agent=mock&limit=1", some(&[3])),
        ("tasks/history?agent=claude", some(&[])),
        ("tasks/history?q=HOLE&status=success", some(&[0])),
        ("tasks/history?q=acme/gree&status=success", some(&[0])),
        ("tasks/history?q=nothing%25", some(&[])),
        ("tasks/history?q=&limit=1", some(&[3])),
    ] {
        let answer = kit.get(ADA, &format!("/api/{query}")).await.expect(200);
        assert_eq!(ids(&answer), expected, "{query}");
    }
    let answer = kit.get(ADA, "/api/tasks?status=failed&repo=acme/greeter&limit=2").await;
    let link = next(&kit, &answer).expect("a next page");
    assert_eq!(ids(&kit.get(ADA, &link).await), some(&[1]), "the next page is not filtered: {link}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_query_parameter_is_refused() {
    let kit = Plan::silent().start().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=many",
        "limit=",
        "status=done",
        "status=QUEUED",
        "cursor=xyz",
        "cursor=a",
        "cursor=",
        "cursor=%F0%9F%8E%81task_1",
        "colour=red",
        "limit=1&limit=2",
    ] {
        for list in ["tasks", "tasks/history"] {
            let answer = kit.get(ADA, &format!("/api/{list}?{query}")).await;
            answer.expect_error(400, "invalid_request");
        }
    }
    kit.get(ADA, "/api/tasks?limit=100").await.expect(200);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_other_peoples_tasks() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    assert_eq!(ids(&kit.get(BOB, "/api/tasks").await), Vec::<String>::new());
    assert_eq!(ids(&kit.get(BOB, "/api/tasks/history").await), Vec::<String>::new());
    let unknown = TaskId::new(kit.clock.now());
    for (method, rest) in [
        (Method::GET, ""),
        (Method::GET, "/status"),
        (Method::GET, "/events"),
        (Method::POST, "/stop"),
        (Method::POST, "/retry"),
    ] {
        for named in [id.as_str(), unknown.as_str(), "task_", "nonsense", "task_%00", "..%2f"] {
            let path = format!("/api/tasks/{named}{rest}");
            let answer = kit.send(kit.as_person(method.clone(), BOB, &path).await).await;
            answer.expect_error(404, "not_found");
        }
        let path = format!("/api/tasks/{id}{rest}");
        let answer = kit.send(kit.request(method, &path)).await.expect_error(401, "unauthenticated");
        assert_eq!(answer.json["action"], "sign_in", "{}", answer.text);
        assert_eq!(answer.json["actionUrl"], format!("{}/api/auth/github", kit.url));
    }
    kit.look("/api/tasks").await.expect_error(401, "unauthenticated");
    kit.look("/api/tasks/history").await.expect_error(401, "unauthenticated");
    let forged = kit.request(Method::GET, "/api/tasks").header("cookie", "porter_session=AAAA");
    kit.send(forged).await.expect_error(401, "unauthenticated");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_returned_with_the_fields_that_are_known() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock --priority=high --base=main").await;
    let working = kit.working(&id).await;
    let path = format!("/api/tasks/{id}");
    let early = kit.get(ADA, &path).await.expect(200).json;
    for absent in [
        "prUrl",
        "prNumber",
        "commitSha",
        "branch",
        "summary",
        "errorMessage",
        "completedAt",
        "usage",
        "model",
    ] {
        assert!(early.get(absent).is_none(), "{absent} is not known yet: {early}");
    }
    assert_eq!(
        (&early["status"], &early["machineId"]),
        (&json!("running"), &json!(working.attempt.machine_id))
    );
    let commit = kit.push(&id).await;
    let body = json!({
        "task_id": id, "attempt": 1, "status": "success", "summary": "Done.", "commit_hash": commit,
        "usage": { "inputTokens": 10, "outputTokens": 4, "costUsd": 0.5 },
        "callback_attempt": 2, "callback_max_attempts": 25, "callback_last_http_code": 502,
    });
    kit.call_back("complete", &kit.token(&id, 1), &body).await.expect(200);
    kit.ended(&id).await;
    let task = kit.get(ADA, &path).await.expect(200).json;
    let pull = kit.only_pull();
    let expected = json!({
        "id": id, "status": "success", "attempt": 1, "repoOwner": "acme", "repoName": "greeter",
        "issueNumber": issue, "issueTitle": "The greeting has a hole",
        "issueBody": "`./greet.sh` prints `Hello, !`.",
        "issueUrl": format!("{}/{REPO}/issues/{issue}", kit.github.web_url()),
        "agent": "mock", "priority": 3, "progress": 100, "createdBy": "ada", "baseBranch": "main",
        "branch": id.branch(), "commitSha": commit, "prNumber": pull.number,
        "prUrl": format!("{}/{REPO}/pull/{}", kit.github.web_url(), pull.number),
        "machineId": working.attempt.machine_id, "summary": "Done.",
        "usage": { "inputTokens": 10, "outputTokens": 4, "costUsd": 0.5 },
        "callbackAttempts": 2, "callbackMaxAttempts": 25, "callbackLastHttpCode": 502,
        "attempts": [{
            "attempt": 1, "status": "success", "branch": id.branch(), "commitSha": commit,
            "machineId": working.attempt.machine_id, "summary": "Done.",
            "usage": { "inputTokens": 10, "outputTokens": 4, "costUsd": 0.5 },
            "startedAt": task["startedAt"], "completedAt": task["completedAt"], "remarks": [],
        }],
    });
    let mut rest = task.clone();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&task[name], value, "{name} in {task}");
        rest.as_object_mut().unwrap().remove(name);
    }
    let times: BTreeSet<&str> = rest.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(times, BTreeSet::from(["createdAt", "updatedAt", "startedAt", "completedAt"]));
    for (name, time) in rest.as_object().unwrap() {
        let time = time.as_str().unwrap();
        assert!(time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{name}: {time}");
    }
    let mut listed = task.clone();
    listed.as_object_mut().unwrap().remove("attempts");
    assert_eq!(kit.get(ADA, "/api/tasks").await.json[0], listed, "the list differs from the task");

    let status = kit.get(ADA, &format!("{path}/status")).await.expect(200).json;
    let expected: Value = json!({
        "id": id, "status": "success", "progress": 100, "attempt": 1, "prUrl": task["prUrl"],
        "updatedAt": task["updatedAt"],
    });
    assert_eq!(status, expected);
    kit.status_comment(issue, &id);
    kit.close().await;
}
