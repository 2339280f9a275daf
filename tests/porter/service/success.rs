//! A comment leads to a pull request, with the real worker.

use crate::testkit::{ADA, Plan, REPO};
use domain::task::Status;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_becomes_a_pull_request() {
    let kit = Plan::real().start().await;
    let issue = kit.issue().await;
    kit.github.add_label(REPO, issue, "bug").unwrap();
    let id = kit.ask(issue, ADA, "@porter mock --priority=high Make ./test.sh pass.").await;
    let task = kit.ended(&id).await;
    assert_eq!(task.status, Status::Success, "{task:#?}");

    let pull = kit.only_pull();
    assert_eq!((pull.title.as_str(), pull.draft, pull.open), ("The greeting has a hole", true, true));
    assert_eq!((pull.head, pull.base.as_str()), (id.branch(), "main"));
    assert_eq!((pull.author.as_str(), pull.reviewers), ("porter[bot]", vec!["ada".to_owned()]));
    assert!(pull.body.starts_with(&format!("Closes #{issue}\n")), "{}", pull.body);
    assert!(pull.body.contains("Mock Agent") && pull.body.contains(id.as_str()), "{}", pull.body);
    let diff = kit.github.diff(REPO, pull.number).await.unwrap();
    assert!(diff.contains("${1:-world}"), "{diff}");

    let messages = kit.github.commit_messages(REPO, "main", &id.branch()).await.unwrap();
    assert!(messages[0].starts_with("The greeting has a hole\n"), "{messages:?}");

    let comment = kit.status_comment(issue, &id);
    assert!(!comment.edits.is_empty(), "the comment was not edited in place");
    assert!(comment.edits[0].contains("Queued") || comment.edits[0].contains("Starting"), "{comment:#?}");
    let wanted = [
        "✅ **Mock Agent is done:**".to_owned(),
        format!("[pull request #{}]({}/{REPO}/pull/{})", pull.number, kit.github.web_url(), pull.number),
        "greet.sh now greets the world".to_owned(),
        format!("- Branch: `{}`", id.branch()),
        format!("- Commit: `{}`", &task.attempt.commit_sha.as_deref().unwrap()[..10]),
        "- Tokens: ".to_owned(),
        "- Cost: $0".to_owned(),
        "- Time: ".to_owned(),
        format!("[Task page]({}/tasks/{id})", kit.url),
    ];
    for part in wanted {
        assert!(comment.body.contains(&part), "{part:?} is missing in {}", comment.body);
    }
    let marker = comment.body.lines().last().unwrap();
    let json = marker.strip_prefix("<!-- porter:").and_then(|rest| rest.strip_suffix(" -->"));
    let json: Value = serde_json::from_str(json.expect("the marker")).expect("JSON");
    assert_eq!((json["taskId"].as_str(), json["status"].as_str()), (Some(id.as_str()), Some("success")));
    assert_eq!((json["attempt"].as_u64(), json["prNumber"].as_u64()), (Some(1), Some(pull.number)));

    let labels = ["bug", "porter:agent:mock", "porter:priority:high", "porter:success", "porter:task"];
    assert_eq!(kit.labels(issue), labels);
    let asked = kit.github.comments(REPO, issue)[0].clone();
    let reactions: Vec<_> = asked.reactions.iter().map(|reaction| reaction.content.as_str()).collect();
    assert_eq!(reactions, ["eyes"]);
    kit.close().await;
}
