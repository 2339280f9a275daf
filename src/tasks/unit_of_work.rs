//! Reading and writing tasks. [`Store`] provides read connections and begins a [`UnitOfWork`], the only way to write.
//! A unit of work records which tasks it changed and what to log about them. Only its commit notifies followers,
//! wakes the engine and writes the log, after the database has stored everything.
//!
//! Used by every use case, by `jobs`, and by `web` for reads. No other code can notify, so a follower that reads the
//! database after a notification always finds the change.

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

/// How many notifications a follower may lag behind. A follower that lags further reads the database anyway.
const NOTIFICATION_CAPACITY: usize = 1024;

/// The database, the clock and the change notifications. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    db: Db,
    clock: Clock,
    notifier: Notifier,
}

impl Store {
    /// Returns a store without followers.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock, notifier: Notifier::new() }
    }

    /// Returns the current time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Returns the clock that [`Store::now`] uses.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns a read-only connection.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn read(&self) -> Result<db::Reader, db::Error> {
        self.db.read().await
    }

    /// Begins a write transaction after the previous one has ended.
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

    /// Subscribes to the ids of changed tasks. A receiver that lags loses notifications, so it must read the database
    /// for the current rows.
    pub fn follow(&self) -> broadcast::Receiver<TaskId> {
        self.notifier.tasks.subscribe()
    }

    /// Wakes the engine to look for due jobs. A commit does this itself; this function is for tests that move the
    /// clock.
    pub fn wake_engine(&self) {
        self.notifier.engine.notify_one();
    }

    /// Waits until the engine is woken.
    pub(crate) async fn engine_woken(&self) {
        self.notifier.engine.notified().await;
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }
}

/// Wakes the engine and the followers of tasks.
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

/// One write transaction with its notifications and log lines. If it is dropped without [`UnitOfWork::commit`], it
/// has no effect.
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
    /// Returns the time at which this write began. Everything in it has the same timestamp.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Returns the task as this transaction sees it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn find(&mut self, id: &TaskId) -> Result<Task, Error> {
        db::tasks::find(self, id).await?.ok_or(Error::NotFound)
    }

    /// Stores new tasks, the first event of each, and the jobs that show them on their issues.
    ///
    /// # Errors
    /// [`db::Error::Conflict`] when an issue already has an active task of that agent; then none of the tasks is
    /// stored.
    pub async fn insert(&mut self, tasks: &[Task]) -> Result<(), db::Error> {
        if tasks.is_empty() {
            return Ok(());
        }
        db::tasks::insert(self, tasks).await?;
        self.record_status(tasks).await?;
        self.enqueue(tasks.iter().map(|task| Job::of(task, Effect::SyncIssue))).await
    }

    /// Applies `event` to `task` and stores the result with all follow-up jobs.
    ///
    /// # Errors
    /// [`Error::InvalidState`] when the task's status does not allow the event, [`Error::Db`].
    pub async fn apply(&mut self, task: &Task, event: Event) -> Result<Task, Error> {
        let (next, effects) = decide(task, event, self.now)?;
        if !db::tasks::store(self, task, &next).await? {
            // There is only one writer, so the row cannot have changed since this transaction read it.
            return Err(Error::Db(db::Error::Corrupt { what: format!("revision of {}", task.id) }));
        }
        self.touch(&next.id);
        if next.status != task.status {
            self.record_status(std::slice::from_ref(&next)).await?;
        }
        self.enqueue(effects.into_iter().map(|effect| Job::of(&next, effect))).await?;
        Ok(next)
    }

    /// Enqueues jobs that are due now. A job that is already pending will run once more.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`].
    pub async fn enqueue(&mut self, jobs: impl IntoIterator<Item = Job>) -> Result<(), db::Error> {
        self.enqueue_at(jobs, self.now).await
    }

    /// Enqueues jobs that are due at `run_at`.
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

    /// Notifies the followers of this task after the commit.
    pub fn touch(&mut self, task: &TaskId) {
        self.touched.insert(task.clone());
    }

    /// Runs `line`, which writes to the log, after the commit.
    pub fn log(&mut self, line: impl FnOnce() + Send + 'static) {
        self.log.push(Box::new(line));
    }

    /// Commits the transaction, then writes the log, notifies followers of the changed tasks, and wakes the engine if
    /// jobs were added.
    ///
    /// # Errors
    /// [`db::Error::Unavailable`]; then nothing was stored and nobody is notified.
    pub async fn commit(self) -> Result<(), db::Error> {
        self.transaction.commit().await?;
        for line in self.log {
            line();
        }
        let wakes = self.wakes || !self.touched.is_empty();
        for task in self.touched {
            // An error means that nobody follows, which is fine.
            let _ = self.notifier.tasks.send(task);
        }
        if wakes {
            self.notifier.engine.notify_one();
        }
        Ok(())
    }

    /// Adds each task's status to its events.
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
