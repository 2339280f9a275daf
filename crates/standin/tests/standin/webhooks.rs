//! Webhooks: delivery of people's actions, and redelivery after a failure.

use super::*;

#[tokio::test]
async fn a_comment_of_a_person_is_delivered_signed_and_in_full() {
    let environment = Environment::start().await;
    let (url, mut received) = receiver(StatusCode::ACCEPTED).await;
    environment.github.set_webhook_url(url);
    let number = environment
        .github
        .open_issue(REPOSITORY, "alice", sample::ISSUE_TITLE, sample::ISSUE_BODY)
        .await
        .unwrap();
    received.recv().await.unwrap();
    let delivery =
        environment.github.comment(REPOSITORY, number, "alice", "@porter mock fix it").await.unwrap();
    assert_eq!((delivery.status, &delivery.answer), (Some(202), &json!({ "seen": true })));
    let (headers, body) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-event"], "issue_comment");
    assert_eq!(headers["x-github-delivery"], delivery.guid.as_str());
    let secret = environment.github.app().webhook_secret;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
    mac.update(&body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(headers["x-hub-signature-256"], expected.as_str());
    let payload: Value = serde_json::from_slice(&body).unwrap();
    for (pointer, expected) in [
        ("/action", json!("created")),
        ("/comment/body", json!("@porter mock fix it")),
        ("/comment/id", json!(delivery.comment_id)),
        ("/comment/user/type", json!("User")),
        ("/issue/title", json!(sample::ISSUE_TITLE)),
        ("/issue/number", json!(number)),
        ("/repository/full_name", json!(REPOSITORY)),
        ("/repository/default_branch", json!("main")),
        ("/sender/login", json!("alice")),
        ("/sender/id", json!(101)),
        ("/installation/id", json!(environment.installation)),
    ] {
        assert_eq!(payload.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(body.len() > 8000, "GitHub's are about this big; seen {} bytes", body.len());

    environment.github.add_account("helper[bot]", 900, AccountKind::Bot);
    environment.github.comment(REPOSITORY, number, "helper[bot]", "@porter mock").await.unwrap();
    let (_, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(payload["sender"]["type"], "Bot");
}

#[tokio::test]
async fn a_failed_delivery_is_listed_and_sent_again_with_its_guid() {
    let environment = Environment::start().await;
    let (broken, _kept) = receiver(StatusCode::INTERNAL_SERVER_ERROR).await;
    let (healthy, mut received) = receiver(StatusCode::ACCEPTED).await;
    environment.github.set_webhook_url(broken);
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    environment.github.set_webhook_url(healthy);
    let fine = environment.github.comment(REPOSITORY, number, "alice", "hello").await.unwrap();
    received.recv().await.unwrap();

    let list = async |query: &str| {
        let response = environment.as_app(Method::GET, &format!("/app/hook/deliveries{query}"), None).await;
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        (read(response).await.1, link)
    };
    let (failures, _) = list("?status=failure").await;
    assert_eq!(failures.as_array().unwrap().len(), 1, "{failures}");
    assert_eq!(failures[0]["status"], "Invalid HTTP Response: 500");
    assert_eq!((&failures[0]["event"], &failures[0]["action"]), (&json!("issues"), &json!("opened")));

    let (first, link) = list("?per_page=1").await;
    assert_eq!(first[0]["guid"], fine.guid);
    let next = link.unwrap();
    let next = next.strip_prefix('<').and_then(|l| l.split_once('>')).unwrap().0;
    let (second, link) = list(next.split_once("deliveries").unwrap().1).await;
    assert_eq!((&second[0]["guid"], link), (&failures[0]["guid"], None));

    let path = format!("/app/hook/deliveries/{}/attempts", failures[0]["id"]);
    assert_eq!(environment.as_app(Method::POST, &path, None).await.status(), 202);
    let (headers, _) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-delivery"], failures[0]["guid"].as_str().unwrap());
    let again = |state: &porter_standin::GithubState| {
        state.deliveries().iter().any(|d| d.redelivery && d.succeeded())
    };
    environment.github.wait_until(again, LIMIT).await.unwrap();

    environment.clock.advance(TimeDelta::days(3) + TimeDelta::seconds(1));
    let (all, _) = list("").await;
    assert_eq!(all, json!([]), "a delivery is listed for three days");
}

#[tokio::test]
async fn the_app_receives_its_own_comment_and_raw_deliveries_are_unchanged() {
    let environment = Environment::start().await;
    let (url, mut received) = receiver(StatusCode::OK).await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    environment.github.set_webhook_url(url);
    let token = environment.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    environment.request(Method::POST, &comments, &token, Some(json!({ "body": "done" }))).await;
    let (_, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&payload["sender"]["login"], &payload["sender"]["type"]),
        (&json!("porter[bot]"), &json!("Bot"))
    );

    let forged = Signature::Header("sha256=00".to_owned());
    environment.github.deliver_raw("issues", "{", forged, Some("one-guid")).await.unwrap();
    let (headers, body) = received.recv().await.unwrap();
    assert_eq!(
        (&headers["x-hub-signature-256"], &headers["x-github-delivery"]),
        (&"sha256=00".parse().unwrap(), &"one-guid".parse().unwrap())
    );
    assert_eq!(body, b"{");
    environment.github.deliver_raw("", "{}", Signature::Missing, None).await.unwrap();
    let (headers, _) = received.recv().await.unwrap();
    assert!(!headers.contains_key("x-hub-signature-256") && !headers.contains_key("x-github-event"));
}
