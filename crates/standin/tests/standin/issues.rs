//! Issues, comments, labels, permissions.

use super::*;

#[tokio::test]
async fn comments_can_be_paged_filtered_edited_and_reacted_to() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token = environment.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    for index in 0..5 {
        environment.clock.advance(TimeDelta::minutes(1));
        let body = json!({ "body": format!("comment {index}") });
        let (status, answer) =
            read(environment.request(Method::POST, &comments, &token, Some(body)).await).await;
        assert_eq!((status, &answer["user"]["login"]), (201, &json!("porter[bot]")));
        assert_eq!(answer["performed_via_github_app"]["id"], environment.github.app().id);
    }
    let response =
        environment.request(Method::GET, &format!("{comments}?per_page=2&page=2"), &token, None).await;
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains("page=3>; rel=\"next\"") && link.contains("page=1>; rel=\"prev\""), "{link}");
    let (_, answer) = read(response).await;
    assert_eq!(answer[0]["body"], "comment 2");
    let since = (environment.clock.now() - TimeDelta::seconds(61)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (_, answer) =
        read(environment.request(Method::GET, &format!("{comments}?since={since}"), &token, None).await)
            .await;
    assert_eq!(answer.as_array().unwrap().len(), 2, "{answer}");

    let id = environment.github.comments(REPOSITORY, number)[0].id;
    let one = format!("/repos/{REPOSITORY}/issues/comments/{id}");
    let edit = Some(json!({ "body": "changed" }));
    assert_eq!(environment.request(Method::PATCH, &one, &token, edit.clone()).await.status(), 200);
    let comment = &environment.github.comments(REPOSITORY, number)[0];
    assert_eq!((comment.body.as_str(), &comment.edits), ("changed", &vec!["comment 0".to_owned()]));
    let theirs =
        environment.github.comment(REPOSITORY, number, "alice", "mine").await.unwrap().comment_id.unwrap();
    let path = format!("/repos/{REPOSITORY}/issues/comments/{theirs}");
    assert_eq!(environment.request(Method::PATCH, &path, &token, edit).await.status(), 403);

    let react = async || {
        let body = Some(json!({ "content": "eyes" }));
        environment.request(Method::POST, &format!("{one}/reactions"), &token, body).await.status().as_u16()
    };
    assert_eq!((react().await, react().await), (201, 200));
    assert_eq!(environment.github.reactions(REPOSITORY, id).len(), 1);

    let long = Some(json!({ "body": "é".repeat(65_537) }));
    let (status, answer) = read(environment.request(Method::POST, &comments, &token, long).await).await;
    assert_eq!(status, 422);
    assert_eq!(answer["errors"][0]["message"], "Body is too long (maximum is 65536 characters)");
    let longest = Some(json!({ "body": "é".repeat(65_536) }));
    assert_eq!(environment.request(Method::POST, &comments, &token, longest).await.status(), 201);
    assert_eq!(environment.github.violations(), [""; 0]);
}

#[tokio::test]
async fn adding_and_removing_a_label_keeps_the_other_labels() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    environment.github.add_label(REPOSITORY, number, "bug").unwrap();
    let token = environment.token(json!({ "permissions": { "issues": "write" } })).await;
    let labels = format!("/repos/{REPOSITORY}/issues/{number}/labels");
    let body = Some(json!({ "labels": ["porter:task", "porter:queued", "porter:task"] }));
    assert_eq!(environment.request(Method::POST, &labels, &token, body).await.status(), 200);
    assert_eq!(environment.github.labels(REPOSITORY, number), ["bug", "porter:task", "porter:queued"]);
    let one = format!("{labels}/porter%3Aqueued");
    assert_eq!(environment.request(Method::DELETE, &one, &token, None).await.status(), 200);
    assert_eq!(environment.request(Method::DELETE, &one, &token, None).await.status(), 404);
    assert_eq!(environment.github.labels(REPOSITORY, number), ["bug", "porter:task"]);
}

#[tokio::test]
async fn permissions_have_githubs_names() {
    let environment = Environment::start().await;
    let token = environment.token(json!({})).await;
    let see = async |login: &str| {
        let path = format!("/repos/{REPOSITORY}/collaborators/{login}/permission");
        let (status, answer) = read(environment.request(Method::GET, &path, &token, None).await).await;
        (
            status,
            answer["permission"].as_str().map(str::to_owned),
            answer["role_name"].as_str().map(str::to_owned),
        )
    };
    let named = |permission: &str, role: &str| (200, Some(permission.to_owned()), Some(role.to_owned()));
    assert_eq!(see("alice").await, named("write", "maintain"));
    assert_eq!(see("mallory").await, named("none", "none"));
    assert_eq!(see("acme").await, named("admin", "admin"));
    assert_eq!(see("nobody").await, (404, None, None));
    environment.github.grant(REPOSITORY, "mallory", Permission::Triage).unwrap();
    assert_eq!(see("mallory").await, named("read", "triage"));
}

#[tokio::test]
async fn waiting_ends_with_the_change_or_times_out() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let waiting =
        environment.github.wait_until(move |state| state.comments(REPOSITORY, number).len() == 2, LIMIT);
    let commenting = async {
        environment.github.comment(REPOSITORY, number, "alice", "one").await.unwrap();
        environment.github.comment(REPOSITORY, number, "alice", "two").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, commenting);
    waited.unwrap();
    let never = environment.github.wait_until(|_| false, Duration::from_millis(20)).await;
    assert!(never.is_err());
}
