//! A task and its state machine (contract §6): `queued → running → success | failed | timed_out`, and a
//! retry that takes a task that did not succeed back to `queued` with one attempt more.
//!
//! [`decide`] is the only place that knows the edges. `db::tasks` stores its result under a guard on
//! status, attempt and revision; `tasks` turns the [`Effect`]s into durable jobs in the same transaction.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::report::{Completion, FailureStage, Outcome, Usage};

/// `task_` and a time-ordered UUID in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// A new id. `at` makes ids sort by age.
    pub fn new(at: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, at.timestamp_subsec_nanos());
        Self(format!("task_{}", Uuid::new_v7(time).simple()))
    }

    /// The id written as `text`; nothing when it cannot be one (`task_` and up to 64 of `[0-9A-Za-z_-]`).
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("task_")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (!rest.is_empty() && rest.len() <= 64 && rest.chars().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The only branch an agent's work is pushed to.
    pub fn branch(&self) -> String {
        format!("porter/{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A task's status, as everyone outside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn.
    Queued,
    /// An attempt is under way.
    Running,
    /// The pull request is open.
    Success,
    /// It ended without one; the summary says why.
    Failed,
    /// It ran out of time.
    TimedOut,
}

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Success, Self::Failed, Self::TimedOut];

    /// The status as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the task has ended (a retry may begin it anew).
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::TimedOut)
    }
}

/// What a running attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Checked, and its machine asked for.
    Launching,
    /// The machine runs; its reports are awaited.
    Working,
    /// The branch is pushed; the pull request is being opened.
    Publishing,
}

impl Phase {
    /// The phase as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Working => "working",
            Self::Publishing => "publishing",
        }
    }

    /// The phase with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Launching, Self::Working, Self::Publishing].into_iter().find(|phase| phase.as_str() == text)
    }
}

/// How urgent a task is. On the wire 1, 2, 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After everything else.
    Low = 1,
    /// What is meant when nothing is said.
    #[default]
    Normal = 2,
    /// Before everything else.
    High = 3,
}

impl Priority {
    /// The priority as a command and a label write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority with this name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
    }

    /// 1 low, 2 normal, 3 high.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The priority with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High].into_iter().find(|priority| priority.number() == number)
    }
}

/// The repository a task is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// GitHub's number for it.
    pub id: i64,
    /// The account it belongs to.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// The branch that pull requests go to unless the person names another.
    pub default_branch: String,
    /// The installation through which Porter reaches it.
    pub installation_id: i64,
}

impl Repository {
    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// The issue (or pull request) a task is about, as it was when the person asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Its number in the repository.
    pub number: i64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Where people read it.
    pub url: String,
    /// The comment was made on a pull request.
    pub is_pull_request: bool,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// GitHub's number for the person.
    pub id: i64,
    /// The login, as GitHub writes it.
    pub login: String,
}

/// A person's request and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Counts stored changes; guards every write.
    pub revision: i64,
    /// Where it stands.
    pub status: Status,
    /// What a running attempt is doing; nothing otherwise.
    pub phase: Option<Phase>,
    /// Which run of the task this is, from 1.
    pub attempt: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// Which agent, by its id in the registry.
    pub agent: String,
    /// Which model, when the person chose one.
    pub model: Option<String>,
    /// Which branch to start from: what the person named, then what the preflight settled.
    pub base_branch: Option<String>,
    /// Where.
    pub repository: Repository,
    /// About what.
    pub issue: Issue,
    /// The comment that asked, unless the task came from the API.
    pub comment_id: Option<i64>,
    /// What else the person wrote after the command.
    pub instructions: String,
    /// Who asked.
    pub requester: Requester,
    /// Percent, 0 to 100.
    pub progress: u8,
    /// The latest line of progress.
    pub activity: Option<String>,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// When it (last) began to wait.
    pub queued_at: DateTime<Utc>,
    /// When the attempt was admitted.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// When anything about it last changed.
    pub updated_at: DateTime<Utc>,
    /// When a running attempt is given up.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When the attempt's worker was last heard, or its machine made.
    pub seen_at: Option<DateTime<Utc>>,
    /// The attempt's machine.
    pub machine_id: Option<String>,
    /// The branch that was pushed.
    pub branch: Option<String>,
    /// Its head.
    pub commit_sha: Option<String>,
    /// The pull request's page.
    pub pr_url: Option<String>,
    /// The pull request's number.
    pub pr_number: Option<i64>,
    /// The agent's closing words.
    pub summary: Option<String>,
    /// Why it did not succeed, for a person.
    pub error_message: Option<String>,
    /// Where it did not.
    pub failure_stage: Option<FailureStage>,
    /// What the agent used.
    pub usage: Usage,
    /// Which try of the worker's report arrived.
    pub callback_attempts: Option<u32>,
    /// How many it would have made.
    pub callback_max_attempts: Option<u32>,
    /// What its try before was answered with.
    pub callback_last_http_code: Option<u16>,
    /// The one status comment, once it is there.
    pub status_comment_id: Option<i64>,
}

/// Something that happened to a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its turn has come.
    Admitted {
        /// Until when its launch is tried.
        deadline: DateTime<Utc>,
    },
    /// The preflight settled the base branch and the machine was made.
    Launched {
        /// The runner's name for the machine.
        machine_id: String,
        /// The branch the work starts from.
        base_branch: String,
        /// When the attempt is given up; the time limit counts from here.
        deadline: DateTime<Utc>,
    },
    /// The worker reported how it ended.
    Reported(Box<Completion>),
    /// No report came, but the branch is there.
    BranchFound {
        /// Its head.
        commit_sha: String,
    },
    /// The pull request is open.
    Published {
        /// Its number.
        number: i64,
        /// Its page.
        url: String,
    },
    /// The attempt cannot go on.
    Failed {
        /// Where it failed.
        stage: FailureStage,
        /// Why, for a person.
        message: String,
    },
    /// The attempt took too long.
    TimedOut {
        /// What took too long, for a person.
        message: String,
    },
    /// A person, or the issue being closed, ended it.
    Stopped {
        /// Who or what, for a person.
        message: String,
    },
    /// A person asked for another attempt.
    Retried,
}

/// What must follow a stored change; each becomes a durable job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make the issue show where the task stands: reaction, status comment, labels.
    Reflect,
    /// Check, and start the machine.
    Launch,
    /// Open the pull request.
    Publish,
    /// End the attempt's machine and take back its token.
    CleanUp,
}

/// The task does not allow the event in the state it is in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {} task does not allow this", status.as_str())]
pub struct InvalidState {
    /// Where the task stands.
    pub status: Status,
}

/// Applies `event` to `task` at `now`.
///
/// # Errors
/// [`InvalidState`] when the state machine has no such edge; then nothing is to be written.
pub fn decide(task: &Task, event: Event, now: DateTime<Utc>) -> Result<(Task, Vec<Effect>), InvalidState> {
    use Effect::{CleanUp, Launch, Publish, Reflect};
    use Status::{Failed, Queued, Running, Success, TimedOut};

    let mut next = Task { revision: task.revision + 1, updated_at: now, ..task.clone() };
    let effects = match (task.status, event) {
        (Queued, Event::Admitted { deadline }) => {
            next.status = Running;
            next.phase = Some(Phase::Launching);
            next.started_at = Some(now);
            next.seen_at = Some(now);
            next.deadline_at = Some(deadline);
            vec![Launch, Reflect]
        }
        (Running, Event::Launched { machine_id, base_branch, deadline })
            if task.phase == Some(Phase::Launching) =>
        {
            next.phase = Some(Phase::Working);
            next.machine_id = Some(machine_id);
            next.base_branch = Some(base_branch);
            next.seen_at = Some(now);
            next.deadline_at = Some(deadline);
            vec![Reflect]
        }
        (Running, Event::Reported(report)) if task.phase != Some(Phase::Publishing) => {
            return Ok(apply_report(next, *report, now));
        }
        (Running, Event::BranchFound { commit_sha }) if task.phase != Some(Phase::Publishing) => {
            next.phase = Some(Phase::Publishing);
            next.branch = Some(task.id.branch());
            next.commit_sha = Some(commit_sha);
            vec![Publish, Reflect]
        }
        (Running, Event::Published { number, url }) if task.phase == Some(Phase::Publishing) => {
            next.pr_number = Some(number);
            next.pr_url = Some(url);
            next.progress = 100;
            return Ok((settled(next, Success, now), vec![Reflect, CleanUp]));
        }
        (Running, Event::Failed { stage, message }) => {
            return Ok(failed(next, Failed, stage, message, now));
        }
        (Running, Event::TimedOut { message }) => {
            return Ok(failed(next, TimedOut, FailureStage::Agent, message, now));
        }
        // A task that was never admitted is admitted and ended in one write: there is no edge from
        // `queued` to an end.
        (Queued | Running, Event::Stopped { message }) => {
            if task.status == Queued {
                next.started_at = Some(now);
            }
            next.error_message = Some(message);
            return Ok((settled(next, Failed, now), vec![Reflect, CleanUp]));
        }
        (Failed | TimedOut, Event::Retried) => {
            let fresh = Task {
                status: Queued,
                attempt: task.attempt + 1,
                queued_at: now,
                progress: 0,
                activity: None,
                started_at: None,
                completed_at: None,
                deadline_at: None,
                seen_at: None,
                machine_id: None,
                branch: None,
                commit_sha: None,
                summary: None,
                error_message: None,
                failure_stage: None,
                usage: Usage::default(),
                callback_attempts: None,
                callback_max_attempts: None,
                callback_last_http_code: None,
                ..next
            };
            return Ok((fresh, vec![Reflect]));
        }
        (status, _) => return Err(InvalidState { status }),
    };
    Ok((next, effects))
}

fn apply_report(mut task: Task, report: Completion, now: DateTime<Utc>) -> (Task, Vec<Effect>) {
    task.seen_at = Some(now);
    task.summary = report.summary;
    task.usage = report.usage.unwrap_or_default();
    task.callback_attempts = report.callback_attempt;
    task.callback_max_attempts = report.callback_max_attempts;
    task.callback_last_http_code = report.callback_last_http_code;
    task.commit_sha = report.commit_hash.filter(|commit| !commit.is_empty());
    // Only this branch is ever pushed, whatever a report claims.
    task.branch = task.commit_sha.is_some().then(|| task.id.branch());
    match report.status {
        Outcome::Success if task.commit_sha.is_some() => {
            task.phase = Some(Phase::Publishing);
            (task, vec![Effect::Publish, Effect::Reflect])
        }
        Outcome::Success => {
            let message = "The agent finished without changing anything (no changes).".to_owned();
            // The summary is what people and tests read first; the agent's own words come after it.
            task.summary = Some(match task.summary.take() {
                Some(words) if !words.trim().is_empty() => format!("no changes\n\n{words}"),
                _ => "no changes".to_owned(),
            });
            failed(task, Status::Failed, FailureStage::Agent, message, now)
        }
        Outcome::Failed => {
            let status = if report.timed_out { Status::TimedOut } else { Status::Failed };
            let stage = report.failure_stage.unwrap_or(FailureStage::Agent);
            let message = report.error.unwrap_or_else(|| "The agent failed without saying why.".to_owned());
            failed(task, status, stage, message, now)
        }
    }
}

fn failed(
    mut task: Task,
    status: Status,
    stage: FailureStage,
    message: String,
    now: DateTime<Utc>,
) -> (Task, Vec<Effect>) {
    task.failure_stage = Some(stage);
    task.error_message = Some(message);
    (settled(task, status, now), vec![Effect::Reflect, Effect::CleanUp])
}

fn settled(mut task: Task, status: Status, now: DateTime<Utc>) -> Task {
    task.status = status;
    task.phase = None;
    task.deadline_at = None;
    task.completed_at = Some(now);
    task
}

/// The class a waiting task is served in: its own, and one higher for every 10 minutes it has waited.
pub fn effective_priority(priority: Priority, queued_at: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let risen = (now - queued_at).num_milliseconds().max(0) / PRIORITY_STEP.num_milliseconds();
    (priority.number() + risen).min(Priority::High.number())
}

/// How long a task waits before it rises one class (contract §6).
pub const PRIORITY_STEP: TimeDelta = TimeDelta::minutes(10);
