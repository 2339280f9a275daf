//! Workers' reports: progress and completion. `web::callbacks` has verified the callback token before it calls this
//! module. Nothing here calls GitHub.

use chrono::TimeDelta;

use super::redaction::redactor;
use super::{Context, Error};
use db::events::{self, NewEvent};
use domain::event::TaskEvent;
use domain::job::Job;
use domain::redact::Redactor;
use domain::report::{Completion, Progress};
use domain::task::{Effect, Event, Phase, Status, Task, TaskId};

/// The outcome of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// The report was stored.
    New(Box<Task>),
    /// The report was stored before, or the attempt ended without it.
    Duplicate(Box<Task>),
    /// The report belongs to an attempt that is not the current one.
    OtherAttempt,
}

/// The use cases that workers call. Cheap to clone.
#[derive(Clone)]
pub struct Callbacks {
    context: Context,
}

impl Callbacks {
    /// Returns the callbacks for these use cases.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    /// Returns whether `token` belongs to exactly this attempt. The task need not exist.
    pub fn is_authentic(&self, task: &TaskId, attempt: u32, token: &str) -> bool {
        self.context.keys.verify_callback_token(task, attempt, token)
    }

    /// See [`complete`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn complete(&self, id: &TaskId, report: Completion) -> Result<Recorded, Error> {
        complete(&self.context, id, report).await
    }

    /// See [`progress`].
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn progress(&self, id: &TaskId, report: Progress) -> Result<Option<bool>, Error> {
        progress(&self.context, id, report).await
    }
}

/// How long the status comment may lag behind the worker's progress. Edits count towards GitHub's rate limits.
const PROGRESS_SHOWN_AFTER: TimeDelta = TimeDelta::seconds(60);
/// The longest line of a worker's output that is stored, in bytes.
const MAX_LINE_BYTES: usize = 2048;
/// The largest number of lines that are stored from one report.
const MAX_LINES: usize = 500;

/// The most bytes that are stored of a report's summary or error: both are in every answer about the task.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// The most remarks, and paths of a remark, that are stored.
const MAX_REMARKS: usize = 50;

/// Redacts everything that a report says in words, then shortens it.
fn clean(report: &mut Completion, redactor: &Redactor) {
    let fit = |text: &mut String, limit| *text = clipped(&redactor.clean(text), limit).to_owned();
    for text in [&mut report.summary, &mut report.error].into_iter().flatten() {
        fit(text, MAX_TEXT_BYTES);
    }
    report.failure_reason = report.failure_reason.take().filter(|word| is_word(word));
    report.remarks.truncate(MAX_REMARKS);
    report.remarks.retain(|remark| is_word(&remark.code));
    for remark in &mut report.remarks {
        fit(&mut remark.text, MAX_LINE_BYTES);
        remark.paths.truncate(MAX_REMARKS);
        remark.paths.iter_mut().for_each(|path| fit(path, MAX_LINE_BYTES));
    }
}

/// Whether the text is a `snake_case` word of at most 64 bytes, as reasons and the codes of remarks are.
fn is_word(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(part)
}

/// Records the result of an attempt.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Db`].
async fn complete(context: &Context, id: &TaskId, mut report: Completion) -> Result<Recorded, Error> {
    let redactor = redactor(context, &context.load(id).await?).await?;
    clean(&mut report, &redactor);
    let lines = clean_lines(&report.events, &redactor);
    let mut work = context.store.begin().await?;
    let task = work.find(id).await?;
    if task.attempt.number != report.attempt {
        return Ok(Recorded::OtherAttempt);
    }
    if task.status != Status::Running || task.phase == Some(Phase::Publishing) {
        return Ok(Recorded::Duplicate(Box::new(task)));
    }
    let history = output_events(&task, lines);
    if !history.is_empty() {
        let now = work.now();
        events::append(&mut work, &history, now).await?;
        events::trim(&mut work, id).await?;
    }
    let next = work.apply(&task, Event::Reported(Box::new(report))).await?;
    let (id, attempt, status) = (task.id, task.attempt.number, next.status.as_str());
    work.log(move || {
        tracing::info!(task.id = %id, task.attempt = attempt, task.status = status, "the worker reported");
    });
    work.commit().await?;
    Ok(Recorded::New(Box::new(next)))
}

/// Records a worker's progress. Returns whether the worker must stop, or `None` when the report is about another
/// attempt.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Db`].
async fn progress(context: &Context, id: &TaskId, report: Progress) -> Result<Option<bool>, Error> {
    let redactor = redactor(context, &context.load(id).await?).await?;
    let message = report.message.as_deref().map(|text| redactor.clean(text));
    let lines = clean_lines(&report.events, &redactor);
    let mut work = context.store.begin().await?;
    let task = work.find(id).await?;
    if task.attempt.number != report.attempt {
        return Ok(None);
    }
    if task.status != Status::Running {
        return Ok(Some(true));
    }
    let percent = report.progress.map(|percent| percent.min(99));
    let activity = message.as_deref().map(|line| clipped(line, 500));
    let now = work.now();
    work.touch(id);
    db::attempts::record_progress(&mut work, &task, percent, activity, report.usage.as_ref(), now).await?;
    let mut history = output_events(&task, lines);
    if percent.is_some() || activity.is_some() {
        let event = TaskEvent::Progress { progress: percent, message: activity.map(str::to_owned) };
        history.push(NewEvent::new(&task, &event));
        work.enqueue_at([Job::of(&task, Effect::SyncIssue)], now + PROGRESS_SHOWN_AFTER).await?;
    }
    if !history.is_empty() {
        events::append(&mut work, &history, now).await?;
        events::trim(&mut work, id).await?;
    }
    work.commit().await?;
    Ok(Some(false))
}

/// Returns a report's lines redacted, then shortened. Called before the write begins, because other writes wait for it.
fn clean_lines(lines: &[String], redactor: &Redactor) -> Vec<String> {
    let lines = lines.iter().take(MAX_LINES);
    lines.map(|line| clipped(&redactor.clean(line), MAX_LINE_BYTES).to_owned()).collect()
}

/// Returns the lines as events of the task.
fn output_events(task: &Task, lines: Vec<String>) -> Vec<NewEvent> {
    lines.into_iter().map(|text| NewEvent::new(task, &TaskEvent::Output { text })).collect()
}

fn clipped(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}
