//! Porter is killed while it waits for a response: the other side has performed the call, but Porter has not
//! received the result. After the restart the outcome must be the same as without the crash.

use axum::http::Method;
use standin::{Effect, Fault, GithubState};

use super::machines::Conduct;
use super::stage::Stage;
use super::verdict::Request;
use super::{LIMIT, porter::eventually};
use crate::fake_fly::{Call, Fault as FlyFault};

/// Kills Porter while it waits for the response to such a call, after `passed` calls that succeed. `done` returns
/// whether the call has taken effect.
async fn killed_after(
    method: Method,
    path: impl Fn(&Request) -> String,
    passed: u32,
    done: impl Fn(&GithubState, &Request) -> bool,
) {
    let (stage, asked) = Stage::small(Conduct::Reports).await;
    let path = path(&asked);
    stage.github.inject(Fault::after(method.clone(), path.as_str(), Effect::Hang).skipping(passed));
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    let frozen = |kit: &GithubState| {
        let hangs = kit.requests().iter().any(|request| {
            request.method == method.as_str() && request.path.starts_with(&path) && request.status.is_none()
        });
        hangs && done(kit, &asked)
    };
    stage.github.wait_until(frozen, LIMIT).await.expect("Porter waits for the response");
    porter.kill();
    stage.github.clear_faults();
    let porter = stage.porter.start_ready().await;
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}

fn issue(asked: &Request, what: &str) -> String {
    format!("/repos/{}/issues/{}/{what}", asked.repository, asked.issue)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_comment_created_before_a_crash_is_the_only_one() {
    let done = |kit: &GithubState, asked: &Request| kit.comments(&asked.repository, asked.issue).len() == 2;
    killed_after(Method::POST, |asked| issue(asked, "comments"), 0, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_opened_before_a_crash_is_the_only_one() {
    let done = |kit: &GithubState, asked: &Request| !kit.pull_requests(&asked.repository).is_empty();
    killed_after(Method::POST, |asked| format!("/repos/{}/pulls", asked.repository), 0, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_added_before_a_crash_are_correct_at_the_end() {
    let done = |kit: &GithubState, asked: &Request| {
        kit.labels(&asked.repository, asked.issue).iter().any(|label| label.starts_with("porter:"))
    };
    killed_after(Method::POST, |asked| issue(asked, "labels"), 0, done).await;
    killed_after(Method::POST, |asked| issue(asked, "labels"), 1, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_requested_before_a_crash_does_not_block_the_task() {
    let done = |kit: &GithubState, asked: &Request| {
        kit.pull_requests(&asked.repository).iter().any(|pull| !pull.reviewers.is_empty())
    };
    killed_after(Method::POST, |asked| format!("/repos/{}/pulls/", asked.repository), 0, done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_revoked_before_a_crash_does_not_block_the_cleanup() {
    killed_after(Method::DELETE, |_| "/installation/token".to_owned(), 0, |_, _| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_issued_before_a_crash_is_not_left_valid() {
    for passed in 0..2 {
        killed_after(Method::POST, |_| "/app/installations/".to_owned(), passed, |_, _| true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_created_before_a_crash_is_the_only_one() {
    let (stage, asked) = Stage::small(Conduct::Waits).await;
    stage.fly.next(1, Call::Create, FlyFault::SilenceAfterEffect);
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    eventually("a machine is created", LIMIT, async || !stage.fly.living().is_empty()).await;
    porter.kill();
    let porter = stage.porter.start_ready().await;
    let adopted = |kit: &GithubState| {
        kit.comments(&asked.repository, asked.issue)
            .iter()
            .any(|comment| comment.body.contains("is working on this"))
    };
    stage.github.wait_until(adopted, LIMIT).await.expect("the machine is known");
    stage.machines.go_on();
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    assert_eq!(stage.fly.machines().len(), 1, "expected one machine");
    stage.close(porter, &[asked]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_created_while_its_task_is_stopped_is_found_and_destroyed() {
    let (stage, mut asked) = Stage::small(Conduct::Waits).await;
    stage.fly.next(1, Call::Create, FlyFault::SilenceAfterEffect);
    // No list shows the machine while the attempt is cleaned up.
    stage.fly.lag(2);
    let mut porter = stage.porter.start_ready().await;
    stage.speak(&asked).await;
    eventually("a machine is created", LIMIT, async || !stage.fly.living().is_empty()).await;
    let closed = stage.github.close_issue(&asked.repository, asked.issue, &stage.people[0]).await;
    assert!(
        closed.expect("an issue").is_some_and(|delivery| delivery.succeeded()),
        "Porter accepted the delivery of the closed issue"
    );
    asked.conduct = Conduct::Fails;
    porter.kill();
    let porter = stage.porter.start_ready().await;
    stage.settle(&porter, std::slice::from_ref(&asked)).await;
    stage.close(porter, &[asked]).await;
}
