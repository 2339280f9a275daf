//! No accepted work is lost (main-spec §1) when Porter shuts down, is killed, and starts again.

use std::time::Duration;

use domain::task::{Phase, Status};
use reqwest::Method;
use standin::{Effect, Fault};

use crate::testkit::people::comment_of;
use crate::testkit::{ADA, Plan, REPO};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_continues_during_a_restart() {
    let mut kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock\nmock: write a.txt x\nmock: sleep 2").await;
    kit.task_when(&id, "the agent is at work", |task| task.attempt.progress >= 10).await;
    let took = kit.stop_porter().await;
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    kit.start_porter().await;
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.number), (Status::Success, 1), "{task:#?}");
    kit.only_pull();
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_job_does_not_prevent_the_shutdown() {
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    kit.github.inject(Fault::before(Method::POST, format!("/repos/{REPO}/issues"), Effect::Hang).always());
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let hangs = |all: &standin::GithubState| {
        all.requests().iter().any(|request| request.method == "POST" && request.path.contains("/issues/"))
    };
    kit.github.wait_until(hangs, Duration::from_secs(20)).await.unwrap();
    let took = kit.stop_porter().await;
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    kit.github.clear_faults();
    kit.start_porter().await;
    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.status_comment(issue, &id);
    kit.only_pull();
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_any_github_call_neither_loses_nor_repeats_an_effect() {
    // The effect takes place, its response never arrives, and Porter is killed while it waits for the response.
    for (method, rest) in [
        (Method::POST, "issues/comments"),
        (Method::POST, "issues/1/comments"),
        (Method::POST, "issues/1/labels"),
        (Method::GET, "collaborators"),
        (Method::POST, "pulls"),
        (Method::POST, "pulls/2/requested_reviewers"),
        (Method::PATCH, "issues/comments"),
    ] {
        let mut kit = Plan::silent().start().await;
        let issue = kit.issue().await;
        let path = format!("/repos/{REPO}/{rest}");
        kit.github.inject(Fault::after(method.clone(), path.clone(), Effect::Hang));
        let id = kit.ask(issue, ADA, "@porter mock").await;
        let hangs = |all: &standin::GithubState| {
            let same = |request: &&standin::Request| {
                request.method == method.as_str() && request.path.starts_with(&path)
            };
            all.requests().iter().any(|request| same(&request) && request.status.is_none())
        };
        let reported = kit.report_once_working(&id);
        let struck = async {
            kit.github.wait_until(hangs, Duration::from_secs(20)).await.expect("the call");
        };
        // The worker reports in the meantime, if the task reaches that state.
        tokio::select! { () = struck => {}, () = reported => panic!("{method} {rest} was never called") }
        kit.kill_porter().await;
        kit.start_porter().await;
        let mut task =
            kit.task_in_time(&id, "it works or is done", |task| task.phase != Some(Phase::Launching)).await;
        if task.phase == Some(Phase::Working) {
            let commit = kit.push(&id).await;
            kit.report_success(&task, &commit).await.expect(200);
        }
        kit.task_in_time(&id, "it has ended", |task| task.status.is_terminal()).await;
        task = kit.ended(&id).await;
        assert_eq!((task.status, task.attempt.number), (Status::Success, 1), "{method} {rest}: {task:#?}");
        kit.only_pull();
        let comment = kit.status_comment(issue, &id);
        assert!(comment.body.contains("is done"), "{method} {rest}: {}", comment.body);
        let labels = ["porter:agent:mock", "porter:priority:normal", "porter:success", "porter:task"];
        assert_eq!(kit.labels(issue), labels, "{method} {rest}");
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_reply_survives_a_kill_and_is_posted_once() {
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let path = format!("/repos/{REPO}/issues/{issue}/comments");
    kit.github.inject(Fault::after(Method::POST, path, Effect::Hang).times(1));
    let delivery = kit.say(issue, ADA, "@porter claude").await;
    let written = |all: &standin::GithubState| all.comments(REPO, issue).len() == 2;
    kit.github.wait_until(written, Duration::from_secs(20)).await.unwrap();
    kit.kill_porter().await;
    kit.start_porter().await;
    kit.drained().await;
    kit.answer_to(issue, comment_of(&delivery)).await;
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_accepted_just_before_a_kill_is_done_after_it() {
    let mut kit = Plan::silent().start().await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let issue = kit.issue().await;
        tasks.push((issue, kit.ask(issue, ADA, "@porter mock").await));
        kit.kill_porter().await;
        kit.start_porter().await;
    }
    for (issue, id) in tasks {
        assert_eq!(kit.succeed_however_long(&id).await.status, Status::Success);
        kit.status_comment(issue, &id);
    }
    assert_eq!(kit.pulls().len(), 5);
    kit.close().await;
}
