//! Every request that Porter sends conforms to GitHub's API description.

use std::collections::BTreeSet;

use domain::task::{Status, TaskId};
use porter::tasks::redelivery;
use serde_json::{Value, json};

use super::description;
use crate::testkit::{ADA, CAROL, EVE, Plan, REPO, Testkit, people};

/// Returns Porter's requests to the REST API, without those to pages and git.
fn calls(kit: &Testkit) -> Vec<standin::Request> {
    let mut calls = kit.github.requests();
    calls.retain(|call| !call.path.contains(".git/"));
    calls
}

/// Reads each of Porter's comments, because the closing step requires it. The texts are not checked here.
async fn read_all(kit: &Testkit) {
    for number in 1..=40 {
        for comment in kit.github.comments(REPO, number) {
            let marker = comment.body.lines().last().and_then(|line| line.strip_prefix("<!-- porter:"));
            let Some(marker) = marker.and_then(|line| line.strip_suffix(" -->")) else { continue };
            let marker: Value = serde_json::from_str(marker).expect("JSON in the marker");
            if let Some(id) = marker["taskId"].as_str().and_then(TaskId::parse) {
                kit.status_comment(number, &id);
            }
            if let Some(about) = marker["comment"].as_u64() {
                kit.answer_to(number, about).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_conforms_to_githubs_description() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    let done = kit.ask(issue, ADA, "@porter mock --priority=high Make ./test.sh pass.").await;
    assert_eq!(kit.ended(&done).await.status, Status::Success);

    // An attempt without changes, then a retry with changes.
    let other = kit.issue().await;
    let barren = kit.ask(other, ADA, "@porter mock\nmock: nothing").await;
    assert_eq!(kit.ended(&barren).await.status, Status::Failed);
    for word in ["@porter retry", "@porter status", "@porter help", "@porter stop"] {
        let delivery = kit.say(other, ADA, word).await;
        kit.drained().await;
        kit.answer_to(other, people::comment_of(&delivery)).await;
    }

    // On a pull request, based on its branch; then with an existing and a missing base branch.
    let pull = kit.pulls()[0].number;
    let follow_up = kit.ask(pull, ADA, "@porter mock\nmock: write more.txt more").await;
    assert_eq!(kit.ended(&follow_up).await.status, Status::Success);
    let third = kit.issue().await;
    let based = format!("@porter mock --base={}\nmock: write again.txt again", done.branch());
    assert_eq!(kit.ended(&kit.ask(third, ADA, &based).await).await.status, Status::Success);
    let nowhere = kit.ask(third, ADA, "@porter mock --base=nowhere do it").await;
    assert_eq!(kit.ended(&nowhere).await.status, Status::Failed);

    // Stopped by a command while the agent works, and by closing the issue.
    for ending in ["stop", "close"] {
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter mock\nmock: sleep 30").await;
        kit.working(&id).await;
        match ending {
            "stop" => drop(kit.say(issue, ADA, "@porter stop").await),
            _ => drop(kit.github.close_issue(REPO, issue, ADA.login).await.unwrap()),
        }
        assert_eq!(kit.ended(&id).await.status, Status::Failed, "after {ending}");
    }

    // Rejected mentions, and tasks created through the API.
    kit.say(third, EVE, "@porter status").await;
    kit.say(third, CAROL, "@porter mock do it").await;
    let new = json!({"repoOwner": "acme", "repoName": "greeter", "agent": "mock", "prompt": "Do it\nnow"});
    kit.post(ADA, "/api/tasks", &new).await.expect(201);
    kit.drained().await;

    // Redelivery of failed deliveries.
    redelivery::sweep(kit.porter(), None).await.expect("a sweep");
    kit.drained().await;

    let calls = calls(&kit);
    let wrong: Vec<String> = calls
        .iter()
        .map(|call| (call, description::problems(call)))
        .filter(|(_, problems)| !problems.is_empty())
        .map(|(call, problems)| format!("{} {}?{}: {problems:?}", call.method, call.path, call.query))
        .collect();
    assert!(wrong.is_empty(), "requests that do not conform to GitHub's description: {wrong:#?}");
    let made: BTreeSet<&str> = calls.iter().filter_map(description::operation).collect();
    let wanted = [
        "apps/create-installation-access-token",
        "apps/get-repo-installation",
        "apps/list-webhook-deliveries",
        "apps/revoke-installation-access-token",
        "issues/add-labels",
        "issues/create",
        "issues/create-comment",
        "issues/list-labels-on-issue",
        "issues/remove-label",
        "issues/update-comment",
        "pulls/create",
        "pulls/get",
        "pulls/list",
        "pulls/request-reviewers",
        "reactions/create-for-issue-comment",
        "repos/get",
        "repos/get-branch",
        "repos/get-collaborator-permission-level",
        "repos/get-content",
    ];
    let unproven: Vec<&str> = wanted.into_iter().filter(|wanted| !made.contains(wanted)).collect();
    assert!(unproven.is_empty(), "expected calls of {unproven:?}, seen only {made:#?}");
    read_all(&kit).await;
    kit.close().await;
}
