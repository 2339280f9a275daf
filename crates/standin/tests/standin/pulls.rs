//! git over HTTP, files, and pull requests.

use super::*;

#[tokio::test]
async fn a_pushed_branch_becomes_one_pull_request() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "").await.unwrap();
    let token = environment
        .token(json!({ "repositories": ["greeter"], "permissions": { "contents": "write" } }))
        .await;
    let server = environment.token(json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let url = environment.clone_url(&token);
    let (cloned, error) = git(folder.path(), &["clone", "--quiet", "--depth", "1", &url, "work"]).await;
    assert!(cloned, "{error}");
    let work = folder.path().join("work");
    assert_eq!(std::fs::read_to_string(work.join("AGENTS.md")).unwrap(), sample::files()[0].1);
    git(&work, &["checkout", "--quiet", "-b", "porter/task_1"]).await;
    // Large enough that git sends it in chunks, with and without compression.
    let noise: Vec<u8> =
        (0..3_000_000_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect();
    std::fs::write(work.join("noise.bin"), noise).unwrap();
    std::fs::write(work.join("hello.txt"), "hello\n").unwrap();
    git(&work, &["add", "."]).await;
    git(&work, &["commit", "--quiet", "-m", "Say hello"]).await;

    let pulls = format!("/repos/{REPOSITORY}/pulls");
    let body = json!({ "title": "Say hello", "head": "porter/task_1", "base": "main", "body": "Closes #1", "draft": true });
    let create =
        async || read(environment.request(Method::POST, &pulls, &server, Some(body.clone())).await).await;
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
    let head = environment.github.find_branch(REPOSITORY, "porter/task_1").await.unwrap();
    assert_eq!(pull["head"]["sha"], json!(head));
    let (status, answer) = create().await;
    let message = &answer["errors"][0]["message"];
    assert_eq!((status, message), (422, &json!("A pull request already exists for acme:porter/task_1.")));

    let (_, found) = read(
        environment.request(Method::GET, &format!("{pulls}?head=acme:porter/task_1"), &server, None).await,
    )
    .await;
    assert_eq!(found[0]["number"], pull["number"], "{found}");
    let (_, found) = read(
        environment.request(Method::GET, &format!("{pulls}?head=acme:porter/other"), &server, None).await,
    )
    .await;
    assert_eq!(found, json!([]));
    let compare = format!("/repos/{REPOSITORY}/compare/main...porter/task_1");
    let (_, found) = read(environment.request(Method::GET, &compare, &server, None).await).await;
    assert_eq!((&found["status"], &found["ahead_by"]), (&json!("ahead"), &json!(1)));
    assert_eq!(found["files"][0]["filename"], "hello.txt");

    let reviewers = format!("{pulls}/{}/requested_reviewers", pull["number"]);
    for (login, expected) in [("alice", 201), ("mallory", 422), ("porter[bot]", 422)] {
        let body = Some(json!({ "reviewers": [login] }));
        assert_eq!(
            environment.request(Method::POST, &reviewers, &server, body).await.status(),
            expected,
            "{login}"
        );
    }
    let seen = &environment.github.pull_requests(REPOSITORY)[0];
    assert_eq!((seen.title.as_str(), seen.body.as_str(), seen.draft), ("Say hello", "Closes #1", true));
    assert_eq!(
        (seen.reviewers.as_slice(), seen.author.as_str()),
        (["alice".to_owned()].as_slice(), "porter[bot]")
    );
    assert!(environment.github.diff(REPOSITORY, seen.number).await.unwrap().contains("+hello\n"));
    assert_eq!(environment.github.violations(), [""; 0]);
}

#[tokio::test]
async fn a_pull_request_requires_commits_and_a_draft_requires_the_plan() {
    let environment = Environment::start().await;
    let token = environment.token(json!({})).await;
    environment.github.branch(REPOSITORY, "same", "main").await.unwrap();
    let ask = async |base: &str, draft: bool| {
        let body = json!({ "title": "T", "head": "same", "base": base, "draft": draft });
        let (status, answer) =
            read(environment.request(Method::POST, "/repos/acme/greeter/pulls", &token, Some(body)).await)
                .await;
        (status, answer)
    };
    let (status, answer) = ask("main", false).await;
    assert_eq!((status, &answer["errors"][0]["message"]), (422, &json!("No commits between main and same")));
    let (status, answer) = ask("gone", false).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("base")));
    environment.github.commit(REPOSITORY, "same", &[File::text("x", "x\n")], "X").await.unwrap();
    environment.github.allow_drafts(REPOSITORY, false).unwrap();
    let (status, answer) = ask("main", true).await;
    assert_eq!((status, answer["message"].as_str().unwrap().contains("Draft pull requests")), (422, true));
    assert_eq!(ask("main", false).await.0, 201);
}

#[tokio::test]
async fn git_requires_a_token_with_permission() {
    let environment = Environment::start().await;
    let folder = tempfile::tempdir().unwrap();
    let reader = environment.token(json!({ "permissions": { "contents": "read" } })).await;
    let stranger = environment.token(json!({ "repositories": ["other"] })).await;
    let blind = environment.token(json!({ "permissions": { "issues": "write" } })).await;
    let clone = async |url: String, into: &str| git(folder.path(), &["clone", "--quiet", &url, into]).await;
    assert!(clone(environment.clone_url(&reader), "work").await.0);
    for (token, expected) in
        [("ghs_wrong", "Authentication failed"), (&stranger, "not found"), (&blind, "403")]
    {
        let (cloned, error) = clone(environment.clone_url(token), "refused").await;
        assert!(!cloned && error.contains(expected), "expected {expected:?}, seen {error:?}");
    }
    let work = folder.path().join("work");
    git(&work, &["commit", "--quiet", "--allow-empty", "-m", "Nothing"]).await;
    let (pushed, error) = git(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/x"]).await;
    assert!(!pushed && error.contains("403"), "{error}");
    assert_eq!(environment.github.find_branch(REPOSITORY, "x").await.unwrap(), None);
}

#[tokio::test]
async fn a_pre_receive_hook_refuses_a_push_until_it_is_removed() {
    let environment = Environment::start().await;
    let hook = "#!/bin/sh
while read -r old new ref; do
    case $ref in refs/heads/porter/*) echo \"GH013: Repository rule violations found for $ref\"; exit 1;; esac
done\n";
    environment.github.set_pre_receive_hook(REPOSITORY, Some(hook)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = environment.clone_url(&environment.token(json!({})).await);
    let (cloned, error) = git(folder.path(), &["clone", "--quiet", &url, "."]).await;
    assert!(cloned, "{error}");

    let push = async |branch: &str| git(folder.path(), &["push", "origin", &format!("HEAD:{branch}")]).await;
    let (pushed, error) = push("refs/heads/porter/task_1").await;
    let message = "remote: GH013: Repository rule violations found for refs/heads/porter/task_1";
    assert!(!pushed && error.contains(message) && error.contains("pre-receive hook declined"), "{error}");
    let head = environment.github.find_branch(REPOSITORY, "porter/task_1").await.unwrap();
    assert_eq!(head, None, "a refused push created the branch");
    let (pushed, error) = push("refs/heads/other").await;
    assert!(pushed, "{error}");

    environment.github.set_pre_receive_hook(REPOSITORY, None).unwrap();
    let (pushed, error) = push("refs/heads/porter/task_1").await;
    assert!(pushed, "{error}");
}

#[tokio::test]
async fn files_can_be_read_at_any_ref() {
    let environment = Environment::start().await;
    let token = environment.token(json!({ "permissions": { "contents": "read" } })).await;
    let see = async |path: &str| {
        let path = format!("/repos/{REPOSITORY}/contents/{path}");
        read(environment.request(Method::GET, &path, &token, None).await).await
    };
    let (status, file) = see("AGENTS.md").await;
    use base64::Engine;
    let encoded: String = file["content"].as_str().unwrap().split_whitespace().collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    assert_eq!((status, decoded.as_slice()), (200, sample::files()[0].1.as_bytes()));
    environment
        .github
        .commit(REPOSITORY, "feature/x", &[File::text("docs/n.md", "new\n")], "New")
        .await
        .unwrap();
    assert_eq!(see("docs/n.md").await.0, 404);
    assert_eq!(see("docs/n.md?ref=feature/x").await.0, 200);
    let branch =
        environment.request(Method::GET, "/repos/acme/greeter/branches/feature/x", &token, None).await;
    let (_, branch) = read(branch).await;
    assert_eq!(branch["commit"]["commit"]["message"], "New");
}

#[tokio::test]
async fn a_fetch_that_git_compresses_is_served() {
    let environment = Environment::start().await;
    for index in 0..40 {
        let file = [File::text("n", format!("{index}\n"))];
        environment.github.commit(REPOSITORY, &format!("b/{index}"), &file, "N").await.unwrap();
    }
    let token = environment.token(json!({ "permissions": { "contents": "read" } })).await;
    let folder = tempfile::tempdir().unwrap();
    // Protocol version 0 sends all wanted objects in one request, which git compresses.
    let url = environment.clone_url(&token);
    let arguments = ["-c", "protocol.version=0", "clone", "--quiet", "--mirror", &url, "mirror"];
    let (cloned, error) = git(folder.path(), &arguments).await;
    assert!(cloned, "{error}");
    let heads = std::fs::read_to_string(folder.path().join("mirror/packed-refs")).unwrap();
    assert_eq!(heads.matches("refs/heads/b/").count(), 40, "{heads}");
}

#[tokio::test]
async fn octocrabs_types_can_parse_the_responses() {
    let environment = Environment::start().await;
    let number = environment.github.open_issue(REPOSITORY, "alice", "One", "Text").await.unwrap();
    let comment =
        environment.github.comment(REPOSITORY, number, "alice", "hello").await.unwrap().comment_id.unwrap();
    environment.github.add_label(REPOSITORY, number, "bug").unwrap();
    environment.github.commit(REPOSITORY, "fix", &[File::text("x", "x\n")], "X").await.unwrap();
    let token = environment.token(json!({})).await;
    let new = Some(json!({ "title": "T", "head": "fix", "base": "main" }));
    environment.request(Method::POST, "/repos/acme/greeter/pulls", &token, new).await;
    async fn typed<T: serde::de::DeserializeOwned>(environment: &Environment, token: &str, path: &str) -> T {
        let (status, answer) = read(environment.request(Method::GET, path, token, None).await).await;
        assert_eq!(status, 200, "{path}: {answer}");
        serde_json::from_value(answer.clone()).unwrap_or_else(|error| panic!("{path}: {error} in {answer:#}"))
    }
    use octocrab::models;
    let at = |rest: &str| format!("/repos/{REPOSITORY}{rest}");
    typed::<models::Repository>(&environment, &token, &at("")).await;
    typed::<models::issues::Issue>(&environment, &token, &at(&format!("/issues/{number}"))).await;
    typed::<models::issues::Comment>(&environment, &token, &at(&format!("/issues/comments/{comment}"))).await;
    typed::<Vec<models::Label>>(&environment, &token, &at(&format!("/issues/{number}/labels"))).await;
    typed::<models::pulls::PullRequest>(&environment, &token, &at(&format!("/pulls/{}", number + 1))).await;
    typed::<models::repos::Ref>(&environment, &token, &at("/git/ref/heads/main")).await;
    typed::<models::repos::Content>(&environment, &token, &at("/contents/README.md")).await;
    typed::<models::commits::CommitComparison>(&environment, &token, &at("/compare/main...fix")).await;
    let jwt = environment.jwt(json!(environment.github.app().id), -60, 540);
    typed::<models::App>(&environment, &jwt, "/app").await;
    typed::<models::Installation>(&environment, &jwt, &at("/installation")).await;
}
