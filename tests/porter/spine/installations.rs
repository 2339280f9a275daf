//! Where Porter is installed, as GitHub's webhooks tell it (contract §5).

use serde_json::{Value, json};
use standin::Signature;

use crate::world::{ADA, Plan, REPO, World};

/// Tells Porter of an installation, as GitHub would.
async fn tell(world: &World, event: &str, mut body: Value) {
    body["sender"] = json!({ "login": "ada", "id": 101, "type": "User" });
    let delivery = world.github.deliver_raw(event, body.to_string(), Signature::Valid, None).await.unwrap();
    assert_eq!((delivery.status, delivery.answer), (Some(202), json!({ "status": "accepted" })), "{event}");
}

fn installation(id: i64) -> Value {
    json!({ "id": id, "account": { "login": "acme", "id": 1, "type": "Organization" }, "repository_selection": "all" })
}

async fn is_suspended(world: &World, id: i64) -> bool {
    let mut connection = world.porter().db.read().await.unwrap();
    !db::installations::list_suspended(&mut connection, &[id]).await.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_installation_takes_no_tasks_until_it_is_back() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let id = world.installation_of(issue).await;
    tell(&world, "installation", json!({ "action": "suspend", "installation": installation(id) })).await;
    assert!(is_suspended(&world, id).await);
    // A change of its repositories does not bring it back.
    let change = json!({
        "action": "added", "installation": with(installation(id), "suspended_at", json!("2026-11-21T09:00:00Z")),
        "repositories_added": [{ "id": 5, "full_name": "acme/new" }], "repositories_removed": [],
    });
    tell(&world, "installation_repositories", change).await;
    assert!(is_suspended(&world, id).await, "it is still suspended");
    let delivery = world.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_installation" }));
    let body = json!({ "repoOwner": "acme", "repoName": "greeter", "agent": "mock", "issueNumber": issue });
    world.post(ADA, "/api/tasks", &body).await.expect_error(404, "missing_installation");

    tell(&world, "installation", json!({ "action": "unsuspend", "installation": installation(id) })).await;
    assert!(!is_suspended(&world, id).await);
    let task = world.ask(issue, ADA, "@porter mock").await;
    world.succeed(&task).await;
    world.status_comment(issue, &task);
    world.close().await;
}

fn with(mut value: Value, name: &str, field: Value) -> Value {
    value[name] = field;
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_from_where_the_app_is_not_installed_is_rejected_in_silence() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    world.github.uninstall("acme").await.unwrap();
    let delivery = world.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_installation" }));
    world.github.install("acme").await.unwrap();
    let task = world.ask(issue, ADA, "@porter mock").await;
    world.succeed(&task).await;
    world.status_comment(issue, &task);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_removed_while_a_task_runs_ends_it_with_a_reason() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    world.drained().await;
    let commit = world.push(&id).await;
    world.github.uninstall("acme").await.unwrap();
    world.report_success(&task, &commit).await.expect(200);
    let task = world.ended(&id).await;
    assert_eq!(task.status.as_str(), "failed", "{task:#?}");
    assert!(task.error_message.is_some_and(|message| message.contains(&id.branch())));
    assert!(world.github.pull_requests(REPO).is_empty());
    world.status_comment(issue, &id);
    world.close().await;
}
