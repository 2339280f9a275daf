//! Whether Porter lives and is ready (contract §8), and what every answer has.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn porter_says_that_it_lives_and_is_ready() {
    let world = Plan::silent().start().await;
    assert_eq!(world.look("/healthz").await.expect(200).json["ok"], true);
    assert_eq!(world.look("/readyz").await.expect(200).json["ok"], true);
    let check = world.look("/api/startup/check").await.expect(200).json;
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
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_under_its_older_name_is_not_missing() {
    let mut world = Plan::silent().prepare().await;
    let root = world.environment.get("PORTER_SECRET_ENCRYPTION_KEY").unwrap().to_owned();
    let rest = world.environment.clone().with("PORTER_SECRET_ENCRYPTION_KEY", "");
    world.environment = rest.with("PORTER_OAUTH_TOKEN_SECRET", &root);
    world.start_porter().await;
    let check = world.look("/api/startup/check").await.expect(200).json;
    assert_eq!((&check["ok"], &check["missingEnv"]), (&json!(true), &json!([])), "{check}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_app_only_health_is_served() {
    let mut world = Plan::silent().prepare().await;
    let whole = world.environment.clone();
    let app = [
        "WEBHOOK_SECRET",
        "GITHUB_APP_ID",
        "GITHUB_APP_PRIVATE_KEY",
        "GITHUB_APP_SLUG",
        "GITHUB_CLIENT_ID",
        "GITHUB_CLIENT_SECRET",
    ];
    world.environment = whole.iter().filter(|(name, _)| !app.contains(name)).collect();
    let stop = world.start_without_app().await;
    assert_eq!(world.look("/healthz").await.expect(200).json["ok"], true);
    let ready = world.look("/readyz").await.expect(200).json;
    assert_eq!(ready["configured"], false, "{ready}");
    let check = world.look("/api/startup/check").await.expect(503).json;
    assert_eq!((&check["ok"], &check["engine"]["running"]), (&json!(false), &json!(false)));
    for name in app {
        assert!(check["missingEnv"].as_array().unwrap().contains(&json!(name)), "{name} is missing: {check}");
    }
    let hook = world.request(Method::POST, "/api/webhooks/github").body("{}");
    world.send(hook).await.expect_error(503, "not_configured");
    world.look("/api/tasks").await.expect_error(503, "not_configured");
    stop.await;
    world.environment = whole;
    world.start_porter().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_has_the_same_shape_and_every_answer_the_same_headers() {
    let world = Plan::silent().start().await;
    world.look("/nowhere").await.expect_error(404, "not_found");
    world.look("/api/nowhere").await.expect_error(404, "not_found");
    let wrong = world.request(Method::DELETE, "/api/tasks");
    world.send(wrong).await.expect_error(405, "method_not_allowed");
    world.look("/api/webhooks/github").await.expect_error(405, "method_not_allowed");
    for path in ["/", "/healthz", "/nowhere"] {
        let answer = world.look(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}");
    }
    let own = world.request(Method::GET, "/nowhere").header("x-request-id", "my-own-1");
    assert_eq!(world.send(own).await.expect_error(404, "not_found").json["requestId"], "my-own-1");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tasks_page_is_for_its_person() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.fail(&id).await;
    world.status_comment(issue, &id);
    let path = format!("/tasks/{id}");
    let page = world.get(ADA, &path).await.expect(200);
    assert!(page.text.contains("The greeting has a hole") && page.text.contains("failed"), "{}", page.text);
    world.look(&path).await.expect(401);
    world.get(crate::world::BOB, &path).await.expect(404);
    world.close().await;
}
