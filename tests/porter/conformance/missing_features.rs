//! Failures of optional GitHub features (reactions, labels, reviewers, redelivery) do not prevent a pull request.

use domain::task::Status;
use porter::tasks::redelivery;
use reqwest::Method;
use standin::{Effect, Fault};

use domain::ids::IssueNumber;

use crate::testkit::{ADA, Plan, REPO, TEST_TIMEOUT, Testkit};

/// Makes all calls fail whose failure must not lose work.
fn take_away(kit: &Testkit, issue: u64, effect: Effect) {
    let repository = format!("/repos/{REPO}");
    for (method, path) in [
        (Method::POST, format!("{repository}/issues/comments/")),
        (Method::GET, format!("{repository}/issues/{issue}/labels")),
        (Method::POST, format!("{repository}/issues/{issue}/labels")),
        (Method::POST, format!("{repository}/pulls/{}/requested_reviewers", issue + 1)),
        (Method::POST, format!("{repository}/issues/{}/assignees", issue + 1)),
        (Method::GET, format!("{repository}/contents/")),
        (Method::GET, "/app/hook/deliveries".to_owned()),
        (Method::DELETE, "/installation/token".to_owned()),
    ] {
        kit.github.inject(Fault::before(method, path, effect).always());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_needs_only_the_essential_github_calls() {
    for status in [404, 501] {
        let kit = Plan::real().start().await;
        let issue = kit.issue().await;
        take_away(&kit, issue, Effect::Status(status));
        let id = kit.ask(issue, ADA, "@porter mock Make ./test.sh pass.").await;
        let task = kit.ended(&id).await;
        assert_eq!(task.status, Status::Success, "with status {status}: {task:#?}");
        assert!(kit.only_pull().open);
        assert!(kit.status_comment(issue, &id).body.contains("is done"));
        assert_eq!(redelivery::sweep(kit.porter(), None).await.expect("a sweep").asked, 0);
        kit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_does_not_wait_for_a_failing_review_request() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let reviewers = format!("/repos/{REPO}/pulls/{}/requested_reviewers", issue + 1);
    kit.github.inject(Fault::before(Method::POST, reviewers, Effect::Status(500)).always());
    let id = kit.ask(issue, ADA, "@porter mock Make ./test.sh pass.").await;
    let task = kit.task_when(&id, "it has ended", |task| task.status.is_terminal()).await;
    assert_eq!(
        (task.status, task.pr_number),
        (Status::Success, i64::try_from(issue + 1).ok().map(IssueNumber::new))
    );
    assert!(kit.only_pull().reviewers.is_empty());

    kit.github.clear_faults();
    kit.drained().await;
    assert_eq!(kit.only_pull().reviewers, ["ada"], "requested once GitHub accepts it");
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_reaction_does_not_delay_the_status_comment() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let reactions = format!("/repos/{REPO}/issues/comments/");
    kit.github.inject(Fault::before(Method::POST, reactions, Effect::Status(500)).always());
    let id = kit.ask(issue, ADA, "@porter mock Make ./test.sh pass.").await;
    let done = |all: &standin::GithubState| {
        let mut comments = all.comments(REPO, issue).into_iter();
        comments.any(|comment| comment.author == "porter[bot]" && comment.body.contains("is done"))
    };
    kit.github.wait_until(done, TEST_TIMEOUT).await.expect("a status comment of the success");

    kit.github.clear_faults();
    assert_eq!(kit.ended(&id).await.status, Status::Success);
    let asked = kit.github.comments(REPO, issue)[0].clone();
    let reactions: Vec<_> = asked.reactions.iter().map(|reaction| reaction.content.as_str()).collect();
    assert_eq!(reactions, ["eyes"], "added once GitHub accepts it");
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_delivery_does_not_prevent_the_redelivery_of_others() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let receiver = format!("{}/api/webhooks/github", kit.url);
    kit.github.set_webhook_url(format!("{}/nowhere", kit.url));
    for _ in 0..2 {
        kit.say(issue, ADA, "@porter help").await;
    }
    kit.github.set_webhook_url(receiver);
    let mut lost = kit.github.deliveries();
    lost.retain(|delivery| delivery.event == "issue_comment" && delivery.status == Some(404));
    assert_eq!(lost.len(), 2, "{lost:#?}");
    // The first of the two redelivery requests fails, whichever delivery it is for.
    kit.github.inject(Fault::before(Method::POST, "/app/hook/deliveries/", Effect::Status(404)));
    assert_eq!(redelivery::sweep(kit.porter(), None).await.expect("a sweep").asked, 1);
    let answered = |kit: &standin::GithubState| {
        let comments = kit.comments(REPO, issue);
        comments.into_iter().find(|comment| comment.author == "porter[bot]")
    };
    let one = |kit: &standin::GithubState| answered(kit).is_some();
    kit.github.wait_until(one, TEST_TIMEOUT).await.expect("the other is answered");
    let body = kit.github.read(answered).expect("an answer").body;
    let about = |id: u64| body.contains(&format!("\"comment\":{id},"));
    let mut ids = lost.iter().filter_map(|delivery| delivery.comment_id);
    let answered = ids.find(|id| about(*id)).expect("an answer to one of the two");
    kit.answer_to(issue, answered).await;
    kit.close().await;
}
