//! Faults of GitHub: lost responses, rate limits and outages. Every effect must exist exactly once.

use std::time::Duration;

use chrono::TimeDelta;
use domain::task::{Phase, Status, TaskId};
use reqwest::Method;
use standin::{Effect, Fault};

use crate::testkit::people::comment_of;
use crate::testkit::{ADA, Plan, REPO, Testkit};

/// Runs one task under this fault. It must succeed as without the fault.
async fn succeeds_under(fault: Fault) -> (Testkit, u64, TaskId) {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.inject(fault);
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let task = kit.succeed_however_long(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    let pull = kit.only_pull();
    assert_eq!((pull.head, pull.reviewers), (id.branch(), vec!["ada".to_owned()]));
    let labels = ["porter:agent:mock", "porter:priority:normal", "porter:success", "porter:task"];
    assert_eq!(kit.labels(issue), labels);
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("is done"), "{}", comment.body);
    (kit, issue, id)
}

fn path(rest: &str) -> String {
    format!("/repos/{REPO}/{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_does_not_duplicate_the_pull_request() {
    for effect in [Effect::Status(502), Effect::Drop] {
        let fault = Fault::after(Method::POST, path("pulls"), effect);
        let (kit, ..) = succeeds_under(fault).await;
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_does_not_duplicate_the_status_comment() {
    for effect in [Effect::Status(502), Effect::Drop] {
        let fault = Fault::after(Method::POST, path("issues/1/comments"), effect).times(1);
        let (kit, ..) = succeeds_under(fault).await;
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_does_not_duplicate_a_reply() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.inject(Fault::after(Method::POST, path("issues/1/comments"), Effect::Status(502)).times(2));
    let refusal = kit.say(issue, ADA, "@porter claude").await;
    let help = kit.say(issue, ADA, "@porter help").await;
    kit.drained().await;
    for delivery in [refusal, help] {
        kit.answer_to(issue, comment_of(&delivery)).await;
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_reviews_and_reactions_are_retried() {
    for (method, rest) in [
        (Method::POST, "issues/1/labels"),
        (Method::DELETE, "issues/1/labels"),
        (Method::POST, "pulls/2/requested_reviewers"),
        (Method::POST, "issues/comments"),
        (Method::PATCH, "issues/comments"),
    ] {
        for fault in [
            Fault::after(method.clone(), path(rest), Effect::Status(502)),
            Fault::before(method.clone(), path(rest), Effect::Status(503)),
        ] {
            let (kit, ..) = succeeds_under(fault).await;
            kit.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_sent_during_a_rate_limit() {
    for effect in [
        Effect::PrimaryLimit(TimeDelta::seconds(100)),
        Effect::SecondaryLimit(100),
        Effect::TooManyRequests(100),
    ] {
        let kit = Plan::silent().start().await;
        let issue = kit.issue().await;
        kit.github.inject(Fault::before(Method::POST, path("issues/1/comments"), effect));
        let id = kit.ask(issue, ADA, "@porter mock").await;
        kit.backlog_when("all pending jobs wait", |all| all.pending > 0 && all.pending == all.retrying).await;
        let limited = |kit: &standin::GithubState| {
            kit.requests().iter().filter(|request| matches!(request.status, Some(403 | 429))).count()
        };
        let before = kit.github.requests().len();
        kit.clock.advance(TimeDelta::seconds(50));
        porter::tasks::watch::look(kit.porter()).await.unwrap();
        porter::jobs::run_due(kit.porter()).await.unwrap();
        assert_eq!(kit.github.requests().len(), before, "a request was sent during the rate limit");
        assert_eq!(kit.github.read(limited), 1);
        kit.clock.advance(TimeDelta::seconds(60));
        kit.porter().store().wake_engine();
        let task = kit.succeed(&id).await;
        assert_eq!(task.status, Status::Success, "{task:#?}");
        assert_eq!(kit.github.read(limited), 1, "expected one rate-limited request");
        kit.status_comment(issue, &id);
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_succeeds_after_an_outage() {
    let kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.inject(Fault::outage(Effect::Drop));
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.task_when(&id, "it is admitted", |task| task.phase == Some(Phase::Launching)).await;
    let failed = |kit: &standin::GithubState| kit.requests().len() > 3;
    kit.github.wait_until(failed, Duration::from_secs(20)).await.unwrap();
    kit.github.clear_faults();
    let task = kit.succeed_however_long(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_leave_one_comment_and_one_pull_request_for_each_task() {
    for seed in [1, 2, 3] {
        let kit = Plan::silent().start().await;
        let mut tasks = Vec::new();
        kit.github.inject_chaos(seed, 150);
        for _ in 0..4 {
            let issue = kit.issue().await;
            tasks.push((issue, kit.ask(issue, ADA, "@porter mock").await));
        }
        for (_, id) in &tasks {
            let task = kit.succeed_however_long(id).await;
            assert_eq!(task.status, Status::Success, "seed {seed}: {task:#?}");
        }
        kit.github.clear_faults();
        kit.drained().await;
        for (issue, id) in &tasks {
            let comment = kit.status_comment(*issue, id);
            assert!(comment.body.contains("is done"), "seed {seed}: {}", comment.body);
            let pulls = kit.pulls().into_iter().filter(|pull| pull.head == id.branch()).count();
            assert_eq!(pulls, 1, "seed {seed}: pull requests of {id}");
            let labels = ["porter:agent:mock", "porter:priority:normal", "porter:success", "porter:task"];
            assert_eq!(kit.labels(*issue), labels, "seed {seed}");
        }
        kit.close().await;
    }
}
