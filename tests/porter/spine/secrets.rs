//! No secret leaves Porter (contract §3). Every test looks for its own at its end; this one sees to it that there
//! is much to find, and that the search is not blind.

use domain::task::Status;
use reqwest::Method;
use serde_json::json;

use crate::world::{ADA, BOB, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_emitted_contains_a_secret() {
    let world = Plan::real()
        .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-that-is-shared-0001")
        .with("SESSION_SECRET", "the-session-secret-of-this-test-0001")
        .with("CALLBACK_SECRET", "the-callback-secret-of-this-test-0001")
        .start()
        .await;
    world.keep_secret("the session secret", "the-session-secret-of-this-test-0001");
    world.keep_secret("the callback secret", "the-callback-secret-of-this-test-0001");
    world.store_key(ADA, "openai", "OPENAI_API_KEY", "sk-openai-that-is-adas-0001").await;
    world.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_that-is-adas-0001").await;

    // What succeeds, what fails, what is refused, what is forged; comments, the API, pages, the stream.
    let (issue, other) = (world.issue().await, world.issue().await);
    let id = world.ask(issue, ADA, "@porter mock Make ./test.sh pass.").await;
    assert_eq!(world.ended(&id).await.status, Status::Success);
    world.status_comment(issue, &id);
    let failed = world.ask(other, BOB, "@porter mock\nmock: print hello\nmock: exit 3").await;
    assert_eq!(world.ended(&failed).await.status, Status::Failed);
    world.status_comment(other, &failed);
    let refused = world.say(other, BOB, "@porter amp").await;
    world.answer_to(other, refused.comment_id.unwrap()).await;
    for path in ["/", "/api/tasks", "/api/startup/check", "/nowhere"] {
        world.get(ADA, path).await;
    }
    for rest in ["", "/status", "/events"] {
        world.get(ADA, &format!("/api/tasks/{id}{rest}")).await.expect(200);
    }
    world.get(ADA, &format!("/tasks/{id}")).await.expect(200);
    let wrong = world.token(&id, 2);
    world.call_back("complete", &wrong, &json!({ "task_id": id, "status": "failed" })).await.expect(401);

    let found = world.places_with(id.as_str());
    for place in ["an answer, or a call of GitHub", "the logs", "porter.db"] {
        assert!(found.iter().any(|found| found.starts_with(place)), "{place} is searched: {found:?}");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_porter_was_started_with_a_new_root_secret_the_old_one_can_go() {
    let mut world = Plan::silent().start().await;
    world.store_key(ADA, "anthropic", "ANTHROPIC_API_KEY", "sk-ant-that-is-adas-0001").await;
    let session = world.session(ADA).await;
    let old = world.environment.get("PORTER_SECRET_ENCRYPTION_KEY").unwrap().to_owned();
    let new = "another-root-secret-of-this-test-0001";
    world.keep_secret("the new root secret", new);
    for previous in [old.as_str(), ""] {
        world.stop_porter().await;
        let environment = world.environment.clone().with("PORTER_SECRET_ENCRYPTION_KEY", new);
        world.environment = environment.with("PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS", previous);
        world.start_porter().await;
    }
    // Her key reaches the machine, and she is still signed in.
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter claude").await;
    let task = world.working(&id).await;
    let request =
        world.request(Method::GET, "/api/tasks").header("cookie", format!("porter_session={session}"));
    world.send(request).await.expect(200);
    world.report_failure(&task).await.expect(200);
    world.ended(&id).await;
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_agent_takes_apart_is_in_no_comment_pull_request_or_page() {
    const KEY: &str = "sk-ant-api03-that_is_adas-0001";
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let world = Plan::silent().start().await;
    world.store_key(ADA, "anthropic", "ANTHROPIC_API_KEY", KEY).await;
    for joint in ["", "\u{200b}", "\u{7}", "\u{1b}[0m", "\\", "**", "<!-- -->", "\n", "&#8203;"] {
        let spread: String = KEY.chars().map(|c| format!("{c}{joint}")).collect();
        let words = format!("The key is {spread}, or {}.", KEY.replace('s', "&#115;"));
        let (issue, other) = (world.issue().await, world.issue().await);
        let done = world.ask(issue, ADA, "@porter claude").await;
        let task = world.working(&done).await;
        let token = world.token(&done, 1);
        let progress = json!({ "task_id": done, "progress": 50, "message": words, "events": [words] });
        world.call_back("progress", &token, &progress).await.expect(200);
        let commit = world.push(&done).await;
        let report = json!({
            "task_id": done, "status": "success", "summary": words, "commit_hash": commit,
            "branch_name": task.id.branch(),
        });
        world.call_back("complete", &token, &report).await.expect(200);
        world.ended(&done).await;
        let failed = world.ask(other, ADA, "@porter claude").await;
        world.working(&failed).await;
        let report =
            json!({ "task_id": failed, "status": "failed", "error": words, "failure_stage": "agent" });
        world.call_back("complete", &world.token(&failed, 1), &report).await.expect(200);
        world.ended(&failed).await;

        let mut emitted = vec![
            world.status_comment(issue, &done).body,
            world.status_comment(other, &failed).body,
            world.pulls().last().expect("a pull request").body.clone(),
        ];
        for id in [&done, &failed] {
            for path in
                [format!("/api/tasks/{id}"), format!("/api/tasks/{id}/events"), format!("/tasks/{id}")]
            {
                emitted.push(world.get(ADA, &path).await.expect(200).text);
            }
        }
        for text in emitted {
            assert!(
                !letters(&text).contains(&letters(KEY)),
                "split by {joint:?}, the key stands in:\n{text}"
            );
        }
    }
    world.close().await;
}
