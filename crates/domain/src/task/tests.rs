//! Tests of the state machine: each transition, and random sequences of events.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::report::{Completion, FailureStage, Outcome};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn queued() -> Task {
    Task::new(sample::request(), "mock", Priority::Normal, &Run::default(), now())
}

fn report(status: Outcome, commit: Option<&str>, timed_out: bool) -> Event {
    Event::Reported(Box::new(Completion {
        task_id: String::new(),
        execution_id: String::new(),
        attempt: 1,
        status,
        summary: Some("I did it.".to_owned()),
        error: Some("it broke".to_owned()),
        failure_stage: None,
        failure_reason: None,
        remarks: Vec::new(),
        events: Vec::new(),
        timed_out,
        branch_name: Some("main".to_owned()),
        base_branch: None,
        commit_hash: commit.map(str::to_owned),
        usage: None,
        callback_attempt: Some(1),
        callback_max_attempts: None,
        callback_last_http_code: None,
        callback_token: None,
    }))
}

/// Returns one event of every kind, with its name.
fn events() -> Vec<(&'static str, Event)> {
    let deadline = now() + TimeDelta::hours(1);
    let text = |text: &str| text.to_owned();
    vec![
        ("admitted", Event::Admitted { deadline }),
        ("launched", Event::Launched { machine_id: text("m"), base_branch: text("main"), deadline }),
        ("reported success", report(Outcome::Success, Some("abc"), false)),
        ("reported no changes", report(Outcome::Success, None, false)),
        ("reported failure", report(Outcome::Failed, None, false)),
        ("reported timeout", report(Outcome::Failed, Some("abc"), true)),
        ("branch found", Event::BranchFound { commit_sha: text("abc") }),
        (
            "published",
            Event::Published { number: IssueNumber::new(2), url: text("https://github.example/2") },
        ),
        ("failed", Event::Failed { stage: FailureStage::Launch, message: text("no room") }),
        ("timed out", Event::TimedOut { message: text("late") }),
        ("stopped", Event::Stopped { message: text("Stopped by ada.") }),
        ("retried", Event::Retried),
    ]
}

/// Returns a task in this state.
fn at(status: Status, phase: Option<Phase>) -> Task {
    let completed_at = status.is_terminal().then(now);
    Task { status, phase, attempt: Attempt { completed_at, ..Attempt::queued(1) }, ..queued() }
}

/// Returns, for each event that the state allows, its name, the resulting state and the effects.
fn edges(status: Status, phase: Option<Phase>) -> Vec<String> {
    let task = at(status, phase);
    let edge = |(name, event): (&str, Event)| {
        let (next, effects) = decide(&task, event, now()).ok()?;
        let phase = next.phase.map(|phase| format!("/{}", phase.as_str())).unwrap_or_default();
        Some(format!("{name} -> {}{phase} {effects:?}", next.status.as_str()))
    };
    events().into_iter().filter_map(edge).collect()
}

#[test]
fn a_queued_task_is_admitted_or_stopped() {
    assert_eq!(
        edges(Status::Queued, None),
        ["admitted -> running/launching [Launch, SyncIssue]", "stopped -> failed [SyncIssue, CleanUp]"]
    );
}

#[test]
fn a_launching_task_starts_its_machine_or_ends() {
    assert_eq!(
        edges(Status::Running, Some(Phase::Launching)),
        [
            "launched -> running/working [SyncIssue]",
            "reported success -> running/publishing [Publish, SyncIssue]",
            "reported no changes -> failed [SyncIssue, CleanUp]",
            "reported failure -> failed [SyncIssue, CleanUp]",
            "reported timeout -> timed_out [SyncIssue, CleanUp]",
            "branch found -> running/publishing [Publish, SyncIssue]",
            "failed -> failed [SyncIssue, CleanUp]",
            "timed out -> timed_out [SyncIssue, CleanUp]",
            "stopped -> failed [SyncIssue, CleanUp]",
        ]
    );
}

#[test]
fn a_publishing_task_ignores_further_reports() {
    assert_eq!(
        edges(Status::Running, Some(Phase::Publishing)),
        [
            "published -> success [SyncIssue, CleanUp]",
            "failed -> failed [SyncIssue, CleanUp]",
            "timed out -> timed_out [SyncIssue, CleanUp]",
            "stopped -> failed [SyncIssue, CleanUp]",
        ]
    );
}

#[test]
fn only_a_task_that_did_not_succeed_can_be_retried() {
    assert_eq!(edges(Status::Failed, None), ["retried -> queued [SyncIssue]"]);
    assert_eq!(edges(Status::TimedOut, None), ["retried -> queued [SyncIssue]"]);
    assert_eq!(edges(Status::Success, None), [""; 0]);
}

#[test]
fn a_retry_starts_a_new_attempt_with_empty_results() {
    let ended = Task {
        pr_url: Some("https://github.example/2".to_owned()),
        attempt: Attempt {
            machine_id: Some("m".to_owned()),
            commit_sha: Some("abc".to_owned()),
            error_message: Some("it broke".to_owned()),
            ..Attempt::queued(1)
        },
        status_comment_id: Some(CommentId::new(8)),
        ..at(Status::Failed, None)
    };
    let (next, _) = decide(&ended, Event::Retried, now()).unwrap();
    assert_eq!(next.attempt, Attempt::queued(2));
    let Attempt { number, machine_id, commit_sha, error_message, .. } = next.attempt;
    assert_eq!((number, machine_id, commit_sha, error_message), (2, None, None, None));
    assert_eq!(next.status_comment_id, Some(CommentId::new(8)), "the status comment is kept");
}

#[test]
fn a_report_cannot_name_another_branch() {
    let task = at(Status::Running, Some(Phase::Working));
    let (next, _) = decide(&task, report(Outcome::Success, Some("abc"), false), now()).unwrap();
    assert_eq!(next.attempt.branch, Some(format!("porter/{}", task.id)));
}

#[test]
fn ids_sort_by_age_and_are_unchanged_after_parsing() {
    let (older, newer) = (TaskId::new(now()), TaskId::new(now() + TimeDelta::milliseconds(2)));
    assert!(older < newer, "{older} {newer}");
    assert_eq!(TaskId::parse(older.as_str()), Some(older));
    for text in ["", "task_", "task_../x", "task_a b", "tusk_1", "task_ü"] {
        assert_eq!(TaskId::parse(text), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_other_transition_exists(picks in prop::collection::vec(0_usize..12, 1..60)) {
        use Status::{Failed, Queued, Running, Success, TimedOut};
        let mut task = queued();
        for pick in picks {
            let (name, event) = events().swap_remove(pick);
            let Ok((next, effects)) = decide(&task, event, now()) else { continue };
            let edge = (task.status, next.status);
            let allowed = matches!(
                edge,
                (Queued, Running) | (Running, Running | Success | Failed | TimedOut) | (Failed | TimedOut, Queued)
            );
            // Stopping a queued task takes two transitions in one write.
            let both = edge == (Queued, Failed) && name == "stopped" && next.attempt.started_at.is_some();
            prop_assert!(allowed || both, "{name}: {edge:?}");
            prop_assert_eq!(next.revision, task.revision + 1);
            prop_assert_eq!(next.attempt.number, task.attempt.number + u32::from(next.status == Queued));
            prop_assert_eq!(next.phase.is_some(), next.status == Running);
            prop_assert_eq!(next.attempt.completed_at.is_some(), next.status.is_terminal());
            prop_assert_eq!(effects.contains(&Effect::CleanUp), next.status.is_terminal());
            if next.status == Success {
                prop_assert!(next.pr_url.is_some());
            }
            task = next;
        }
    }
}

#[test]
fn a_retry_keeps_a_requested_base_branch_and_clears_a_chosen_one() {
    let deadline = now() + TimeDelta::hours(1);
    for named in [None, Some("next".to_owned())] {
        let mut task = Task { base_branch: named.clone(), ..queued() };
        for event in [
            Event::Admitted { deadline },
            Event::Launched { machine_id: "m".to_owned(), base_branch: "next".to_owned(), deadline },
            Event::Stopped { message: "Stopped by ada.".to_owned() },
        ] {
            task = decide(&task, event, now()).unwrap().0;
        }
        assert_eq!(task.base_branch.as_deref(), Some("next"));
        let (task, _) = decide(&task, Event::Retried, now()).unwrap();
        assert_eq!(task.base_branch, named);
    }
}
