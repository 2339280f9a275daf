//! How tasks are read and written. [`Store`] gives connections that read, and begins a [`UnitOfWork`], the only
//! way to write. A unit of work remembers which tasks it changed and what is to be logged about them; its commit
//! alone notifies followers, wakes the engine and writes the log, after the database has taken everything.
//!
//! Used by every use case, by `jobs`, and by `web` for reads. Nothing else can notify: a follower that reads the
//! database when it is notified always finds what it was notified of.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, broadcast};

use super::Error;
use db::Db;
use domain::clock::Clock;
use domain::event::TaskEvent;
use domain::job::Job;
use domain::task::{Effect, Event, Task, TaskId, decide};

/// How many notifications a follower may be behind; one that is further behind reads the database anyway.
const NOTIFICATION_CAPACITY: usize = 1024;

/// The database, the time, and who is notified of changes. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Clock,
    notifier: Notifier,
}

impl Store {
    /// A store that nobody follows yet.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock, notifier: Notifier::new() }
    }

    /// The current instant.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The clock behind [`Store::now`].
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn read(&self) -> Result<db::Reader, db::Error> {
        self.db.read().await
    }

    /// Begins a write. Waits for the one before it to end.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn begin(&self) -> Result<UnitOfWork, db::Error> {
        Ok(UnitOfWork {
            transaction: self.db.begin().await?,
            now: self.clock.now(),
            notifier: self.notifier.clone(),
            touched: BTreeSet::new(),
            wakes: false,
            log: Vec::new(),
        })
    }

    /// Receives the id of every task that changes. A receiver that lags misses notifications, never rows: it reads
    /// the database.
    pub fn follow(&self) -> broadcast::Receiver<TaskId> {
        self.notifier.tasks.subscribe()
    }

    /// Lets the engine look for due jobs at once. A commit does so by itself; this is for tests that move the
    /// clock.
    pub fn wake_engine(&self) {
        self.notifier.engine.notify_one();
    }

    /// Waits until the engine is to look.
    pub(crate) async fn engine_woken(&self) {
        self.notifier.engine.notified().await;
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// Wakes the engine, and whoever follows tasks.
#[derive(Clone)]
struct Notifier {
    engine: Arc<Notify>,
    tasks: broadcast::Sender<TaskId>,
}

impl Notifier {
    fn new() -> Self {
        Self { engine: Arc::default(), tasks: broadcast::channel(NOTIFICATION_CAPACITY).0 }
    }
}

/// One transaction, and what follows from it. Dropped without [`UnitOfWork::commit`], nothing was written, nobody
/// is notified and nothing is logged.
pub struct UnitOfWork {
    transaction: db::Transaction,
    now: DateTime<Utc>,
    notifier: Notifier,
    touched: BTreeSet<TaskId>,
    wakes: bool,
    log: Vec<Box<dyn FnOnce() + Send>>,
}

impl Deref for UnitOfWork {
    type Target = db::Connection;

    fn deref(&self) -> &db::Connection {
        &self.transaction
    }
}

impl DerefMut for UnitOfWork {
    fn deref_mut(&mut self) -> &mut db::Connection {
        &mut self.transaction
    }
}

impl UnitOfWork {
    /// When this write began: one instant for everything in it.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The task as it is inside this write.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn find(&mut self, id: &TaskId) -> Result<Task, Error> {
        db::tasks::find(self, id).await?.ok_or(Error::NotFound)
    }

    /// Stores new tasks with the first entry of their history, and the job that shows each on its issue.
    ///
    /// # Errors
    /// [`db::Error::Conflict`] when an issue already has an active task of that agent; then none is stored.
    pub async fn insert(&mut self, tasks: &[Task]) -> Result<(), db::Error> {
        if tasks.is_empty() {
            return Ok(());
        }
        db::tasks::insert(self, tasks).await?;
        self.record_status(tasks).await?;
        self.enqueue(tasks.iter().map(|task| Job::of(task, Effect::SyncIssue))).await
    }

    /// Lets `event` happen to `task`, and writes the result with every job that must follow.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the state machine has no such edge, [`Error::Db`].
    pub async fn apply(&mut self, task: &Task, event: Event) -> Result<Task, Error> {
        let (next, effects) = decide(task, event, self.now)?;
        if !db::tasks::store(self, task, &next).await? {
            // Inside the one writer's transaction this row cannot have moved since it was read.
            return Err(Error::Db(db::Error::Corrupt { what: format!("revision of {}", task.id) }));
        }
        self.touch(&next.id);
        if next.status != task.status {
            self.record_status(std::slice::from_ref(&next)).await?;
        }
        self.enqueue(effects.into_iter().map(|effect| Job::of(&next, effect))).await?;
        Ok(next)
    }

    /// Writes jobs that are due now; one that is pending already is asked for once more.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn enqueue(&mut self, jobs: impl IntoIterator<Item = Job>) -> Result<(), db::Error> {
        self.enqueue_at(jobs, self.now).await
    }

    /// The same, due at `run_at`.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn enqueue_at(
        &mut self,
        jobs: impl IntoIterator<Item = Job>,
        run_at: DateTime<Utc>,
    ) -> Result<(), db::Error> {
        let mut rows = Vec::new();
        for job in jobs {
            let payload = serde_json::to_string(&job)
                .map_err(|error| db::Error::Corrupt { what: format!("a {} job: {error}", job.kind()) })?;
            let (kind, key, rank) = (job.kind(), job.key(), job.rank());
            let (lane, lane_kind) = (job.lane(), job.lane_kind());
            rows.push(db::jobs::NewJob { kind, key, lane, lane_kind, rank, payload });
        }
        if rows.is_empty() {
            return Ok(());
        }
        self.wakes = true;
        db::jobs::enqueue(self, &rows, run_at).await
    }

    /// Whoever follows this task is notified after the commit.
    pub fn touch(&mut self, task: &TaskId) {
        self.touched.insert(task.clone());
    }

    /// Writes to the log after the commit, when it is true.
    pub fn log(&mut self, line: impl FnOnce() + Send + 'static) {
        self.log.push(Box::new(line));
    }

    /// Makes everything durable; then writes the log, notifies followers of the touched tasks, and wakes the
    /// engine if there is something for it.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`]; then nothing was written, and nobody is notified.
    pub async fn commit(self) -> Result<(), db::Error> {
        self.transaction.commit().await?;
        for line in self.log {
            line();
        }
        let wakes = self.wakes || !self.touched.is_empty();
        for task in self.touched {
            // Nobody may be following; that is no error.
            let _ = self.notifier.tasks.send(task);
        }
        if wakes {
            self.notifier.engine.notify_one();
        }
        Ok(())
    }

    /// Adds each task's status to its history.
    async fn record_status(&mut self, tasks: &[Task]) -> Result<(), db::Error> {
        let events: Vec<_> =
            tasks.iter().map(|task| db::events::NewEvent::new(task, &TaskEvent::status_of(task))).collect();
        for task in tasks {
            self.touch(&task.id);
        }
        let now = self.now;
        db::events::append(self, &events, now).await
    }
}
