//! Installations of the App, as reported by GitHub's webhooks (main-spec §5).

use serde_json::{Value, json};
use standin::Signature;

use crate::testkit::{ADA, Plan, REPO, Testkit};

/// Sends a webhook about an installation.
async fn tell(kit: &Testkit, event: &str, mut body: Value) {
    body["sender"] = json!({ "login": "ada", "id": 101, "type": "User" });
    let delivery = kit.github.deliver_raw(event, body.to_string(), Signature::Valid, None).await.unwrap();
    assert_eq!((delivery.status, delivery.answer), (Some(202), json!({ "status": "accepted" })), "{event}");
}

fn installation(id: i64) -> Value {
    json!({ "id": id, "account": { "login": "acme", "id": 1, "type": "Organization" }, "repository_selection": "all" })
}

async fn is_suspended(kit: &Testkit, id: i64) -> bool {
    let mut connection = kit.porter().store().read().await.unwrap();
    !db::installations::list_suspended(&mut connection, &[id.into()]).await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_installation_accepts_no_tasks() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.installation_of(issue).await;
    tell(&kit, "installation", json!({ "action": "suspend", "installation": installation(id) })).await;
    assert!(is_suspended(&kit, id).await);
    // A change of its repositories does not end the suspension.
    let change = json!({
        "action": "added", "installation": with(installation(id), "suspended_at", json!("2026-11-21T09:00:00Z")),
        "repositories_added": [{ "id": 5, "full_name": "acme/new" }], "repositories_removed": [],
    });
    tell(&kit, "installation_repositories", change).await;
    assert!(is_suspended(&kit, id).await, "it is still suspended");
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_installation" }));
    let body = json!({ "repoOwner": "acme", "repoName": "greeter", "agent": "mock", "issueNumber": issue });
    kit.post(ADA, "/api/tasks", &body).await.expect_error(404, "missing_installation");

    tell(&kit, "installation", json!({ "action": "unsuspend", "installation": installation(id) })).await;
    assert!(!is_suspended(&kit, id).await);
    let task = kit.ask(issue, ADA, "@porter mock").await;
    kit.succeed(&task).await;
    kit.status_comment(issue, &task);
    kit.close().await;
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_without_an_installation_is_rejected_without_a_reply() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.uninstall("acme").await.unwrap();
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_installation" }));
    kit.github.install("acme").await.unwrap();
    let task = kit.ask(issue, ADA, "@porter mock").await;
    kit.succeed(&task).await;
    kit.status_comment(issue, &task);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_the_app_fails_a_running_task_with_a_reason() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    kit.drained().await;
    let commit = kit.push(&id).await;
    kit.github.uninstall("acme").await.unwrap();
    kit.report_success(&task, &commit).await.expect(200);
    let task = kit.ended(&id).await;
    assert_eq!(task.status.as_str(), "failed", "{task:#?}");
    assert!(task.attempt.error_message.is_some_and(|message| message.contains(&id.branch())));
    assert!(kit.github.pull_requests(REPO).is_empty());
    kit.status_comment(issue, &id);
    kit.close().await;
}
