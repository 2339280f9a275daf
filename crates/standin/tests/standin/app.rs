//! The App: its JWTs, tokens, installations and rate limit.

use super::*;

#[tokio::test]
async fn only_a_valid_jwt_authenticates_the_app() {
    let environment = Environment::start().await;
    let app = environment.github.app();
    for (issuer, issued, expires, expected) in [
        (json!(app.id), -60, 540, 200),
        (json!(app.id.to_string()), 0, 600, 200),
        (json!(app.client_id), -60, 540, 200),
        (json!(app.id + 1), -60, 540, 404),
        (json!(app.id), 5, 540, 401),
        (json!(app.id), -60, 601, 401),
        (json!(app.id), -660, -1, 401),
    ] {
        let jwt = environment.jwt(issuer.clone(), issued, expires);
        let (status, answer) = read(environment.request(Method::GET, "/app", &jwt, None).await).await;
        assert_eq!(status, expected, "iss {issuer}, iat {issued:+}, exp {expires:+}: {answer}");
    }
    let own = environment.jwt(json!(app.id), -60, 540);
    let mut forged = own.clone().into_bytes();
    let last = forged.len() - 10;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let (status, answer) = read(environment.request(Method::GET, "/app", &forged, None).await).await;
    assert_eq!((status, &answer["message"]), (401, &json!("A JSON web token could not be decoded")));
}

#[tokio::test]
async fn a_token_has_access_to_its_scope_until_it_expires_or_is_revoked() {
    let environment = Environment::start().await;
    let narrow = environment
        .token(json!({ "repositories": ["greeter"], "permissions": { "contents": "read" } }))
        .await;
    assert!(narrow.starts_with("ghs_") && narrow.len() >= 500, "{} characters", narrow.len());
    let see = async |path: &str| read(environment.request(Method::GET, path, &narrow, None).await).await;
    assert_eq!(see("/repos/acme/greeter").await.0, 200);
    assert_eq!(see("/repos/acme/other").await.0, 404);
    let (status, answer) = see("/repos/acme/greeter/issues/1").await;
    assert_eq!((status, &answer["message"]), (403, &json!("Resource not accessible by integration")));

    let path = format!("/app/installations/{}/access_tokens", environment.installation);
    for wrong in [json!({ "repositories": ["nowhere"] }), json!({ "permissions": { "workflows": "write" } })]
    {
        assert_eq!(
            environment.as_app(Method::POST, &path, Some(wrong.clone())).await.status(),
            422,
            "{wrong}"
        );
    }

    environment.clock.advance(TimeDelta::minutes(59));
    assert_eq!(see("/repos/acme/greeter").await.0, 200);
    environment.clock.advance(TimeDelta::minutes(1));
    let (status, answer) = see("/repos/acme/greeter").await;
    assert_eq!((status, &answer["message"]), (401, &json!("Bad credentials")));

    let token = environment.token(json!({})).await;
    assert_eq!(environment.request(Method::DELETE, "/installation/token", &token, None).await.status(), 204);
    assert_eq!(environment.request(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 401);
}

#[tokio::test]
async fn calls_count_against_the_rate_limit_except_304_responses() {
    let environment = Environment::start().await;
    let token = environment.token(json!({})).await;
    environment.github.set_rate_limit(2, TimeDelta::minutes(30));
    let first = environment.request(Method::GET, "/repos/acme/greeter", &token, None).await;
    assert_eq!(first.headers()["x-ratelimit-remaining"], "1");
    let url = format!("{}/repos/acme/greeter", environment.github.api_url());
    let held =
        environment.http.get(url).bearer_auth(&token).header("if-none-match", &first.headers()["etag"]);
    let second = held.send().await.unwrap();
    assert_eq!(
        (second.status().as_u16(), &second.headers()["x-ratelimit-remaining"]),
        (304, &"1".parse().unwrap())
    );
    assert_eq!(environment.request(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 200);
    assert_eq!(environment.request(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 403);
    environment.clock.advance(TimeDelta::minutes(30));
    let renewed = environment.request(Method::GET, "/repos/acme/greeter", &token, None).await;
    assert_eq!(
        (renewed.status().as_u16(), &renewed.headers()["x-ratelimit-remaining"]),
        (200, &"4999".parse().unwrap())
    );
}

#[tokio::test]
async fn limiting_an_installation_sends_a_webhook_and_removes_access_to_other_repositories() {
    let environment = Environment::start().await;
    let (url, mut received) = receiver(StatusCode::OK).await;
    environment.github.set_webhook_url(url);
    let token = environment.token(json!({})).await;
    environment.github.select_repositories("acme", &["acme/other"]).await.unwrap();
    let (headers, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["x-github-event"], "installation_repositories");
    assert_eq!(payload["action"], "removed");
    assert_eq!(payload["repositories_removed"][0]["full_name"], REPOSITORY);
    assert_eq!(environment.request(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 404);
    assert_eq!(environment.request(Method::GET, "/repos/acme/other", &token, None).await.status(), 200);
    let gone = environment.as_app(Method::GET, "/repos/acme/greeter/installation", None).await;
    assert_eq!(gone.status(), 404);
    environment.github.uninstall("acme").await.unwrap();
    let (headers, _) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-event"], "installation");
    assert_eq!(environment.request(Method::GET, "/repos/acme/other", &token, None).await.status(), 401);
}

#[tokio::test]
async fn a_registration_is_converted_once() {
    let environment = Environment::start().await;
    let code = environment.github.register_manifest().unwrap();
    let url = format!("{}/app-manifests/{code}/conversions", environment.github.api_url());
    let (status, app) = read(environment.http.post(&url).send().await.unwrap()).await;
    let known = environment.github.app();
    assert_eq!((status, &app["id"], &app["slug"]), (201, &json!(known.id), &json!(known.slug)));
    assert_eq!(app["pem"], known.private_key_pem.expose_secret());
    assert_eq!(app["webhook_secret"], known.webhook_secret.expose_secret());
    assert_eq!(environment.http.post(&url).send().await.unwrap().status(), 404);
}
