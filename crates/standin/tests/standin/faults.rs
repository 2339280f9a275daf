//! Violations are recorded, and faults are applied.

use super::*;

#[tokio::test]
async fn an_unknown_path_field_or_type_is_a_violation() {
    let environment = Environment::start().await;
    let token = environment.token(json!({})).await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    for (method, path, body, expected) in [
        (Method::GET, "/repos/acme/greeter/stargazers", None, 404),
        (Method::PUT, comments.as_str(), None, 404),
        (Method::POST, comments.as_str(), Some(json!({ "body": "x", "colour": "red" })), 422),
        (Method::POST, comments.as_str(), Some(json!({ "body": 7 })), 422),
        (Method::GET, "/repos/acme/greeter/pulls?order=up", None, 422),
    ] {
        let before = environment.github.violations().len();
        let status = environment.request(method.clone(), path, &token, body).await.status();
        assert_eq!(
            (status.as_u16(), environment.github.violations().len()),
            (expected, before + 1),
            "{method} {path}"
        );
    }
    let missing = environment.request(Method::GET, "/repos/acme/greeter/issues/99", &token, None).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(environment.github.violations().len(), 5, "a thing that is not there is no violation");
}

#[tokio::test]
async fn faults_are_applied_before_or_after_the_effect() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token = environment.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    let say = async || {
        let url = format!("{}{comments}", environment.github.api_url());
        let request = environment.http.post(url).bearer_auth(&token).json(&json!({ "body": "hello" }));
        let answer = request.timeout(Duration::from_millis(500)).send().await;
        answer.map(|response| (response.status().as_u16(), response.headers().clone()))
    };
    let count = || environment.github.comments(REPOSITORY, number).len();

    environment.github.inject(Fault::before(Method::POST, &comments, Effect::Status(502)));
    assert_eq!((say().await.unwrap().0, count()), (502, 0));
    environment.github.inject(Fault::after(Method::POST, &comments, Effect::Status(502)));
    assert_eq!((say().await.unwrap().0, count()), (502, 1));
    environment.github.inject(Fault::before(Method::POST, &comments, Effect::Drop));
    assert!(say().await.is_err());
    assert_eq!(count(), 1);
    environment.github.inject(Fault::after(Method::POST, &comments, Effect::Drop));
    assert!(say().await.is_err());
    assert_eq!(count(), 2);
    environment.github.inject(Fault::before(Method::POST, &comments, Effect::Hang));
    assert!(say().await.unwrap_err().is_timeout());

    environment.github.inject(Fault::before(
        Method::POST,
        &comments,
        Effect::PrimaryLimit(TimeDelta::minutes(7)),
    ));
    let (status, headers) = say().await.unwrap();
    let reset = (environment.clock.now() + TimeDelta::minutes(7)).timestamp().to_string();
    assert_eq!((status, &headers["x-ratelimit-remaining"]), (403, &"0".parse().unwrap()));
    assert_eq!(headers["x-ratelimit-reset"], reset.as_str());
    environment.github.inject(Fault::before(Method::POST, &comments, Effect::SecondaryLimit(60)));
    let (status, headers) = say().await.unwrap();
    assert_eq!((status, &headers["retry-after"]), (403, &"60".parse().unwrap()));
    assert!(headers.get("x-ratelimit-remaining").is_none_or(|left| left != "0"));

    environment.github.inject(Fault::outage(Effect::Drop));
    assert!(say().await.is_err() && say().await.is_err());
    environment.github.clear_faults();
    assert_eq!((say().await.unwrap().0, count()), (201, 3));
    assert_eq!(environment.github.violations(), [""; 0]);
}
