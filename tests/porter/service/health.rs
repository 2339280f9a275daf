//! Liveness and readiness (main-spec §8), and the properties that all responses share.

use domain::task::{Status, Task};
use reqwest::Method;
use serde_json::{Value, json};

use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_reported() {
    let kit = Plan::silent().start().await;
    assert_eq!(kit.look("/healthz").await.expect(200).json["ok"], true);
    assert_eq!(kit.look("/readyz").await.expect(200).json["ok"], true);
    let check = kit.look("/api/startup/check").await.expect(200).json;
    assert_eq!((&check["ok"], &check["missingEnv"]), (&json!(true), &json!([])), "{check}");
    assert_eq!(check["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(check["environment"]["WEBHOOK_SECRET"], true);
    assert_eq!(check["environment"]["SESSION_SECRET"], false);
    let database = &check["d1"];
    let seen = (&database["bindingPresent"], &database["connected"], &database["error"]);
    assert_eq!(seen, (&json!(true), &json!(true), &Value::Null));
    let tables = database["tables"].as_array().unwrap();
    for name in ["users", "user_settings", "user_secrets", "user_oauth_tokens", "tasks", "jobs"] {
        let table = tables.iter().find(|table| table["name"] == name);
        let expected = json!({ "name": name, "present": true, "columnsOk": true, "missingColumns": [] });
        assert_eq!(table, Some(&expected));
    }
    assert_eq!(check["migrations"]["pending"], 0);
    assert_eq!(check["engine"]["running"], true);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_with_its_older_name_is_not_missing() {
    let mut kit = Plan::silent().prepare().await;
    let root = kit.environment.get("PORTER_SECRET_ENCRYPTION_KEY").unwrap().to_owned();
    let rest = kit.environment.clone().with("PORTER_SECRET_ENCRYPTION_KEY", "");
    kit.environment = rest.with("PORTER_OAUTH_TOKEN_SECRET", &root);
    kit.start_porter().await;
    let check = kit.look("/api/startup/check").await.expect(200).json;
    assert_eq!((&check["ok"], &check["missingEnv"]), (&json!(true), &json!([])), "{check}");
    kit.close().await;
}

/// The variables that describe the GitHub App.
const APP: [&str; 6] = [
    "WEBHOOK_SECRET",
    "GITHUB_APP_ID",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_APP_SLUG",
    "GITHUB_CLIENT_ID",
    "GITHUB_CLIENT_SECRET",
];

#[tokio::test(flavor = "multi_thread")]
async fn without_an_app_only_health_is_served() {
    let mut kit = Plan::silent().prepare().await;
    let whole = kit.environment.clone();
    kit.environment = whole.iter().filter(|(name, _)| !APP.contains(name)).collect();
    let porter = kit.start_without_app().await;
    assert_eq!(kit.look("/healthz").await.expect(200).json["ok"], true);
    let ready = kit.look("/readyz").await.expect(200).json;
    assert_eq!(ready["configured"], false, "{ready}");
    let check = kit.look("/api/startup/check").await.expect(503).json;
    assert_eq!((&check["ok"], &check["engine"]["running"]), (&json!(false), &json!(false)));
    for name in APP {
        assert!(check["missingEnv"].as_array().unwrap().contains(&json!(name)), "{name} is missing: {check}");
    }
    let hook = kit.request(Method::POST, "/api/webhooks/github").body("{}");
    kit.send(hook).await.expect_error(503, "not_configured");
    kit.look("/api/tasks").await.expect_error(503, "not_configured");
    porter.stop().await;
    kit.environment = whole;
    kit.start_porter().await;
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_errors_have_one_format_and_all_responses_the_same_headers() {
    let kit = Plan::silent().start().await;
    kit.look("/nowhere").await.expect_error(404, "not_found");
    kit.look("/api/nowhere").await.expect_error(404, "not_found");
    let wrong = kit.request(Method::DELETE, "/api/tasks");
    kit.send(wrong).await.expect_error(405, "method_not_allowed");
    kit.look("/api/webhooks/github").await.expect_error(405, "method_not_allowed");
    for path in ["/", "/healthz", "/nowhere"] {
        let answer = kit.look(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}");
    }
    let own = kit.request(Method::GET, "/nowhere").header("x-request-id", "my-own-1");
    assert_eq!(kit.send(own).await.expect_error(404, "not_found").json["requestId"], "my-own-1");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_page_is_visible_to_its_requester_only() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    let path = format!("/tasks/{id}");
    let page = kit.get(ADA, &path).await.expect(200);
    assert!(page.text.contains("The greeting has a hole") && page.text.contains("failed"), "{}", page.text);
    kit.look(&path).await.expect(401);
    kit.get(crate::testkit::BOB, &path).await.expect(404);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_configured_while_porter_runs_is_served_at_once() {
    let mut kit = Plan::silent().prepare().await;
    let whole = kit.environment.clone();
    kit.environment = whole.iter().filter(|(name, _)| !APP.contains(name)).collect();
    let porter = kit.start_without_app().await;
    let setup = porter.setup.clone();
    assert_eq!(kit.look("/healthz").await.expect(200).json["ok"], true);
    kit.look("/api/startup/check").await.expect(503);
    let hook = kit.request(Method::POST, "/api/webhooks/github").body("{}");
    kit.send(hook).await.expect_error(503, "not_configured");

    kit.configure(porter, &whole).await;
    assert_eq!(kit.look("/readyz").await.expect(200).json["configured"], true);
    let check = kit.look("/api/startup/check").await.expect(200).json;
    assert_eq!((&check["missingEnv"], &check["engine"]["running"]), (&json!([]), &json!(true)), "{check}");
    kit.sign_in(ADA).await;
    let (first, Task { id, .. }) = kit.at_work().await;

    // Configures the App again with another secret: the running task continues, and a delivery signed with the old
    // secret is refused.
    let changed = whole.clone().with("WEBHOOK_SECRET", "another secret of the webhooks");
    kit.configure_again(&setup, &changed).await;
    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.status_comment(first, &id);
    let issue = kit.issue().await;
    let refused = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(refused.status, Some(401), "{}", refused.answer);
    kit.configure_again(&setup, &whole).await;
    let again = kit.ask(issue, ADA, "@porter mock").await;
    kit.fail(&again).await;
    kit.status_comment(issue, &again);
    kit.close().await;
}
