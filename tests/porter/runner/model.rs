//! Tests of the Fly model itself, and of the client's methods that no runner uses.

use std::sync::{Arc, Mutex};

use fly::Api;
use secrecy::SecretString;
use serde_json::json;

use super::fly::{APP, AtFly, TOKEN};
use super::{eventually, spec};
use crate::fake_fly::{FakeFly, Happening};

#[tokio::test]
async fn the_model_rejects_requests_that_fly_does_not_describe() {
    let fly = FakeFly::start().await;
    fly.add_app(APP, "personal", TOKEN);
    let good = json!({"config": {"image": "busybox"}});
    for (method, path, body, problem) in [
        ("GET", "apps/porter-workers/machine", json!(null), "an unknown path"),
        ("PUT", "apps/porter-workers/machines", json!(null), "an unknown method"),
        ("GET", "apps/porter-workers/machines?meta=1", json!(null), "an unknown query parameter `meta`"),
        ("DELETE", "apps/porter-workers/machines/1?force=yes", json!(null), "`force=yes` is not of type"),
        ("POST", "apps/porter-workers/machines", json!(null), "no body"),
        ("POST", "apps/porter-workers/machines?metadata.a=b", good, "an unknown query parameter"),
        ("POST", "apps/porter-workers/machines", json!({"nome": "a"}), "body.nome is unknown"),
        (
            "POST",
            "apps/porter-workers/machines",
            json!({"config": {"imag": "a"}}),
            "body.config.imag is unknown",
        ),
        (
            "POST",
            "apps/porter-workers/machines",
            json!({"config": {"env": {"A": 1}}}),
            "body.config.env.A is 1",
        ),
        (
            "POST",
            "apps/porter-workers/machines",
            json!({"config": {"restart": {"policy": "never"}}}),
            "body.config.restart.policy is \"never\"",
        ),
    ] {
        let url = fly.url().join("v1/").and_then(|url| url.join(path)).expect("a URL");
        let method = method.parse().expect("a method");
        let request = tls::client()
            .build()
            .expect("a client")
            .request(method, url)
            .header("authorization", format!("FlyV1 {TOKEN}"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 400, "{path} {body}");
        let seen = fly.violations().pop().unwrap_or_default();
        assert!(seen.contains(problem), "{path} {body}: {seen:?} does not contain {problem:?}");
    }
    assert_eq!(fly.machines().len(), 0);
}

#[tokio::test]
async fn a_test_may_run_a_worker_with_the_machines_environment() {
    let place = AtFly::new().await;
    let (fly, seen) = (place.fly.clone(), Arc::new(Mutex::new(None)));
    let note = seen.clone();
    place.fly.on(move |happening| {
        if let Happening::Created(machine) = happening {
            *note.lock().expect("a lock") = machine.env().remove("TASK_ID");
            let fly = fly.clone();
            tokio::spawn(async move { fly.exited(&machine.id) });
        }
    });
    place.launch(spec("a", 1)).await.expect("a machine");
    assert_eq!(seen.lock().expect("a lock").as_deref(), Some("task_a"));
    eventually("the machine destroys itself", || async { place.fly.living().is_empty() }).await;
}

#[tokio::test]
async fn an_app_and_a_token_can_be_queried() {
    let place = AtFly::new().await;
    place.fly.add_app("foreign", "elsewhere", "fm2_foreign");
    let api = Api::new(place.fly.url()).expect("an API");
    let client = api.client(&SecretString::from(TOKEN)).expect("a client");
    let app = client.app(APP).await.expect("the app");
    assert_eq!(app.organization.map(|organization| organization.slug).as_deref(), Some("personal"));
    let absent = client.app("free").await;
    assert!(matches!(absent, Err(fly::Error::NotFound)), "{absent:?}");
    let foreign = client.app("foreign").await;
    assert!(matches!(foreign, Err(fly::Error::Forbidden)), "{foreign:?}");

    let tokens = client.tokens().await.expect("the token's permissions");
    assert_eq!(tokens[0].org_slug, "personal");
    assert_eq!(tokens[0].apps.as_deref(), Some(&[APP.to_owned()][..]));

    client.create_app("fresh", "personal", "fresh").await.expect("the app is created");
    client.app("fresh").await.expect("the app exists");
    let taken = client.create_app("foreign", "personal", "foreign").await;
    assert!(matches!(taken, Err(fly::Error::Conflict { .. })), "{taken:?}");
}
