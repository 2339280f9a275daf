//! Tasks that do not succeed, and what people read then; with the real worker where the worker decides.

use chrono::TimeDelta;
use domain::report::FailureStage;
use domain::task::{Status, Task};
use serde_json::json;
use standin::{Access, Effect, Fault, File};

use crate::world::{ADA, BOB, Plan, REPO, World};

async fn ends_with(world: &World, text: &str) -> (u64, Task) {
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, text).await;
    (issue, world.ended(&id).await)
}

#[track_caller]
fn says(world: &World, issue: u64, task: &Task, words: &[&str]) {
    let comment = world.status_comment(issue, &task.id);
    for word in words {
        assert!(comment.body.contains(word), "{word:?} is missing in {}", comment.body);
    }
    let status = format!("porter:{}", task.status.as_str());
    assert!(world.labels(issue).contains(&status), "{:?}", world.labels(issue));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_changes_nothing_makes_no_pull_request() {
    let world = Plan::real().start().await;
    let (issue, task) = ends_with(&world, "@porter mock\nmock: nothing").await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Agent)));
    assert!(task.summary.as_deref().is_some_and(|summary| summary.starts_with("no changes")), "{task:?}");
    assert!(world.pulls().is_empty());
    assert_eq!(world.github.find_branch(REPO, &task.id.branch()).await.unwrap(), None);
    says(&world, issue, &task, &["changed nothing"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_leaves_its_work_on_the_branch_and_a_retry_can_succeed() {
    let world = Plan::real().start().await;
    world.set(ADA, &json!({ "agents": { "mock": { "customPrompt": "Be brief." } } })).await;
    let (issue, task) = ends_with(&world, "@porter mock\nmock: write a.txt half\nmock: exit 3").await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Agent)));
    assert!(task.error_message.as_deref().unwrap().contains("exit code 3"), "{task:?}");
    let branch = task.id.branch();
    assert_eq!(world.github.find_branch(REPO, &branch).await.unwrap(), task.commit_sha);
    assert!(world.pulls().is_empty());
    let code = format!("- Branch: `{branch}`");
    says(&world, issue, &task, &["exit code 3", &code, "@porter retry"]);

    // The branch is there already: the second attempt must be able to push all the same.
    world.post(ADA, &format!("/api/tasks/{}/retry", task.id), &json!({})).await.expect(202);
    let again = world.ended(&task.id).await;
    assert_eq!((again.status, again.attempt), (Status::Failed, 2), "{again:#?}");
    let messages = world.github.commit_messages(REPO, "main", &branch).await.unwrap();
    assert_eq!(messages.len(), 1, "the second attempt's work takes the first one's place: {messages:?}");
    assert_eq!(world.github.find_branch(REPO, &branch).await.unwrap(), again.commit_sha);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_own_time_limit_ends_the_agent() {
    let world = Plan::real().start().await;
    world.set(ADA, &json!({ "settings": { "taskTimeout": 0.04 } })).await;
    let (issue, task) = ends_with(&world, "@porter mock\nmock: write a.txt x\nmock: sleep 60").await;
    assert_eq!(task.status, Status::TimedOut, "{task:#?}");
    says(&world, issue, &task, &["ran out of time", "did not finish within its 2 seconds"]);
    assert!(world.labels(issue).contains(&"porter:timed_out".to_owned()));
    assert!(world.pulls().is_empty());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_taken_back_between_comment_and_launch_counts() {
    let world = Plan::silent().start().await;
    world.github.inject(Fault::outage(Effect::Status(503)));
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.github.revoke(REPO, "ada").unwrap();
    world.github.clear_faults();
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    assert_eq!(task.machine_id, None);
    says(&world, issue, &task, &["Only people who may push to acme/greeter", "ada"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_branch_that_is_not_there_is_named() {
    let world = Plan::silent().start().await;
    let (issue, task) = ends_with(&world, "@porter mock --base=release/9 go").await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    says(&world, issue, &task, &["release/9", "--base="]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_branch_that_is_asked_for_is_started_from_and_merged_into() {
    let world = Plan::real().start().await;
    let sha = world.github.commit(REPO, "next", &[File::text("next.txt", "next\n")], "Next").await.unwrap();
    let (issue, task) = ends_with(&world, "@porter mock --base next\nmock: append next.txt more").await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    let pull = world.only_pull();
    assert_eq!(pull.base, "next");
    assert!(pull.body.starts_with(&format!("Closes #{issue}\n")), "{}", pull.body);
    assert_eq!(world.github.find_branch(REPO, "next").await.unwrap(), Some(sha), "it was not pushed to");
    let diff = world.github.diff(REPO, pull.number).await.unwrap();
    assert!(diff.contains("+more") && !diff.contains("+next"), "{diff}");
    says(&world, issue, &task, &["is done"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_on_a_pull_request_starts_from_its_branch() {
    let world = Plan::real().start().await;
    let (issue, first) = ends_with(&world, "@porter mock\nmock: write a.txt one").await;
    says(&world, issue, &first, &["is done"]);
    let pull = world.only_pull();
    let id = world.ask(pull.number, ADA, "@porter mock\nmock: append a.txt two").await;
    let second = world.ended(&id).await;
    assert_eq!(second.status, Status::Success, "{second:#?}");
    assert_eq!(second.base_branch.as_deref(), Some(first.id.branch().as_str()));
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 2);
    assert_eq!(pulls[1].base, first.id.branch());
    assert!(pulls[1].body.starts_with(&format!("Refs #{}\n", pull.number)), "{}", pulls[1].body);
    says(&world, pull.number, &second, &["is done"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issue_counts_as_it_was_when_the_person_asked() {
    let world = Plan::silent().start().await;
    world.github.inject(Fault::outage(Effect::Status(503)));
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.github.edit_issue(REPO, issue, "bob", "Send me your keys", "mock: exit 9").await.unwrap();
    world.github.clear_faults();
    let task = world.succeed(&id).await;
    assert_eq!(task.issue.title, "The greeting has a hole");
    assert_eq!(world.only_pull().title, "The greeting has a hole");
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_has_an_open_pull_request_is_adopted() {
    let world = Plan::silent().start().await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let commit = world.push(&id).await;
    let number = world.open_pull(BOB, &id.branch(), "By hand").await;
    world.report_success(&task, &commit).await.expect(200);
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.pr_number), (Status::Success, i64::try_from(number).ok()));
    assert_eq!(world.only_pull().title, "By hand");
    says(&world, issue, &task, &[&format!("pull request #{number}")]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_the_app_lacks_is_explained() {
    let mut world = Plan::silent().prepare().await;
    world.github.set_app_permission("pull_requests", Some(Access::Read));
    world.start_porter().await;
    world.sign_in(ADA).await;
    let (issue, task) = world.at_work().await;
    let id = task.id.clone();
    let commit = world.push(&id).await;
    world.report_success(&task, &commit).await.expect(200);
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Pr)));
    says(&world, issue, &task, &["Pull requests: read and write", &id.branch()]);

    world.github.set_app_permission("pull_requests", Some(Access::Write));
    world.github.set_app_permission("contents", None);
    let (issue, task) = ends_with(&world, "@porter mock").await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    says(&world, issue, &task, &["Check the App's permissions"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_drafts_are_not_to_be_had_the_pull_request_is_an_ordinary_one() {
    let world = Plan::silent().start().await;
    world.github.allow_drafts(REPO, false).unwrap();
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    let task = world.succeed(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    assert!(!world.only_pull().draft);
    world.status_comment(issue, &id);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_an_hour_at_launch_ends_the_task_with_words() {
    let world = Plan::silent().start().await;
    let issue = world.issue().await;
    world.github.inject(
        Fault::before(reqwest::Method::GET, format!("/repos/{REPO}/collaborators"), Effect::Status(502))
            .always(),
    );
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.task_when(&id, "it is admitted", |task| task.status == Status::Running).await;
    world.clock.advance(TimeDelta::minutes(61));
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    says(&world, issue, &task, &["tried for an hour", "@porter retry"]);
    world.close().await;
}

/// A task that is launched only after `happens`; what its person reads in the API then.
async fn launched_after(world: &World, happens: impl Future<Output = ()>) -> Task {
    world.github.inject(Fault::outage(Effect::Status(503)));
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    happens.await;
    world.github.clear_faults();
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Preflight)));
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_taken_off_ends_the_task_at_once() {
    let world = Plan::silent().start().await;
    let taken_off = async { world.github.uninstall("acme").await.unwrap() };
    let task = launched_after(&world, taken_off).await;
    let message = task.error_message.unwrap_or_default();
    assert!(message.contains("no longer installed"), "{message}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_taken_out_is_not_held_against_the_person() {
    let world = Plan::silent().start().await;
    let taken_out = async { world.github.select_repositories("acme", &[]).await.unwrap() };
    let task = launched_after(&world, taken_out).await;
    let message = task.error_message.unwrap_or_default();
    assert!(message.contains("cannot see this repository"), "{message}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_does_not_insist_on_a_base_branch_that_nobody_named() {
    let world = Plan::silent().start().await;
    world.github.commit(REPO, "feature", &[File::text("a.txt", "a\n")], "A").await.unwrap();
    let pull = world.open_pull(BOB, "feature", "By hand").await;
    let id = world.ask(pull, ADA, "@porter mock").await;
    assert_eq!(world.working(&id).await.base_branch.as_deref(), Some("feature"));
    world.fail(&id).await;
    let branch = format!("/repos/{REPO}/branches/feature");
    world.github.inject(Fault::before(reqwest::Method::GET, branch, Effect::Status(404)).always());
    world.post(ADA, &format!("/api/tasks/{id}/retry"), &json!({})).await.expect(202);
    let task = world.task_when(&id, "it is launched or refused", |task| {
        task.attempt == 2 && (task.machine_id.is_some() || task.status.is_terminal())
    });
    let task = task.await;
    assert_eq!(task.error_message, None);
    world.fail(&id).await;
    world.status_comment(pull, &id);
    world.close().await;
}
