//! Tests of pull requests and labels.

use super::*;

pub(super) const PULL: PullContext<'_> =
    PullContext { task_url: CONTEXT.task_url, agent_name: CONTEXT.agent_name, recovered: false };

#[test]
fn a_pull_request_names_its_issue_its_requester_and_its_agent() {
    assert_snapshot!(pull_body(&succeeded(), &PULL), @r#"
    Closes #42

    @ada asked for this; **Claude Code** wrote it. Please review it as you would anyone's work.

    Claude Code says:

    > Fixed the session check.
    >
    > - `login.rs`: compare *after* trimming
    > - a test for it

    [Task `task_0193`](https://porter.example/tasks/task_0193), by Porter
    "#);
    let hostile = with_attempt(Task { model: Some("opus".into()), ..succeeded() }, |attempt| Attempt {
        summary: Some(HOSTILE.into()),
        ..attempt
    });
    assert_snapshot!(pull_body(&hostile, &PULL), @r#"
    Closes #42

    @ada asked for this; **Claude Code** with `opus` wrote it. Please review it as you would anyone's work.

    Claude Code says:

    > Done, `@octocat`\!
    > Closes `#1`, see `https://evil.example`
    > x
    >
    > ```text
    > </details><script>
    > ```

    [Task `task_0193`](https://porter.example/tasks/task_0193), by Porter
    "#);
    let lost = Task { base_branch: Some("next".into()), ..succeeded() };
    let lost = with_attempt(lost, |attempt| Attempt { summary: None, ..attempt });
    assert_snapshot!(pull_body(&lost, &PullContext { recovered: true, ..PULL }), @r#"
    Closes #42

    @ada asked for this; **Claude Code** wrote it. Please review it as you would anyone's work.

    ⚠️ The machine pushed this branch, but its closing report never arrived. The work may be unfinished.

    [Task `task_0193`](https://porter.example/tasks/task_0193), by Porter
    "#);
}

#[test]
fn a_pull_request_closes_an_issue_for_any_base_and_never_a_pull_request() {
    let first_line = |task: &Task| pull_body(task, &PULL).lines().next().unwrap().to_owned();
    assert_eq!(first_line(&Task { base_branch: None, ..succeeded() }), "Closes #42");
    assert_eq!(first_line(&Task { base_branch: Some("next".into()), ..succeeded() }), "Closes #42");
    let mut on_pull_request = succeeded();
    on_pull_request.issue.is_pull_request = true;
    assert_eq!(first_line(&on_pull_request), "Refs #42");
}

#[test]
fn a_title_is_one_clean_line() {
    let titled = |title: &str| {
        let mut task = succeeded();
        task.issue.title = title.into();
        pull_title(&task)
    };
    assert_eq!(titled(" Login\u{202e} fails\n <!-- x --> again "), "Login fails again");
    assert_eq!(titled("\u{200b} "), "Work on #42");
    assert_eq!(titled(&"é".repeat(300)).chars().count(), 200);
}

#[test]
fn the_labels_name_status_agent_and_priority() {
    let long = Task { agent: "x".repeat(80), ..task(Status::TimedOut) };
    assert_eq!(
        labels(&task(Status::Queued)),
        ["porter:task", "porter:queued", "porter:agent:claude-code", "porter:priority:normal"]
    );
    for label in labels(&task(Status::Success)).into_iter().chain(labels(&long)) {
        assert!(label.chars().count() <= 50, "{label}");
    }
    for label in ["porter:success", "porter:priority:low", "Porter:Timed_Out"] {
        assert!(is_ours(label), "{label}");
    }
    // The last two labels may belong to another task.
    for label in [
        "bug",
        "porter",
        "porter:",
        "porter:later",
        "porter:priority:urgent",
        "x porter:task",
        "porter:task",
        "porter:agent:amp",
    ] {
        assert!(!is_ours(label), "{label}");
    }
}

#[test]
fn what_was_left_out_is_listed_in_the_pull_request_and_the_comment() {
    let mut task = succeeded();
    task.attempt.remarks = vec![Remark {
        code: "too_large".to_owned(),
        text: "`data.bin` is larger than 100 MiB and was left out, says @octocat.".to_owned(),
        paths: vec!["data.bin".to_owned()],
    }];
    for body in [pull_body(&task, &PULL), shown(&task)] {
        let expected = r"- \`data.bin\` is larger than 100 MiB and was left out, says `@octocat`.";
        assert!(
            body.contains(&format!("**Please note:**\n\n{expected}")),
            "expected {expected:?} in:\n{body}"
        );
    }
}
