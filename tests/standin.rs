//! The GitHub stand-in, through its public door only: HTTP as an App speaks it, git, and the verbs of people.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::TimeDelta;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use porter::clock::Clock;
use porter::demo::sample;
use porter::demo::standin::{AccountKind, Effect, Fault, File, Options, Permission, Signature, StandIn};
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;

const REPOSITORY: &str = "acme/greeter";
const LIMIT: Duration = Duration::from_secs(10);

/// A stand-in with the sample project, alice who may push, and the App installed.
struct Stage {
    github: StandIn,
    clock: Clock,
    http: reqwest::Client,
    installation: u64,
}

impl Stage {
    async fn set() -> Self {
        // A fixed clock, at the real time: what a token's life is measured by can be moved by hand.
        let clock = Clock::fixed(Clock::system().now());
        let github = StandIn::start(Options { clock: clock.clone(), ..Options::new() }).await.unwrap();
        github.add_user("alice", 101);
        github.add_user("mallory", 102);
        let files: Vec<_> = sample::files()
            .into_iter()
            .map(|(path, text, executable)| File { executable, ..File::text(path, text) })
            .collect();
        github.add_repository("acme", "greeter", &files, "main").await.unwrap();
        github.add_repository("acme", "other", &[File::text("a", "a\n")], "main").await.unwrap();
        github.grant(REPOSITORY, "alice", Permission::Maintain).unwrap();
        let installation = github.install("acme").await.unwrap();
        let http = reqwest::Client::builder().user_agent("test").no_proxy().build().unwrap();
        Self { github, clock, http, installation }
    }

    fn jwt(&self, issuer: Value, issued: i64, expires: i64) -> String {
        let now = self.clock.now().timestamp();
        let claims = json!({ "iss": issuer, "iat": now + issued, "exp": now + expires });
        let pem = self.github.app().private_key_pem;
        let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes()).unwrap();
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    }

    async fn ask(&self, method: Method, path: &str, credential: &str, body: Option<Value>) -> Response {
        let url = format!("{}{path}", self.github.api_url());
        let mut request = self.http.request(method, url).bearer_auth(credential);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn as_app(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let jwt = self.jwt(json!(self.github.app().id), -60, 540);
        self.ask(method, path, &jwt, body).await
    }

    /// An installation token narrowed so.
    async fn token(&self, narrowing: Value) -> String {
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let (status, answer) = read(self.as_app(Method::POST, &path, Some(narrowing)).await).await;
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    /// The clone address with a credential in it.
    fn clone_url(&self, token: &str) -> String {
        let url = self.github.web_url().replacen("http://", &format!("http://x-access-token:{token}@"), 1);
        format!("{url}/{REPOSITORY}.git")
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Runs git as a person would, without their configuration; gives success and standard error.
async fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=alice", "-c", "user.email=alice@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A receiver of webhooks that answers with a status and hands each one over.
async fn receiver(status: StatusCode) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Vec<u8>)>) {
    let (sender, received) = mpsc::unbounded_channel();
    let handler = move |State(sender): State<mpsc::UnboundedSender<_>>,
                        headers: HeaderMap,
                        body: axum::body::Bytes| async move {
        sender.send((headers, body.to_vec())).unwrap();
        (status, axum::Json(json!({ "seen": true })))
    };
    let router = axum::Router::new().route("/hook", post(handler)).with_state(sender);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

#[tokio::test]
async fn only_a_well_made_jwt_is_the_app() {
    let stage = Stage::set().await;
    let app = stage.github.app();
    for (issuer, issued, expires, expected) in [
        (json!(app.id), -60, 540, 200),
        (json!(app.id.to_string()), 0, 600, 200),
        (json!(app.client_id), -60, 540, 200),
        (json!(app.id + 1), -60, 540, 404),
        (json!(app.id), 5, 540, 401),
        (json!(app.id), -60, 601, 401),
        (json!(app.id), -660, -1, 401),
    ] {
        let jwt = stage.jwt(issuer.clone(), issued, expires);
        let (status, answer) = read(stage.ask(Method::GET, "/app", &jwt, None).await).await;
        assert_eq!(status, expected, "iss {issuer}, iat {issued:+}, exp {expires:+}: {answer}");
    }
    let own = stage.jwt(json!(app.id), -60, 540);
    let mut forged = own.clone().into_bytes();
    let last = forged.len() - 10;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let (status, answer) = read(stage.ask(Method::GET, "/app", &forged, None).await).await;
    assert_eq!((status, &answer["message"]), (401, &json!("A JSON web token could not be decoded")));
}

#[tokio::test]
async fn a_token_reaches_what_it_was_narrowed_to_until_it_expires_or_is_revoked() {
    let stage = Stage::set().await;
    let narrow =
        stage.token(json!({ "repositories": ["greeter"], "permissions": { "contents": "read" } })).await;
    assert!(narrow.starts_with("ghs_") && narrow.len() >= 500, "{} characters", narrow.len());
    let see = async |path: &str| read(stage.ask(Method::GET, path, &narrow, None).await).await;
    assert_eq!(see("/repos/acme/greeter").await.0, 200);
    assert_eq!(see("/repos/acme/other").await.0, 404);
    let (status, answer) = see("/repos/acme/greeter/issues/1").await;
    assert_eq!((status, &answer["message"]), (403, &json!("Resource not accessible by integration")));

    let path = format!("/app/installations/{}/access_tokens", stage.installation);
    for wrong in [json!({ "repositories": ["nowhere"] }), json!({ "permissions": { "workflows": "write" } })]
    {
        assert_eq!(stage.as_app(Method::POST, &path, Some(wrong.clone())).await.status(), 422, "{wrong}");
    }

    stage.clock.advance(TimeDelta::minutes(59));
    assert_eq!(see("/repos/acme/greeter").await.0, 200);
    stage.clock.advance(TimeDelta::minutes(1));
    let (status, answer) = see("/repos/acme/greeter").await;
    assert_eq!((status, &answer["message"]), (401, &json!("Bad credentials")));

    let token = stage.token(json!({})).await;
    assert_eq!(stage.ask(Method::DELETE, "/installation/token", &token, None).await.status(), 204);
    assert_eq!(stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 401);
}

#[tokio::test]
async fn a_comment_of_a_person_is_delivered_signed_and_in_full() {
    let stage = Stage::set().await;
    let (url, mut received) = receiver(StatusCode::ACCEPTED).await;
    stage.github.set_webhook_url(url);
    let number =
        stage.github.open_issue(REPOSITORY, "alice", sample::ISSUE_TITLE, sample::ISSUE_BODY).await.unwrap();
    received.recv().await.unwrap();
    let delivery = stage.github.comment(REPOSITORY, number, "alice", "@porter mock fix it").await.unwrap();
    assert_eq!((delivery.status, &delivery.answer), (Some(202), &json!({ "seen": true })));
    let (headers, body) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-event"], "issue_comment");
    assert_eq!(headers["x-github-delivery"], delivery.guid.as_str());
    let secret = stage.github.app().webhook_secret;
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
        ("/installation/id", json!(stage.installation)),
    ] {
        assert_eq!(payload.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(body.len() > 8000, "GitHub's are about this big; seen {} bytes", body.len());

    stage.github.add_account("helper[bot]", 900, AccountKind::Bot);
    stage.github.comment(REPOSITORY, number, "helper[bot]", "@porter mock").await.unwrap();
    let (_, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(payload["sender"]["type"], "Bot");
}

#[tokio::test]
async fn a_failed_delivery_is_listed_and_sent_again_with_its_guid() {
    let stage = Stage::set().await;
    let (broken, _kept) = receiver(StatusCode::INTERNAL_SERVER_ERROR).await;
    let (healthy, mut received) = receiver(StatusCode::ACCEPTED).await;
    stage.github.set_webhook_url(broken);
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    stage.github.set_webhook_url(healthy);
    let fine = stage.github.comment(REPOSITORY, number, "alice", "hello").await.unwrap();
    received.recv().await.unwrap();

    let list = async |query: &str| {
        let response = stage.as_app(Method::GET, &format!("/app/hook/deliveries{query}"), None).await;
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
    assert_eq!(stage.as_app(Method::POST, &path, None).await.status(), 202);
    let (headers, _) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-delivery"], failures[0]["guid"].as_str().unwrap());
    let again = |world: &porter::demo::standin::World| {
        world.deliveries().iter().any(|d| d.redelivery && d.succeeded())
    };
    stage.github.wait_until(again, LIMIT).await.unwrap();

    stage.clock.advance(TimeDelta::days(3) + TimeDelta::seconds(1));
    let (all, _) = list("").await;
    assert_eq!(all, json!([]), "nothing is kept longer than three days");
}

#[tokio::test]
async fn comments_are_paged_filtered_edited_and_reacted_to() {
    let stage = Stage::set().await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token = stage.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    for index in 0..5 {
        stage.clock.advance(TimeDelta::minutes(1));
        let body = json!({ "body": format!("comment {index}") });
        let (status, answer) = read(stage.ask(Method::POST, &comments, &token, Some(body)).await).await;
        assert_eq!((status, &answer["user"]["login"]), (201, &json!("porter[bot]")));
        assert_eq!(answer["performed_via_github_app"]["id"], stage.github.app().id);
    }
    let response = stage.ask(Method::GET, &format!("{comments}?per_page=2&page=2"), &token, None).await;
    let link = response.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains("page=3>; rel=\"next\"") && link.contains("page=1>; rel=\"prev\""), "{link}");
    let (_, answer) = read(response).await;
    assert_eq!(answer[0]["body"], "comment 2");
    let since = (stage.clock.now() - TimeDelta::seconds(61)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (_, answer) =
        read(stage.ask(Method::GET, &format!("{comments}?since={since}"), &token, None).await).await;
    assert_eq!(answer.as_array().unwrap().len(), 2, "{answer}");

    let id = stage.github.comments(REPOSITORY, number)[0].id;
    let one = format!("/repos/{REPOSITORY}/issues/comments/{id}");
    let edit = Some(json!({ "body": "changed" }));
    assert_eq!(stage.ask(Method::PATCH, &one, &token, edit.clone()).await.status(), 200);
    let comment = &stage.github.comments(REPOSITORY, number)[0];
    assert_eq!((comment.body.as_str(), &comment.edits), ("changed", &vec!["comment 0".to_owned()]));
    let theirs = stage.github.comment(REPOSITORY, number, "alice", "mine").await.unwrap().comment_id.unwrap();
    let path = format!("/repos/{REPOSITORY}/issues/comments/{theirs}");
    assert_eq!(stage.ask(Method::PATCH, &path, &token, edit).await.status(), 403);

    let react = async || {
        let body = Some(json!({ "content": "eyes" }));
        stage.ask(Method::POST, &format!("{one}/reactions"), &token, body).await.status().as_u16()
    };
    assert_eq!((react().await, react().await), (201, 200));
    assert_eq!(stage.github.reactions(REPOSITORY, id).len(), 1);

    let long = Some(json!({ "body": "é".repeat(65_537) }));
    let (status, answer) = read(stage.ask(Method::POST, &comments, &token, long).await).await;
    assert_eq!(status, 422);
    assert_eq!(answer["errors"][0]["message"], "Body is too long (maximum is 65536 characters)");
    let longest = Some(json!({ "body": "é".repeat(65_536) }));
    assert_eq!(stage.ask(Method::POST, &comments, &token, longest).await.status(), 201);
    assert_eq!(stage.github.violations(), [""; 0]);
}

#[tokio::test]
async fn labels_come_and_go_and_leave_the_others_alone() {
    let stage = Stage::set().await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    stage.github.add_label(REPOSITORY, number, "bug").unwrap();
    let token = stage.token(json!({ "permissions": { "issues": "write" } })).await;
    let labels = format!("/repos/{REPOSITORY}/issues/{number}/labels");
    let body = Some(json!({ "labels": ["porter:task", "porter:queued", "porter:task"] }));
    assert_eq!(stage.ask(Method::POST, &labels, &token, body).await.status(), 200);
    assert_eq!(stage.github.labels(REPOSITORY, number), ["bug", "porter:task", "porter:queued"]);
    let one = format!("{labels}/porter%3Aqueued");
    assert_eq!(stage.ask(Method::DELETE, &one, &token, None).await.status(), 200);
    assert_eq!(stage.ask(Method::DELETE, &one, &token, None).await.status(), 404);
    assert_eq!(stage.github.labels(REPOSITORY, number), ["bug", "porter:task"]);
}

#[tokio::test]
async fn permissions_show_as_github_names_them() {
    let stage = Stage::set().await;
    let token = stage.token(json!({})).await;
    let see = async |login: &str| {
        let path = format!("/repos/{REPOSITORY}/collaborators/{login}/permission");
        let (status, answer) = read(stage.ask(Method::GET, &path, &token, None).await).await;
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
    stage.github.grant(REPOSITORY, "mallory", Permission::Triage).unwrap();
    assert_eq!(see("mallory").await, named("read", "triage"));
}

#[tokio::test]
async fn what_git_pushed_becomes_a_pull_request_once() {
    let stage = Stage::set().await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token =
        stage.token(json!({ "repositories": ["greeter"], "permissions": { "contents": "write" } })).await;
    let server = stage.token(json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let url = stage.clone_url(&token);
    let (cloned, error) = git(folder.path(), &["clone", "--quiet", "--depth", "1", &url, "work"]).await;
    assert!(cloned, "{error}");
    let work = folder.path().join("work");
    assert_eq!(std::fs::read_to_string(work.join("AGENTS.md")).unwrap(), sample::files()[0].1);
    git(&work, &["checkout", "--quiet", "-b", "porter/task_1"]).await;
    // Large enough that git sends it in chunks, compressed or not.
    let noise: Vec<u8> =
        (0..3_000_000_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    std::fs::write(work.join("noise.bin"), noise).unwrap();
    std::fs::write(work.join("hello.txt"), "hello\n").unwrap();
    git(&work, &["add", "."]).await;
    git(&work, &["commit", "--quiet", "-m", "Say hello"]).await;

    let pulls = format!("/repos/{REPOSITORY}/pulls");
    let body = json!({ "title": "Say hello", "head": "porter/task_1", "base": "main", "body": "Closes #1", "draft": true });
    let create = async || read(stage.ask(Method::POST, &pulls, &server, Some(body.clone())).await).await;
    let (status, answer) = create().await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("head")), "{answer}");

    let (pushed, error) = git(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/porter/task_1"]).await;
    assert!(pushed, "{error}");
    let (status, pull) = create().await;
    assert_eq!(status, 201, "{pull}");
    assert_eq!(
        (&pull["number"], &pull["draft"], &pull["commits"]),
        (&json!(number + 1), &json!(true), &json!(1))
    );
    let head = stage.github.find_branch(REPOSITORY, "porter/task_1").await.unwrap();
    assert_eq!(pull["head"]["sha"], json!(head));
    let (status, answer) = create().await;
    let message = &answer["errors"][0]["message"];
    assert_eq!((status, message), (422, &json!("A pull request already exists for acme:porter/task_1.")));

    let (_, found) =
        read(stage.ask(Method::GET, &format!("{pulls}?head=acme:porter/task_1"), &server, None).await).await;
    assert_eq!(found[0]["number"], pull["number"], "{found}");
    let (_, found) =
        read(stage.ask(Method::GET, &format!("{pulls}?head=acme:porter/other"), &server, None).await).await;
    assert_eq!(found, json!([]));
    let compare = format!("/repos/{REPOSITORY}/compare/main...porter/task_1");
    let (_, found) = read(stage.ask(Method::GET, &compare, &server, None).await).await;
    assert_eq!((&found["status"], &found["ahead_by"]), (&json!("ahead"), &json!(1)));
    assert_eq!(found["files"][0]["filename"], "hello.txt");

    let reviewers = format!("{pulls}/{}/requested_reviewers", pull["number"]);
    for (login, expected) in [("alice", 201), ("mallory", 422), ("porter[bot]", 422)] {
        let body = Some(json!({ "reviewers": [login] }));
        assert_eq!(stage.ask(Method::POST, &reviewers, &server, body).await.status(), expected, "{login}");
    }
    let seen = &stage.github.pull_requests(REPOSITORY)[0];
    assert_eq!((seen.title.as_str(), seen.body.as_str(), seen.draft), ("Say hello", "Closes #1", true));
    assert_eq!(
        (seen.reviewers.as_slice(), seen.author.as_str()),
        (["alice".to_owned()].as_slice(), "porter[bot]")
    );
    assert!(stage.github.diff(REPOSITORY, seen.number).await.unwrap().contains("+hello\n"));
    assert_eq!(stage.github.violations(), [""; 0]);
}

#[tokio::test]
async fn a_pull_request_needs_commits_and_drafts_need_the_plan() {
    let stage = Stage::set().await;
    let token = stage.token(json!({})).await;
    stage.github.branch(REPOSITORY, "same", "main").await.unwrap();
    let ask = async |base: &str, draft: bool| {
        let body = json!({ "title": "T", "head": "same", "base": base, "draft": draft });
        let (status, answer) =
            read(stage.ask(Method::POST, "/repos/acme/greeter/pulls", &token, Some(body)).await).await;
        (status, answer)
    };
    let (status, answer) = ask("main", false).await;
    assert_eq!((status, &answer["errors"][0]["message"]), (422, &json!("No commits between main and same")));
    let (status, answer) = ask("gone", false).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("base")));
    stage.github.commit(REPOSITORY, "same", &[File::text("x", "x\n")], "X").await.unwrap();
    stage.github.allow_drafts(REPOSITORY, false).unwrap();
    let (status, answer) = ask("main", true).await;
    assert_eq!((status, answer["message"].as_str().unwrap().contains("Draft pull requests")), (422, true));
    assert_eq!(ask("main", false).await.0, 201);
}

#[tokio::test]
async fn git_is_served_only_to_a_token_that_may() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().unwrap();
    let reader = stage.token(json!({ "permissions": { "contents": "read" } })).await;
    let stranger = stage.token(json!({ "repositories": ["other"] })).await;
    let blind = stage.token(json!({ "permissions": { "issues": "write" } })).await;
    let clone = async |url: String, into: &str| git(folder.path(), &["clone", "--quiet", &url, into]).await;
    assert!(clone(stage.clone_url(&reader), "work").await.0);
    for (token, expected) in
        [("ghs_wrong", "Authentication failed"), (&stranger, "not found"), (&blind, "403")]
    {
        let (cloned, error) = clone(stage.clone_url(token), "refused").await;
        assert!(!cloned && error.contains(expected), "expected {expected:?}, seen {error:?}");
    }
    let work = folder.path().join("work");
    git(&work, &["commit", "--quiet", "--allow-empty", "-m", "Nothing"]).await;
    let (pushed, error) = git(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/x"]).await;
    assert!(!pushed && error.contains("403"), "{error}");
    assert_eq!(stage.github.find_branch(REPOSITORY, "x").await.unwrap(), None);
}

#[tokio::test]
async fn files_are_read_from_any_ref() {
    let stage = Stage::set().await;
    let token = stage.token(json!({ "permissions": { "contents": "read" } })).await;
    let see = async |path: &str| {
        let path = format!("/repos/{REPOSITORY}/contents/{path}");
        read(stage.ask(Method::GET, &path, &token, None).await).await
    };
    let (status, file) = see("AGENTS.md").await;
    use base64::Engine;
    let encoded: String = file["content"].as_str().unwrap().split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    assert_eq!((status, decoded.as_slice()), (200, sample::files()[0].1.as_bytes()));
    stage.github.commit(REPOSITORY, "feature/x", &[File::text("docs/n.md", "new\n")], "New").await.unwrap();
    assert_eq!(see("docs/n.md").await.0, 404);
    assert_eq!(see("docs/n.md?ref=feature/x").await.0, 200);
    let branch = stage.ask(Method::GET, "/repos/acme/greeter/branches/feature/x", &token, None).await;
    let (_, branch) = read(branch).await;
    assert_eq!(branch["commit"]["commit"]["message"], "New");
}

#[tokio::test]
async fn an_unknown_path_field_or_type_is_a_violation() {
    let stage = Stage::set().await;
    let token = stage.token(json!({})).await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    for (method, path, body, expected) in [
        (Method::GET, "/repos/acme/greeter/stargazers", None, 404),
        (Method::PUT, comments.as_str(), None, 404),
        (Method::POST, comments.as_str(), Some(json!({ "body": "x", "colour": "red" })), 422),
        (Method::POST, comments.as_str(), Some(json!({ "body": 7 })), 422),
        (Method::GET, "/repos/acme/greeter/pulls?order=up", None, 422),
    ] {
        let before = stage.github.violations().len();
        let status = stage.ask(method.clone(), path, &token, body).await.status();
        assert_eq!(
            (status.as_u16(), stage.github.violations().len()),
            (expected, before + 1),
            "{method} {path}"
        );
    }
    let missing = stage.ask(Method::GET, "/repos/acme/greeter/issues/99", &token, None).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(stage.github.violations().len(), 5, "a thing that is not there is no violation");
}

#[tokio::test]
async fn faults_strike_before_or_after_the_effect() {
    let stage = Stage::set().await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token = stage.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    let say = async || {
        let url = format!("{}{comments}", stage.github.api_url());
        let request = stage.http.post(url).bearer_auth(&token).json(&json!({ "body": "hello" }));
        let answer = request.timeout(Duration::from_millis(500)).send().await;
        answer.map(|response| (response.status().as_u16(), response.headers().clone()))
    };
    let count = || stage.github.comments(REPOSITORY, number).len();

    stage.github.inject(Fault::before(Method::POST, &comments, Effect::Status(502)));
    assert_eq!((say().await.unwrap().0, count()), (502, 0));
    stage.github.inject(Fault::after(Method::POST, &comments, Effect::Status(502)));
    assert_eq!((say().await.unwrap().0, count()), (502, 1));
    stage.github.inject(Fault::before(Method::POST, &comments, Effect::Drop));
    assert!(say().await.is_err());
    assert_eq!(count(), 1);
    stage.github.inject(Fault::after(Method::POST, &comments, Effect::Drop));
    assert!(say().await.is_err());
    assert_eq!(count(), 2);
    stage.github.inject(Fault::before(Method::POST, &comments, Effect::Hang));
    assert!(say().await.unwrap_err().is_timeout());

    stage.github.inject(Fault::before(Method::POST, &comments, Effect::PrimaryLimit(TimeDelta::minutes(7))));
    let (status, headers) = say().await.unwrap();
    let reset = (stage.clock.now() + TimeDelta::minutes(7)).timestamp().to_string();
    assert_eq!((status, &headers["x-ratelimit-remaining"]), (403, &"0".parse().unwrap()));
    assert_eq!(headers["x-ratelimit-reset"], reset.as_str());
    stage.github.inject(Fault::before(Method::POST, &comments, Effect::SecondaryLimit(60)));
    let (status, headers) = say().await.unwrap();
    assert_eq!((status, &headers["retry-after"]), (403, &"60".parse().unwrap()));
    assert!(headers.get("x-ratelimit-remaining").is_none_or(|left| left != "0"));

    stage.github.inject(Fault::outage(Effect::Drop));
    assert!(say().await.is_err() && say().await.is_err());
    stage.github.clear_faults();
    assert_eq!((say().await.unwrap().0, count()), (201, 3));
    assert_eq!(stage.github.violations(), [""; 0]);
}

#[tokio::test]
async fn calls_are_counted_against_the_limit_unless_nothing_changed() {
    let stage = Stage::set().await;
    let token = stage.token(json!({})).await;
    stage.github.set_rate_limit(2, TimeDelta::minutes(30));
    let first = stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await;
    assert_eq!(first.headers()["x-ratelimit-remaining"], "1");
    let url = format!("{}/repos/acme/greeter", stage.github.api_url());
    let held = stage.http.get(url).bearer_auth(&token).header("if-none-match", &first.headers()["etag"]);
    let second = held.send().await.unwrap();
    assert_eq!(
        (second.status().as_u16(), &second.headers()["x-ratelimit-remaining"]),
        (304, &"1".parse().unwrap())
    );
    assert_eq!(stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 200);
    assert_eq!(stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 403);
    stage.clock.advance(TimeDelta::minutes(30));
    let renewed = stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await;
    assert_eq!(
        (renewed.status().as_u16(), &renewed.headers()["x-ratelimit-remaining"]),
        (200, &"4999".parse().unwrap())
    );
}

#[tokio::test]
async fn the_app_hears_of_its_own_comment_and_raw_deliveries_carry_what_they_are_given() {
    let stage = Stage::set().await;
    let (url, mut received) = receiver(StatusCode::OK).await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    stage.github.set_webhook_url(url);
    let token = stage.token(json!({})).await;
    let comments = format!("/repos/{REPOSITORY}/issues/{number}/comments");
    stage.ask(Method::POST, &comments, &token, Some(json!({ "body": "done" }))).await;
    let (_, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&payload["sender"]["login"], &payload["sender"]["type"]),
        (&json!("porter[bot]"), &json!("Bot"))
    );

    let forged = Signature::Header("sha256=00".to_owned());
    stage.github.deliver_raw("issues", "{", forged, Some("one-guid")).await.unwrap();
    let (headers, body) = received.recv().await.unwrap();
    assert_eq!(
        (&headers["x-hub-signature-256"], &headers["x-github-delivery"]),
        (&"sha256=00".parse().unwrap(), &"one-guid".parse().unwrap())
    );
    assert_eq!(body, b"{");
    stage.github.deliver_raw("", "{}", Signature::Missing, None).await.unwrap();
    let (headers, _) = received.recv().await.unwrap();
    assert!(!headers.contains_key("x-hub-signature-256") && !headers.contains_key("x-github-event"));
}

#[tokio::test]
async fn narrowing_an_installation_tells_the_app_and_closes_the_rest() {
    let stage = Stage::set().await;
    let (url, mut received) = receiver(StatusCode::OK).await;
    stage.github.set_webhook_url(url);
    let token = stage.token(json!({})).await;
    stage.github.select_repositories("acme", &["acme/other"]).await.unwrap();
    let (headers, body) = received.recv().await.unwrap();
    let payload: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["x-github-event"], "installation_repositories");
    assert_eq!(payload["action"], "removed");
    assert_eq!(payload["repositories_removed"][0]["full_name"], REPOSITORY);
    assert_eq!(stage.ask(Method::GET, "/repos/acme/greeter", &token, None).await.status(), 404);
    assert_eq!(stage.ask(Method::GET, "/repos/acme/other", &token, None).await.status(), 200);
    let gone = stage.as_app(Method::GET, "/repos/acme/greeter/installation", None).await;
    assert_eq!(gone.status(), 404);
    stage.github.uninstall("acme").await.unwrap();
    let (headers, _) = received.recv().await.unwrap();
    assert_eq!(headers["x-github-event"], "installation");
    assert_eq!(stage.ask(Method::GET, "/repos/acme/other", &token, None).await.status(), 401);
}

#[tokio::test]
async fn the_pages_show_texts_without_running_them() {
    let stage = Stage::set().await;
    let number =
        stage.github.open_issue(REPOSITORY, "alice", "<b>One</b>", "<script>x()</script>").await.unwrap();
    stage.github.comment(REPOSITORY, number, "mallory", "seen<!-- porter:{} -->").await.unwrap();
    let page = async |path: String| {
        let response = stage.http.get(format!("{}{path}", stage.github.web_url())).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = page(format!("/{REPOSITORY}/issues/{number}")).await;
    assert_eq!(status, 200);
    for expected in ["&lt;b&gt;One&lt;/b&gt;", "&lt;script&gt;x()&lt;/script&gt;", "mallory", "seen"] {
        assert!(text.contains(expected), "expected {expected:?} in {text}");
    }
    assert!(!text.contains("<script>") && !text.contains("porter:{}"), "{text}");
    assert_eq!(page(format!("/{REPOSITORY}")).await.0, 200);
    assert_eq!(page(format!("/{REPOSITORY}/issues/99")).await.0, 404);
    assert_eq!(stage.github.violations(), [""; 0]);
}

#[tokio::test]
async fn waiting_ends_with_the_change_and_fails_without_it() {
    let stage = Stage::set().await;
    let number = stage.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let waiting = stage.github.wait_until(move |world| world.comments(REPOSITORY, number).len() == 2, LIMIT);
    let commenting = async {
        stage.github.comment(REPOSITORY, number, "alice", "one").await.unwrap();
        stage.github.comment(REPOSITORY, number, "alice", "two").await.unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, commenting);
    waited.unwrap();
    let never = stage.github.wait_until(|_| false, Duration::from_millis(20)).await;
    assert!(never.is_err());
}
