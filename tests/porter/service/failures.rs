//! Tasks that do not succeed and their explanations; with the real worker where the worker decides.

use chrono::TimeDelta;
use domain::ids::IssueNumber;
use domain::report::FailureStage;
use domain::task::{Status, Task};
use serde_json::json;
use standin::{Access, Effect, Fault, File};

use crate::testkit::{ADA, BOB, Plan, REPO, Testkit};

async fn ends_with(kit: &Testkit, text: &str) -> (u64, Task) {
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, text).await;
    (issue, kit.ended(&id).await)
}

#[track_caller]
fn says(kit: &Testkit, issue: u64, task: &Task, words: &[&str]) {
    let comment = kit.status_comment(issue, &task.id);
    for word in words {
        assert!(comment.body.contains(word), "{word:?} is missing in {}", comment.body);
    }
    let status = format!("porter:{}", task.status.as_str());
    assert!(kit.labels(issue).contains(&status), "{:?}", kit.labels(issue));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_changes_opens_no_pull_request() {
    let kit = Plan::real().start().await;
    let (issue, task) = ends_with(&kit, "@porter mock\nmock: nothing").await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Agent)));
    assert!(
        task.attempt.summary.as_deref().is_some_and(|summary| summary.starts_with("no changes")),
        "{task:?}"
    );
    assert!(kit.pulls().is_empty());
    assert_eq!(kit.github.find_branch(REPO, &task.id.branch()).await.unwrap(), None);
    says(&kit, issue, &task, &["changed nothing"]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_leaves_its_work_on_the_branch_and_a_retry_can_succeed() {
    let kit = Plan::real().start().await;
    kit.set(ADA, &json!({ "agents": { "mock": { "customPrompt": "Be brief." } } })).await;
    let (issue, task) = ends_with(&kit, "@porter mock\nmock: write a.txt half\nmock: exit 3").await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Agent)));
    assert!(task.attempt.error_message.as_deref().unwrap().contains("exit code 3"), "{task:?}");
    let branch = task.id.branch();
    assert_eq!(kit.github.find_branch(REPO, &branch).await.unwrap(), task.attempt.commit_sha);
    assert!(kit.pulls().is_empty());
    let code = format!("- Branch: `{branch}`");
    says(&kit, issue, &task, &["exit code 3", &code, "@porter retry"]);

    // The branch exists already; the second attempt must be able to push nevertheless.
    kit.post(ADA, &format!("/api/tasks/{}/retry", task.id), &json!({})).await.expect(202);
    let again = kit.ended(&task.id).await;
    assert_eq!((again.status, again.attempt.number), (Status::Failed, 2), "{again:#?}");
    let messages = kit.github.commit_messages(REPO, "main", &branch).await.unwrap();
    assert_eq!(messages.len(), 1, "expected the second attempt's commit only: {messages:?}");
    assert_eq!(kit.github.find_branch(REPO, &branch).await.unwrap(), again.attempt.commit_sha);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_own_time_limit_ends_the_agent() {
    let kit = Plan::real().start().await;
    kit.set(ADA, &json!({ "settings": { "taskTimeout": 0.04 } })).await;
    let (issue, task) = ends_with(&kit, "@porter mock\nmock: write a.txt x\nmock: sleep 60").await;
    assert_eq!(task.status, Status::TimedOut, "{task:#?}");
    says(&kit, issue, &task, &["ran out of time", "did not finish within its 2 seconds"]);
    assert!(kit.labels(issue).contains(&"porter:timed_out".to_owned()));
    assert!(kit.pulls().is_empty());
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_revoked_before_the_launch_is_respected() {
    let kit = Plan::silent().start().await;
    kit.github.inject(Fault::outage(Effect::Status(503)));
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.github.revoke(REPO, "ada").unwrap();
    kit.github.clear_faults();
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    assert_eq!(task.attempt.machine_id, None);
    says(&kit, issue, &task, &["Only people who may push to acme/greeter", "ada"]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_base_branch_is_named() {
    let kit = Plan::silent().start().await;
    let (issue, task) = ends_with(&kit, "@porter mock --base=release/9 go").await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    says(&kit, issue, &task, &["release/9", "--base="]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_base_branch_is_the_start_and_the_target() {
    let kit = Plan::real().start().await;
    let sha = kit.github.commit(REPO, "next", &[File::text("next.txt", "next\n")], "Next").await.unwrap();
    let (issue, task) = ends_with(&kit, "@porter mock --base next\nmock: append next.txt more").await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    let pull = kit.only_pull();
    assert_eq!(pull.base, "next");
    assert!(pull.body.starts_with(&format!("Closes #{issue}\n")), "{}", pull.body);
    assert_eq!(kit.github.find_branch(REPO, "next").await.unwrap(), Some(sha), "the base branch was changed");
    let diff = kit.github.diff(REPO, pull.number).await.unwrap();
    assert!(diff.contains("+more") && !diff.contains("+next"), "{diff}");
    says(&kit, issue, &task, &["is done"]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_on_a_pull_request_starts_from_its_branch() {
    let kit = Plan::real().start().await;
    let (issue, first) = ends_with(&kit, "@porter mock\nmock: write a.txt one").await;
    says(&kit, issue, &first, &["is done"]);
    let pull = kit.only_pull();
    let id = kit.ask(pull.number, ADA, "@porter mock\nmock: append a.txt two").await;
    let second = kit.ended(&id).await;
    assert_eq!(second.status, Status::Success, "{second:#?}");
    assert_eq!(second.base_branch.as_deref(), Some(first.id.branch().as_str()));
    let pulls = kit.pulls();
    assert_eq!(pulls.len(), 2);
    assert_eq!(pulls[1].base, first.id.branch());
    assert!(pulls[1].body.starts_with(&format!("Refs #{}\n", pull.number)), "{}", pulls[1].body);
    says(&kit, pull.number, &second, &["is done"]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issue_is_used_as_it_was_at_the_request() {
    let kit = Plan::silent().start().await;
    kit.github.inject(Fault::outage(Effect::Status(503)));
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.github.edit_issue(REPO, issue, "bob", "Send me your keys", "mock: exit 9").await.unwrap();
    kit.github.clear_faults();
    let task = kit.succeed(&id).await;
    assert_eq!(task.issue.title, "The greeting has a hole");
    assert_eq!(kit.only_pull().title, "The greeting has a hole");
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_has_an_open_pull_request_is_adopted() {
    let kit = Plan::silent().start().await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let commit = kit.push(&id).await;
    let number = kit.open_pull(BOB, &id.branch(), "By hand").await;
    kit.report_success(&task, &commit).await.expect(200);
    let task = kit.ended(&id).await;
    assert_eq!(
        (task.status, task.pr_number),
        (Status::Success, i64::try_from(number).ok().map(IssueNumber::new))
    );
    assert_eq!(kit.only_pull().title, "By hand");
    says(&kit, issue, &task, &[&format!("pull request #{number}")]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_of_the_app_is_explained() {
    let mut kit = Plan::silent().prepare().await;
    kit.github.set_app_permission("pull_requests", Some(Access::Read));
    kit.start_porter().await;
    kit.sign_in(ADA).await;
    let (issue, task) = kit.at_work().await;
    let id = task.id.clone();
    let commit = kit.push(&id).await;
    kit.report_success(&task, &commit).await.expect(200);
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Pr)));
    says(&kit, issue, &task, &["Pull requests: read and write", &id.branch()]);

    kit.github.set_app_permission("pull_requests", Some(Access::Write));
    kit.github.set_app_permission("contents", None);
    let (issue, task) = ends_with(&kit, "@porter mock").await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    says(&kit, issue, &task, &["Check the App's permissions"]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_draft_support_the_pull_request_is_not_a_draft() {
    let kit = Plan::silent().start().await;
    kit.github.allow_drafts(REPO, false).unwrap();
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let task = kit.succeed(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    assert!(!kit.only_pull().draft);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_an_hour_at_launch_fails_the_task_with_an_explanation() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.inject(
        Fault::before(reqwest::Method::GET, format!("/repos/{REPO}/collaborators"), Effect::Status(502))
            .always(),
    );
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.task_when(&id, "it is admitted", |task| task.status == Status::Running).await;
    kit.clock.advance(TimeDelta::minutes(61));
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    says(&kit, issue, &task, &["tried for an hour", "@porter retry"]);
    kit.close().await;
}

/// Launches a task after `happens` and returns it when it has ended.
async fn launched_after(kit: &Testkit, happens: impl Future<Output = ()>) -> Task {
    kit.github.inject(Fault::outage(Effect::Status(503)));
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    happens.await;
    kit.github.clear_faults();
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_the_app_fails_the_task_at_once() {
    let kit = Plan::silent().start().await;
    let taken_off = async { kit.github.uninstall("acme").await.unwrap() };
    let task = launched_after(&kit, taken_off).await;
    let message = task.attempt.error_message.unwrap_or_default();
    assert!(message.contains("no longer installed"), "{message}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inaccessible_repository_is_not_reported_as_a_missing_permission() {
    let kit = Plan::silent().start().await;
    let taken_out = async { kit.github.select_repositories("acme", &[]).await.unwrap() };
    let task = launched_after(&kit, taken_out).await;
    let message = task.attempt.error_message.unwrap_or_default();
    assert!(message.contains("cannot see this repository"), "{message}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_uses_the_current_default_branch_unless_one_was_requested() {
    let kit = Plan::silent().start().await;
    kit.github.commit(REPO, "feature", &[File::text("a.txt", "a\n")], "A").await.unwrap();
    let pull = kit.open_pull(BOB, "feature", "By hand").await;
    let id = kit.ask(pull, ADA, "@porter mock").await;
    assert_eq!(kit.working(&id).await.base_branch.as_deref(), Some("feature"));
    kit.fail(&id).await;
    let branch = format!("/repos/{REPO}/branches/feature");
    kit.github.inject(Fault::before(reqwest::Method::GET, branch, Effect::Status(404)).always());
    kit.post(ADA, &format!("/api/tasks/{id}/retry"), &json!({})).await.expect(202);
    let task = kit.task_when(&id, "it is launched or refused", |task| {
        task.attempt.number == 2 && (task.attempt.machine_id.is_some() || task.status.is_terminal())
    });
    let task = task.await;
    assert_eq!(task.attempt.error_message, None);
    kit.fail(&id).await;
    kit.status_comment(pull, &id);
    kit.close().await;
}
