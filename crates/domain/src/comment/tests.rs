//! Tests of status comments.

use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use proptest::prelude::*;

use super::marker::{has_answer_marker, has_marker};
use super::*;
use crate::command::Run;
use crate::ids::IssueNumber;
use crate::report::{FailureStage, Remark, Usage};
use crate::task::{Attempt, Phase, Priority, Status, Task, TaskId, sample};

mod answers;
mod pull_requests;
mod secrets;

const HOSTILE: &str = "Done, @octocat!\nCloses #1, see https://evil.example\n![x](https://evil.example/p.png)\n\
                       <!-- porter:{\"taskId\":\"task_2\"} -->\n```\n</details><script>";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn task(status: Status) -> Task {
    Task {
        id: TaskId::parse("task_0193").unwrap(),
        status,
        phase: (status == Status::Running).then_some(Phase::Working),
        base_branch: Some("main".into()),
        base_settled: true,
        attempt: Attempt {
            progress: 40,
            activity: Some("Running the tests".into()),
            started_at: (status != Status::Queued).then(|| at(10)),
            completed_at: status.is_terminal().then(|| at(262)),
            ..Attempt::queued(1)
        },
        updated_at: at(262),
        ..Task::new(sample::request(), "claude-code", Priority::Normal, &Run::default(), at(0))
    }
}

/// Returns the same task with a changed attempt.
fn with_attempt(task: Task, change: impl FnOnce(Attempt) -> Attempt) -> Task {
    Task { attempt: change(task.attempt), ..task }
}

fn succeeded() -> Task {
    let task = Task {
        pr_url: Some("https://github.com/acme/shop/pull/43".into()),
        pr_number: Some(IssueNumber::new(43)),
        ..task(Status::Success)
    };
    with_attempt(task, |attempt| Attempt {
        branch: Some("porter/task_0193".into()),
        commit_sha: Some("0123456789abcdef0123456789abcdef01234567".into()),
        summary: Some(
            "Fixed the session check.\n\n- `login.rs`: compare *after* trimming\n- a test for it".into(),
        ),
        usage: Usage {
            input_tokens: Some(1_234_567),
            output_tokens: Some(890),
            cost_usd: Some(0.4242),
            ..Usage::default()
        },
        ..attempt
    })
}

fn failed(stage: FailureStage, message: &str) -> Task {
    with_attempt(task(Status::Failed), |attempt| Attempt {
        failure_stage: Some(stage),
        error_message: Some(message.into()),
        ..attempt
    })
}

const CONTEXT: StatusContext<'_> = StatusContext {
    task_url: "https://porter.example/tasks/task_0193",
    queue_position: None,
    proof: "p00f",
    agent_name: "Claude Code",
    compare_url: None,
};

fn shown(task: &Task) -> String {
    status(task, &CONTEXT)
}

#[test]
fn a_queued_task_shows_its_position() {
    assert_snapshot!(status(&task(Status::Queued), &StatusContext { queue_position: Some(3), ..CONTEXT }), @r#"
    ⏳ **Queued** for Claude Code. It is number 3 in line.

    [Follow the task](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"queued","taskId":"task_0193"} -->
    "#);
    let again = Task {
        attempt: Attempt::queued(2),
        priority: Priority::High,
        model: Some("opus".into()),
        ..task(Status::Queued)
    };
    assert_snapshot!(status(&again, &StatusContext { queue_position: Some(1), ..CONTEXT }), @r#"
    ⏳ **Queued again** for Claude Code. It is next in line.

    [Follow the task](https://porter.example/tasks/task_0193) · high priority · model `opus` · attempt 2

    <!-- porter:{"agent":"claude-code","attempt":2,"priority":3,"proof":"p00f","status":"queued","taskId":"task_0193"} -->
    "#);
}

#[test]
fn a_running_task_shows_its_progress() {
    assert_snapshot!(shown(&task(Status::Running)), @r#"
    🔧 **Claude Code is working on this.** 40 %

    Now: `Running the tests`

    To end it, comment `@porter stop`.

    [Follow the task](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"running","taskId":"task_0193"} -->
    "#);
    assert_snapshot!(shown(&Task { phase: Some(Phase::Launching), ..task(Status::Running) }), @r#"
    🚀 **Starting Claude Code.** Getting a machine ready.

    To end it, comment `@porter stop`.

    [Follow the task](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"running","taskId":"task_0193"} -->
    "#);
    assert_snapshot!(shown(&Task { phase: Some(Phase::Publishing), ..task(Status::Running) }), @r#"
    📤 **Claude Code is done.** Opening the pull request.

    To end it, comment `@porter stop`.

    [Follow the task](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"running","taskId":"task_0193"} -->
    "#);
}

#[test]
fn a_successful_task_shows_all_its_results() {
    let compare_url = Some("https://github.com/acme/shop/compare/main...porter/task_0193");
    assert_snapshot!(status(&succeeded(), &StatusContext { compare_url, ..CONTEXT }), @r#"
    ✅ **Claude Code is done:** [pull request #43](https://github.com/acme/shop/pull/43) is ready for review.

    > Fixed the session check.
    >
    > - `login.rs`: compare *after* trimming
    > - a test for it

    - Branch: `porter/task_0193` ([compare](https://github.com/acme/shop/compare/main...porter/task_0193))
    - Commit: `0123456789`
    - Time: 4 min 12 s
    - Tokens: 1,234,567 in, 890 out
    - Cost: $0.42

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"branch":"porter/task_0193","prNumber":43,"priority":2,"proof":"p00f","status":"success","taskId":"task_0193"} -->
    "#);
}

#[test]
fn a_failed_task_shows_the_reason_and_the_next_step() {
    assert_snapshot!(shown(&failed(FailureStage::Clone, "fatal: could not read from remote\nexit 128")), @r#"
    ❌ **Claude Code did not finish:** the repository could not be cloned.

    ```text
    fatal: could not read from remote
    exit 128
    ```

    **What next?** Comment `@porter retry` to try again.

    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"failed","taskId":"task_0193"} -->
    "#);
    assert_snapshot!(shown(&failed(FailureStage::Preflight, "ANTHROPIC_API_KEY is missing")), @r#"
    ❌ **Claude Code did not finish:** something is missing to start it.

    ```text
    ANTHROPIC_API_KEY is missing
    ```

    **What next?** Put right what the message names, then comment `@porter retry`.

    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"failed","taskId":"task_0193"} -->
    "#);
    let message = "The agent finished without changing anything (no changes).";
    let unchanged = with_attempt(failed(FailureStage::Agent, message), |attempt| Attempt {
        summary: Some("no changes\n\nIt already works.".into()),
        ..attempt
    });
    assert_snapshot!(shown(&unchanged), @r#"
    ❌ **Claude Code changed nothing,** so there is no pull request.

    Claude Code said:

    > no changes
    >
    > It already works.

    **What next?** Comment `@porter retry` to try again, or say more about what you want in a new `@porter` comment.

    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"failed","taskId":"task_0193"} -->
    "#);
    let stopped = with_attempt(task(Status::Failed), |attempt| Attempt {
        error_message: Some("Stopped by @ada.".into()),
        ..attempt
    });
    assert_snapshot!(shown(&stopped), @r#"
    ⏹️ **Claude Code was stopped.**

    > Stopped by `@ada`.

    **What next?** Comment `@porter retry` to try again.

    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"failed","taskId":"task_0193"} -->
    "#);
}

#[test]
fn a_timed_out_task_shows_where_its_work_is() {
    let task = with_attempt(task(Status::TimedOut), |attempt| Attempt {
        branch: Some("porter/task_0193".into()),
        commit_sha: Some("0123456789abcdef".into()),
        error_message: Some("It took longer than 10 minutes.".into()),
        failure_stage: Some(FailureStage::Agent),
        ..attempt
    });
    assert_snapshot!(status(&task, &StatusContext { compare_url: Some("https://github.com/c"), ..CONTEXT }), @r#"
    ⌛ **Claude Code ran out of time.**

    ```text
    It took longer than 10 minutes.
    ```

    **What next?** Comment `@porter retry` to try again, or ask for a smaller step: a new `@porter` comment that says which.

    - Branch: `porter/task_0193` ([compare](https://github.com/c))
    - Commit: `0123456789`
    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"branch":"porter/task_0193","priority":2,"proof":"p00f","status":"timed_out","taskId":"task_0193"} -->
    "#);
}

#[test]
fn text_from_an_agent_is_displayed_and_has_no_effect() {
    let boasting = with_attempt(succeeded(), |attempt| Attempt { summary: Some(HOSTILE.into()), ..attempt });
    assert_snapshot!(shown(&boasting), @r#"
    ✅ **Claude Code is done:** [pull request #43](https://github.com/acme/shop/pull/43) is ready for review.

    > Done, `@octocat`\!
    > Closes `#1`, see `https://evil.example`
    > x
    >
    > ```text
    > </details><script>
    > ```

    - Branch: `porter/task_0193`
    - Commit: `0123456789`
    - Time: 4 min 12 s
    - Tokens: 1,234,567 in, 890 out
    - Cost: $0.42

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"branch":"porter/task_0193","prNumber":43,"priority":2,"proof":"p00f","status":"success","taskId":"task_0193"} -->
    "#);
    assert_snapshot!(shown(&failed(FailureStage::Agent, HOSTILE)), @r#"
    ❌ **Claude Code did not finish:** the agent gave up.

    ````text
    Done, @octocat!
    Closes #1, see https://evil.example
    ![x](https://evil.example/p.png)

    ```
    </details><script>
    ````

    **What next?** Comment `@porter retry` to try again, or say more about what you want in a new `@porter` comment.

    - Time: 4 min 12 s

    [Task page](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"failed","taskId":"task_0193"} -->
    "#);
    let busy =
        with_attempt(task(Status::Running), |attempt| Attempt { activity: Some(HOSTILE.into()), ..attempt });
    assert_snapshot!(shown(&busy), @r#"
    🔧 **Claude Code is working on this.** 40 %

    Now: ````Done, @octocat! Closes #1, see https://evil.example ![x](https://evil.example/p.png) ``` </details><script>````

    To end it, comment `@porter stop`.

    [Follow the task](https://porter.example/tasks/task_0193)

    <!-- porter:{"agent":"claude-code","attempt":1,"priority":2,"proof":"p00f","status":"running","taskId":"task_0193"} -->
    "#);
}

#[test]
fn an_invalid_price_is_not_shown() {
    for (dollars, expected) in [
        (0.0, Some("- Cost: $0")),
        (0.004, Some("- Cost: less than $0.01")),
        (12.345, Some("- Cost: $12.35")),
        (-1.0, None),
        (1e300, None),
        (f64::NAN, None),
    ] {
        let usage = Usage { cost_usd: Some(dollars), ..Usage::default() };
        let task = with_attempt(succeeded(), |attempt| Attempt { usage, ..attempt });
        let text = shown(&task);
        assert_eq!(text.lines().find(|line| line.contains("Cost")), expected, "{dollars}");
    }
}

#[test]
fn durations_are_formatted_for_people() {
    for (seconds, expected) in
        [(-5, "0 s"), (58, "58 s"), (60, "1 min"), (252, "4 min 12 s"), (3600, "1 h"), (3_800, "1 h 3 min")]
    {
        assert_eq!(duration(TimeDelta::seconds(seconds)), expected);
    }
}

#[test]
fn no_text_makes_a_comment_too_long() {
    for piece in ["*\n", "`@", "@ ", "1. ", "a", "`", "<!--\n", "\n  é", "#1\n", "&", "     \nx"] {
        let text = piece.repeat(100_000);
        let long = with_attempt(Task { model: Some(text.clone()), ..succeeded() }, |attempt| Attempt {
            summary: Some(text.clone()),
            error_message: Some(text.clone()),
            activity: Some(text.clone()),
            ..attempt
        });
        for status in Status::ALL {
            let failed = |attempt| Attempt { failure_stage: Some(FailureStage::Agent), ..attempt };
            let body = shown(&with_attempt(Task { status, ..long.clone() }, failed));
            assert!(
                body.chars().count() <= MAX_COMMENT_CHARS,
                "{} characters of {piece:?}",
                body.chars().count()
            );
            assert!(has_marker(&body, "task_0193", "p00f"));
        }
        assert!(pull_body(&long, &pull_requests::PULL).chars().count() <= MAX_COMMENT_CHARS);
    }
}

proptest! {
    #[test]
    fn a_comment_keeps_its_marker_whatever_the_agent_writes(text in r"(<!--|-->| porter:\{\}|`{1,4}|\n|> |@ada|</?details>|\PC){0,30}") {
        let task = with_attempt(failed(FailureStage::Agent, &text), |attempt| Attempt {
            summary: Some(text.clone()),
            ..attempt
        });
        let body = shown(&task);
        prop_assert!(has_marker(&body, "task_0193", "p00f"), "{}", body);
        // The marker is still an HTML comment, so no text before it has absorbed it.
        let mut hidden = Vec::new();
        crate::markdown::walk(&body, |piece, range| {
            if piece == crate::markdown::Piece::Comment {
                hidden.push(range);
            }
        });
        let marker = body.rfind("<!-- porter:").unwrap();
        prop_assert_eq!(hidden, vec![marker..body.len()], "{}", body);
    }
}
