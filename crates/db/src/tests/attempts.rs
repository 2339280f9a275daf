//! Tests of attempts: each attempt keeps its data when the task continues.

use chrono::TimeDelta;

use super::{fresh, start};
use crate::{attempts, tasks};
use domain::command::Run;
use domain::report::Remark;
use domain::report::{Completion, FailureStage, Usage};
use domain::task::{Attempt, AttemptRecord, Event, Priority, Status, Task, decide, sample};

fn at(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    start() + TimeDelta::seconds(seconds)
}

/// Returns a failure report of this attempt.
fn failed(attempt: u32) -> Event {
    let report = serde_json::json!({
        "attempt": attempt, "status": "failed", "error": "it broke", "failure_stage": "agent",
        "summary": "I tried.", "callback_attempt": 2, "callback_max_attempts": 40, "callback_last_http_code": 503,
        "usage": { "inputTokens": 7, "outputTokens": 8, "cacheReadTokens": 5, "cacheWriteTokens": 1, "costUsd": 0.25 },
    });
    Event::Reported(Box::new(serde_json::from_value::<Completion>(report).unwrap()))
}

#[tokio::test]
async fn a_retry_keeps_all_data_of_the_previous_attempt() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let run = Run { model: Some("opus".to_owned()), ..Run::default() };
    let mut task = Task::new(sample::request(), "mock", Priority::Normal, &run, start());
    tasks::insert(&mut writer, std::slice::from_ref(&task)).await.unwrap();
    let queued = AttemptRecord { status: Status::Queued, attempt: Attempt::queued(1) };
    assert_eq!(attempts::list(&mut writer, &task.id).await.unwrap(), [queued]);

    let deadline = at(600);
    let launched = Event::Launched { machine_id: "m".to_owned(), base_branch: "main".to_owned(), deadline };
    for (seconds, event) in
        [(1, Event::Admitted { deadline }), (2, launched), (3, failed(1)), (4, Event::Retried)]
    {
        let (next, _) = decide(&task, event, at(seconds)).unwrap();
        assert!(tasks::store(&mut writer, &task, &next).await.unwrap());
        let stored = tasks::find(&mut writer, &task.id).await.unwrap();
        assert_eq!(stored.as_ref(), Some(&next), "the task is equal to the stored one");
        task = next;
    }
    let first = Attempt {
        model: Some("opus".to_owned()),
        machine_id: Some("m".to_owned()),
        started_at: Some(at(1)),
        completed_at: Some(at(3)),
        seen_at: Some(at(3)),
        summary: Some("I tried.".to_owned()),
        error_message: Some("it broke".to_owned()),
        failure_stage: Some(FailureStage::Agent),
        usage: Usage {
            input_tokens: Some(7),
            output_tokens: Some(8),
            cache_read_tokens: Some(5),
            cache_write_tokens: Some(1),
            cost_usd: Some(0.25),
        },
        callback: domain::task::Callback {
            attempts: Some(2),
            max_attempts: Some(40),
            last_http_code: Some(503),
        },
        ..Attempt::queued(1)
    };
    let expected = [
        AttemptRecord { status: Status::Failed, attempt: first },
        AttemptRecord { status: Status::Queued, attempt: Attempt::queued(2) },
    ];
    assert_eq!(attempts::list(&mut writer, &task.id).await.unwrap(), expected);
}

#[tokio::test]
async fn progress_counts_only_while_the_attempt_runs() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let queued = Task::new(sample::request(), "mock", Priority::Normal, &Run::default(), start());
    tasks::insert(&mut writer, std::slice::from_ref(&queued)).await.unwrap();
    attempts::record_progress(&mut writer, &queued, Some(5), None, None, at(1)).await.unwrap();
    assert_eq!(tasks::find(&mut writer, &queued.id).await.unwrap(), Some(queued.clone()));
    let (running, _) = decide(&queued, Event::Admitted { deadline: at(600) }, at(2)).unwrap();
    assert!(tasks::store(&mut writer, &queued, &running).await.unwrap());
    let usage = Usage { cache_read_tokens: Some(9), ..Usage::default() };
    attempts::record_progress(&mut writer, &running, Some(5), Some("Reading"), Some(&usage), at(3))
        .await
        .unwrap();
    let stored = tasks::find(&mut writer, &queued.id).await.unwrap().unwrap();
    let attempt = Attempt {
        progress: 5,
        activity: Some("Reading".to_owned()),
        usage,
        seen_at: Some(at(3)),
        ..running.attempt.clone()
    };
    assert_eq!(stored, Task { attempt, updated_at: at(3), ..running });
}

#[tokio::test]
async fn a_place_and_remarks_are_read_as_they_were_stored() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let task = Task::new(sample::request(), "mock", Priority::Normal, &Run::default(), start());
    tasks::insert(&mut writer, std::slice::from_ref(&task)).await.unwrap();
    attempts::set_place(&mut writer, &task.id, 1, Some("adas-app")).await.unwrap();
    let remark = Remark {
        code: "left_out".to_owned(),
        text: "A file is too large.".to_owned(),
        paths: vec!["a.bin".to_owned()],
    };
    let (mut next, _) = decide(&task, Event::Admitted { deadline: at(600) }, at(1)).unwrap();
    next.attempt.remarks = vec![remark];
    next.attempt.failure_reason = Some("no_changes".to_owned());
    assert!(tasks::store(&mut writer, &task, &next).await.unwrap());
    next.attempt.place = Some("adas-app".to_owned());
    assert_eq!(tasks::find(&mut writer, &task.id).await.unwrap(), Some(next));
}
