//! Porter reveals no secret (main-spec §3). Every test searches its output for secrets at the end; the tests here
//! produce much output and verify that the search finds secrets.

use domain::task::Status;
use reqwest::Method;
use serde_json::json;

use crate::testkit::{ADA, BOB, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn no_output_contains_a_secret() {
    let kit = Plan::real()
        .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-that-is-shared-0001")
        .with("SESSION_SECRET", "the-session-secret-of-this-test-0001")
        .with("CALLBACK_SECRET", "the-callback-secret-of-this-test-0001")
        .start()
        .await;
    kit.keep_secret("the session secret", "the-session-secret-of-this-test-0001");
    kit.keep_secret("the callback secret", "the-callback-secret-of-this-test-0001");
    kit.store_key(ADA, "openai", "OPENAI_API_KEY", "sk-openai-that-is-adas-0001").await;
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_that-is-adas-0001").await;

    // Covers success, failure, refusals and forged requests, in comments, the API, pages and the event stream.
    let (issue, other) = (kit.issue().await, kit.issue().await);
    let id = kit.ask(issue, ADA, "@porter mock Make ./test.sh pass.").await;
    assert_eq!(kit.ended(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    let failed = kit.ask(other, BOB, "@porter mock\nmock: print hello\nmock: exit 3").await;
    assert_eq!(kit.ended(&failed).await.status, Status::Failed);
    kit.status_comment(other, &failed);
    let refused = kit.say(other, BOB, "@porter amp").await;
    kit.answer_to(other, refused.comment_id.unwrap()).await;
    for path in ["/", "/api/tasks", "/api/startup/check", "/nowhere"] {
        kit.get(ADA, path).await;
    }
    for rest in ["", "/status", "/events"] {
        kit.get(ADA, &format!("/api/tasks/{id}{rest}")).await.expect(200);
    }
    kit.get(ADA, &format!("/tasks/{id}")).await.expect(200);
    let wrong = kit.token(&id, 2);
    kit.call_back("complete", &wrong, &json!({ "task_id": id, "status": "failed" })).await.expect(401);

    let found = kit.places_with(id.as_str());
    for place in ["an answer, or a call of GitHub", "the logs", "porter.db"] {
        assert!(found.iter().any(|found| found.starts_with(place)), "{place} is not searched: {found:?}");
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_root_secret_can_be_removed_after_a_start_with_the_new_one() {
    let mut kit = Plan::silent().start().await;
    kit.store_key(ADA, "anthropic", "ANTHROPIC_API_KEY", "sk-ant-that-is-adas-0001").await;
    let session = kit.session(ADA).await;
    let old = kit.environment.get("PORTER_SECRET_ENCRYPTION_KEY").unwrap().to_owned();
    let new = "another-root-secret-of-this-test-0001";
    kit.keep_secret("the new root secret", new);
    for previous in [old.as_str(), ""] {
        kit.stop_porter().await;
        let environment = kit.environment.clone().with("PORTER_SECRET_ENCRYPTION_KEY", new);
        kit.environment = environment.with("PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS", previous);
        kit.start_porter().await;
    }
    // Her key reaches the machine, and she is still signed in.
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter claude").await;
    let task = kit.working(&id).await;
    let request =
        kit.request(Method::GET, "/api/tasks").header("cookie", format!("porter_session={session}"));
    kit.send(request).await.expect(200);
    kit.report_failure(&task).await.expect(200);
    kit.ended(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_agent_splits_is_redacted_everywhere() {
    const KEY: &str = "sk-ant-api03-that_is_adas-0001";
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let kit = Plan::silent().start().await;
    kit.store_key(ADA, "anthropic", "ANTHROPIC_API_KEY", KEY).await;
    for joint in ["", "\u{200b}", "\u{7}", "\u{1b}[0m", "\\", "**", "<!-- -->", "\n", "&#8203;"] {
        let spread: String = KEY.chars().map(|c| format!("{c}{joint}")).collect();
        let words = format!("The key is {spread}, or {}.", KEY.replace('s', "&#115;"));
        let (issue, other) = (kit.issue().await, kit.issue().await);
        let done = kit.ask(issue, ADA, "@porter claude").await;
        let task = kit.working(&done).await;
        let token = kit.token(&done, 1);
        let progress = json!({ "task_id": done, "progress": 50, "message": words, "events": [words] });
        kit.call_back("progress", &token, &progress).await.expect(200);
        let commit = kit.push(&done).await;
        let report = json!({
            "task_id": done, "status": "success", "summary": words, "commit_hash": commit,
            "branch_name": task.id.branch(),
        });
        kit.call_back("complete", &token, &report).await.expect(200);
        kit.ended(&done).await;
        let failed = kit.ask(other, ADA, "@porter claude").await;
        kit.working(&failed).await;
        let report =
            json!({ "task_id": failed, "status": "failed", "error": words, "failure_stage": "agent" });
        kit.call_back("complete", &kit.token(&failed, 1), &report).await.expect(200);
        kit.ended(&failed).await;

        let mut emitted = vec![
            kit.status_comment(issue, &done).body,
            kit.status_comment(other, &failed).body,
            kit.pulls().last().expect("a pull request").body.clone(),
        ];
        for id in [&done, &failed] {
            for path in
                [format!("/api/tasks/{id}"), format!("/api/tasks/{id}/events"), format!("/tasks/{id}")]
            {
                emitted.push(kit.get(ADA, &path).await.expect(200).text);
            }
        }
        for text in emitted {
            assert!(
                !letters(&text).contains(&letters(KEY)),
                "the key, split by {joint:?}, is contained in:\n{text}"
            );
        }
    }
    kit.close().await;
}
