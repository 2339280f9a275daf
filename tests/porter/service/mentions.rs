//! The result of a comment: none, one task or one refusal, however often it is delivered.

use domain::task::{Status, Task};
use serde_json::json;
use standin::{AccountKind, Delivery, Signature};

use crate::testkit::people::{accepted, comment_of};
use crate::testkit::{ADA, BOB, CAROL, EVE, Plan, REPO, Testkit};

#[track_caller]
fn ignored(delivery: &Delivery, reason: &str) {
    let seen = (delivery.status, &delivery.answer);
    assert_eq!(seen, (Some(202), &json!({ "status": "ignored", "reason": reason })));
}

#[track_caller]
fn rejected(delivery: &Delivery, reason: &str) {
    let seen = (delivery.status, &delivery.answer);
    assert_eq!(seen, (Some(202), &json!({ "status": "rejected", "reason": reason })));
}

/// Asserts that the comment is refused with this reason and receives exactly one reply, which contains each of
/// `words`.
async fn refused(kit: &Testkit, issue: u64, delivery: &Delivery, reason: &str, words: &[&str]) {
    rejected(delivery, reason);
    let answer = kit.answer_to(issue, comment_of(delivery)).await;
    for word in words {
        assert!(answer.contains(word), "{word:?} is missing in the answer {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_without_the_name_at_the_start_of_a_line_is_ignored() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let not_mentions = [
        "Thanks @porter",
        "> @porter mock",
        "> > @porter mock",
        "- > @porter mock",
        "`@porter mock`",
        "```\n@porter mock\n```",
        "    @porter mock",
        "- item\n\n      @porter mock",
        "<!-- @porter mock -->",
        "<!--\n@porter mock\n-->",
        "@porter-bot mock",
        "x@porter.dev",
        "/@porter mock",
        "@porter.dev mock",
        "",
    ];
    for text in not_mentions {
        ignored(&kit.say(issue, ADA, text).await, "no_mention");
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_by_bots_and_by_porter_are_ignored() {
    let kit = Plan::silent().start().await;
    kit.github.add_account("helper[bot]", 900, AccountKind::Bot);
    let issue = kit.issue().await;
    for author in ["helper[bot]", "porter[bot]"] {
        let delivery = kit.github.comment(REPO, issue, author, "@porter mock").await.unwrap();
        ignored(&delivery, "bot_comment");
        if author == "porter[bot]" {
            kit.github.delete_comment(REPO, comment_of(&delivery)).unwrap();
        }
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_comment_is_ignored() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.say(issue, ADA, "Let me think.").await;
    ignored(&first, "no_mention");
    let edited = kit.github.edit_comment(REPO, comment_of(&first), "ada", "@porter mock").await.unwrap();
    ignored(&edited, "unsupported_action");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_delivery_has_no_effect() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.say(issue, ADA, "@porter mock").await;
    let id = accepted(&first);
    for _ in 0..3 {
        let again = kit.github.redeliver(&first.guid).await.unwrap();
        let seen = (again.status, again.answer);
        assert_eq!(seen, (Some(202), json!({ "status": "duplicate", "taskId": id })));
    }
    kit.succeed(&id).await;
    let again = kit.github.redeliver(&first.guid).await.unwrap();
    assert_eq!(again.answer, json!({ "status": "duplicate", "taskId": id }), "after the end of the task");
    kit.drained().await;
    assert_eq!(kit.task(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_concurrent_deliveries_of_one_comment_create_one_task() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    // Written while the webhook cannot be delivered, then sent fifty times concurrently: half with the same GUID,
    // half with new ones.
    kit.github.set_webhook_url("http://127.0.0.1:9/nobody");
    let lost = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(lost.status, None);
    let body = kit.github.payload(&lost.guid).expect("the delivery was kept");
    kit.github.set_webhook_url(format!("{}/api/webhooks/github", kit.url));
    let sending = (0..50).map(|number| {
        let guid = (number % 2 == 0).then_some("one-guid");
        kit.github.deliver_raw("issue_comment", body.clone(), Signature::Valid, guid)
    });
    let deliveries = futures_util::future::try_join_all(sending).await.unwrap();
    let (first, others): (Vec<_>, Vec<_>) =
        deliveries.iter().partition(|delivery| delivery.answer["status"] == "accepted");
    assert_eq!(first.len(), 1, "expected one accepted delivery: {deliveries:#?}");
    let id = accepted(first[0]);
    for other in others {
        assert_eq!(other.answer, json!({ "status": "duplicate", "taskId": id }));
    }
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_an_account_is_invited_once_a_day_in_each_repository() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.say(issue, CAROL, "@porter mock").await;
    let link = format!("{}/api/auth/github", kit.url);
    refused(&kit, issue, &first, "missing_user_oauth", &["@carol", &link]).await;
    // One mention every twenty hours: not each receives an invitation, but the later ones are not ignored forever.
    kit.clock.advance(chrono::TimeDelta::hours(20));
    rejected(&kit.say(issue, CAROL, "@porter mock").await, "missing_user_oauth");
    kit.drained().await;
    kit.clock.advance(chrono::TimeDelta::hours(20));
    let third = kit.say(issue, CAROL, "@porter mock").await;
    refused(&kit, issue, &third, "missing_user_oauth", &[&link]).await;

    let burst: Vec<(u64, &str, &str)> = vec![(issue, "carol", "@porter mock"); 5];
    for delivery in kit.github.comment_at_once(REPO, &burst).await.unwrap() {
        rejected(&delivery, "missing_user_oauth");
    }
    kit.drained().await;
    kit.sign_in(CAROL).await;
    let id = kit.ask(issue, CAROL, "@porter mock").await;
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_outside_the_allowlist_is_refused() {
    let kit = Plan::silent().with("PORTER_ALLOWLIST", "BOB, someone").start().await;
    let issue = kit.issue().await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    refused(&kit, issue, &delivery, "not_allowed", &["operator"]).await;
    let id = kit.ask(issue, BOB, "@porter mock").await;
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_restrict_repositories_and_agents() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.set(ADA, &json!({ "onboarding": { "selectedRepos": [{ "fullName": "acme/other" }] } })).await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    let settings = format!("{}/settings", kit.url);
    refused(&kit, issue, &delivery, "repo_not_selected", &["In your settings", &settings]).await;

    kit.set(ADA, &json!({ "agents": { "mock": { "enabled": false } } })).await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    refused(&kit, issue, &delivery, "agent_disabled", &["`mock`", &settings]).await;
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_agent_is_the_first_available_and_enabled_one() {
    let (on, off) = (json!({ "enabled": true }), json!({ "enabled": false }));
    for (mock, agents, expected) in [
        ("true", json!({ "mock": on }), "mock"),
        ("false", json!({ "mock": on }), "opencode"),
        ("false", json!({ "opencode": off }), "claude-code"),
        ("false", json!({ "opencode": off, "amp": on }), "amp"),
        ("false", json!({}), "opencode"),
    ] {
        let kit = Plan::silent()
            .with("PORTER_ENABLE_MOCK_AGENT", mock)
            .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-the-shared-key")
            .with("PORTER_SHARED_AMP_API_KEY", "sgamp-the-shared-key")
            .start()
            .await;
        kit.set(ADA, &json!({ "agents": agents })).await;
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter be quick").await;
        assert_eq!(kit.fail(&id).await.agent, expected, "{agents}");
        kit.status_comment(issue, &id);
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_key_is_named() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let settings = format!("{}/settings", kit.url);
    for (text, key) in [
        ("@porter claude", "ANTHROPIC_API_KEY"),
        ("@porter amp", "AMP_API_KEY"),
        ("@porter opencode --model=openai/gpt-5", "OPENAI_API_KEY"),
        ("@porter do something", "ANTHROPIC_API_KEY"),
    ] {
        let delivery = kit.say(issue, ADA, text).await;
        refused(&kit, issue, &delivery, "missing_credentials", &[key, &settings]).await;
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_command_is_refused_with_the_valid_values() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    for (text, words) in [
        ("@porter mock --priority=urgent", ["urgent", "low|normal|high"]),
        ("@porter mock --speed=9 go", ["--speed=9", "--model=NAME"]),
        ("@porter mock --base=..", ["..", "--base=BRANCH"]),
    ] {
        let delivery = kit.say(issue, ADA, text).await;
        refused(&kit, issue, &delivery, "invalid_command", &words).await;
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mention_during_an_active_task_is_refused_with_a_link_to_it() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let second = kit.say(issue, BOB, "@porter mock again").await;
    let link = format!("{}/tasks/{id}", kit.url);
    refused(&kit, issue, &second, "too_many_tasks", &[&link, "running"]).await;
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);

    let third = kit.ask(issue, BOB, "@porter mock once more").await;
    assert_ne!(third, id);
    kit.fail(&third).await;
    kit.status_comment(issue, &third);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_mentions_create_one_task_and_one_refusal() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let both = [(issue, "ada", "@porter mock"), (issue, "bob", "@porter mock")];
    let deliveries = kit.github.comment_at_once(REPO, &both).await.unwrap();
    let (first, second): (Vec<_>, Vec<_>) =
        deliveries.iter().partition(|delivery| delivery.answer["status"] == "accepted");
    assert_eq!((first.len(), second.len()), (1, 1), "{deliveries:#?}");
    let id = accepted(first[0]);
    refused(&kit, issue, second[0], "too_many_tasks", &[id.as_str()]).await;
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_limit_on_queued_tasks_is_applied() {
    let kit = Plan::silent()
        .with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1")
        .with("PORTER_MAX_QUEUED_TASKS_PER_USER", "1")
        .start()
        .await;
    let mut issues = Vec::new();
    for _ in 0..3 {
        issues.push(kit.issue().await);
    }
    let running = kit.ask(issues[0], ADA, "@porter mock").await;
    kit.working(&running).await;
    let waiting = kit.ask(issues[1], ADA, "@porter mock").await;
    let delivery = kit.say(issues[2], ADA, "@porter mock").await;
    refused(&kit, issues[2], &delivery, "too_many_tasks", &["@porter stop"]).await;
    for (issue, id) in [(issues[0], running), (issues[1], waiting)] {
        kit.fail(&id).await;
        kit.status_comment(issue, &id);
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_with_read_permission_is_refused_before_the_launch() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, EVE, "@porter mock").await;
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.machine_id.as_deref()), (Status::Failed, None));
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("Only people who may push"), "{}", comment.body);
    let narrowed =
        kit.github.issued_tokens().into_iter().any(|token| !token.permissions.contains_key("issues"));
    assert!(!narrowed, "a worker's token was requested");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_stored_and_not_repeated() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let first = kit.say(issue, ADA, "@porter claude").await;
    refused(&kit, issue, &first, "missing_credentials", &[]).await;
    let again = kit.github.redeliver(&first.guid).await.unwrap();
    assert_eq!((again.status, again.answer), (Some(202), json!({ "status": "duplicate" })));
    kit.drained().await;
    kit.answer_to(issue, comment_of(&first)).await;
    let mut connection = kit.porter().store().read().await.unwrap();
    let stored = db::deliveries::list_known(&mut connection, &[&first.guid, "another"], &[]).await.unwrap();
    let stored: Vec<_> = stored.into_iter().map(|delivery| delivery.guid).collect();
    assert_eq!(stored, [first.guid]);
    drop(connection);
    kit.close().await;
}
