//! The environment of the integration tests: a GitHub (the stand-in), people, a running Porter, and a closing step
//! that every test ends with.
//!
//! [`plan`] describes the initial state; [`people`] contains the actions of people; [`worker`] those of a worker;
//! [`closing`] waits until no job is pending and then checks for unexpected results.

pub mod closing;
pub mod http;
pub mod logs;
pub mod people;
pub mod plan;
pub mod worker;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use db::Db;
use domain::clock::Clock;
use domain::task::{Phase, Task, TaskId};
use porter::accounts::sessions::Sessions;
use porter::app::{App, Configured, Machines, Setup};
use porter::config::{Config, Environment};
use porter::tasks::Context;
use standin::{Comment, Pull, StandIn};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use http::Answer;
pub use people::{ADA, BOB, CAROL, EVE, Person};
pub use plan::Plan;

/// The repository that the tests use.
pub const REPO: &str = "acme/greeter";
/// The maximum wait for any condition.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The login of the App.
const BOT: &str = "porter[bot]";

/// The running environment of one test.
pub struct Testkit {
    pub github: StandIn,
    pub clock: Clock,
    pub folder: TempDir,
    pub url: String,
    pub environment: Environment,
    machines: Machines,
    http: reqwest::Client,
    porter: Option<Porter>,
    seen: Mutex<Seen>,
    closed: bool,
}

/// A running Porter.
struct Porter {
    context: Context,
    db: Db,
    sessions: Sessions,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// A Porter that runs without an App.
pub struct Unconfigured {
    pub setup: Setup,
    db: Db,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Unconfigured {
    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("Porter does not panic").expect("Porter ends well");
    }
}

/// The data that the closing step checks.
#[derive(Default)]
struct Seen {
    /// All secrets of the test, with their names.
    secrets: Vec<(String, String)>,
    /// The comments of Porter that the test has read.
    comments: BTreeSet<u64>,
    /// All HTTP responses of Porter.
    answers: Vec<String>,
}

impl Testkit {
    /// Returns Porter's context.
    pub fn porter(&self) -> &Context {
        &self.porter.as_ref().expect("Porter runs").context
    }

    /// Returns the database, for writes of the accounts.
    fn db(&self) -> &Db {
        &self.porter.as_ref().expect("Porter runs").db
    }

    fn sessions(&self) -> &Sessions {
        &self.porter.as_ref().expect("Porter runs").sessions
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panics with it")
    }

    /// Registers a text that the closing step must not find in any output.
    pub fn keep_secret(&self, name: &str, text: &str) {
        self.seen().secrets.push((name.to_owned(), text.to_owned()));
    }

    /// Starts Porter in the test's folder.
    pub async fn start_porter(&mut self) {
        assert!(self.porter.is_none(), "Porter runs already");
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app =
            App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop.clone());
        let app = app.await.expect("Porter starts");
        let context = app.context().expect("the App is known").clone();
        let sessions = app.sessions().expect("the App is known").clone();
        let db = app.db().clone();
        let running = tokio::spawn(app.run());
        self.porter = Some(Porter { context, db, sessions, stop, running });
    }

    /// Starts Porter without a configured GitHub App.
    pub async fn start_without_app(&self) -> Unconfigured {
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app =
            App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop.clone());
        let app = app.await.expect("Porter starts");
        assert!(app.context().is_none(), "expected no configured App");
        let (setup, db) = (app.setup(), app.db().clone());
        Unconfigured { setup, db, stop, running: tokio::spawn(app.run()) }
    }

    /// Configures the App of `environment` in a Porter that runs without one; from now on it is the testkit's Porter.
    pub async fn configure(&mut self, unconfigured: Unconfigured, environment: &Environment) {
        let Unconfigured { setup, db, stop, running } = unconfigured;
        let config = Config::load(environment).expect("a good configuration");
        let (app, secret) = config.github.zip(config.webhook_secret).expect("an App");
        let Configured { context, sessions } = setup.configure(&app, secret).await.expect("a service");
        self.porter = Some(Porter { context, db, sessions, stop, running });
    }

    /// Configures the App of `environment` once more, while Porter runs.
    pub async fn configure_again(&mut self, setup: &Setup, environment: &Environment) {
        let config = Config::load(environment).expect("a good configuration");
        let (app, secret) = config.github.zip(config.webhook_secret).expect("an App");
        let Configured { context, sessions } = setup.configure(&app, secret).await.expect("a service");
        let porter = self.porter.as_mut().expect("Porter runs");
        (porter.context, porter.sessions) = (context, sessions);
    }

    /// Returns a context without starting Porter: jobs run only when the test calls them.
    pub async fn context_without_engine(&self) -> Context {
        assert!(self.porter.is_none(), "Porter runs");
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app = App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop);
        app.await.expect("Porter can be put together").context().expect("the App is known").clone()
    }

    /// Stops Porter as SIGTERM does. Returns the time it took.
    pub async fn stop_porter(&mut self) -> Duration {
        let Porter { stop, running, .. } = self.porter.take().expect("Porter runs");
        let began = Instant::now();
        stop.cancel();
        running.await.expect("Porter does not panic").expect("Porter ends well");
        began.elapsed()
    }

    /// Stops Porter abruptly: running jobs are aborted, and nothing is drained or written.
    pub async fn kill_porter(&mut self) {
        let Porter { running, stop, .. } = self.porter.take().expect("Porter runs");
        running.abort();
        running.await.expect_err("Porter was killed");
        // Ends periodic tasks, which would survive only here, because the test's process continues.
        stop.cancel();
    }

    /// Returns the current task.
    pub async fn task(&self, id: &TaskId) -> Task {
        self.porter().load(id).await.expect("the task is there")
    }

    /// Waits until the task meets a condition.
    pub async fn task_when(&self, id: &TaskId, what: &str, holds: impl Fn(&Task) -> bool) -> Task {
        let began = Instant::now();
        let mut notifier = self.porter().store().follow();
        loop {
            let task = self.task(id).await;
            if holds(&task) {
                return task;
            }
            still_worth_waiting(began, what, &task);
            // A lagging receiver may miss a notification, so the row is read at intervals as well.
            tokio::time::timeout(Duration::from_millis(500), notifier.recv()).await.ok();
        }
    }

    /// Waits until the task's machine works.
    pub async fn working(&self, id: &TaskId) -> Task {
        self.task_when(id, "its machine works", |task| task.phase == Some(Phase::Working)).await
    }

    /// Waits until the task has ended and its jobs are done.
    pub async fn ended(&self, id: &TaskId) -> Task {
        self.task_when(id, "it has ended", |task| task.status.is_terminal()).await;
        self.drained().await;
        self.task(id).await
    }

    /// Waits until the task meets a condition, and advances the clock to the next due job: for tests of retries.
    pub async fn task_in_time(&self, id: &TaskId, what: &str, holds: impl Fn(&Task) -> bool) -> Task {
        let began = Instant::now();
        loop {
            let task = self.task(id).await;
            if holds(&task) {
                return task;
            }
            still_worth_waiting(began, what, &task);
            let now = self.clock.now();
            let due =
                db::jobs::next_due(&mut self.porter().store().read().await.expect("a connection"), now).await;
            // A minute is more than any pause between two tries, and less than a machine may be silent.
            if let Some(due) = due.expect("an instant").filter(|due| *due > self.clock.now()) {
                self.clock.advance((due - self.clock.now()).min(chrono::TimeDelta::minutes(1)));
                self.let_machines_be_heard().await;
                self.porter().store().wake_engine();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the pending jobs meet a condition; does not advance the clock.
    pub async fn backlog_when(&self, what: &str, holds: impl Fn(&db::jobs::Backlog) -> bool) {
        let began = Instant::now();
        loop {
            let mut connection = self.porter().store().read().await.expect("a connection");
            let backlog = db::jobs::backlog(&mut connection, self.clock.now()).await.expect("a count");
            if holds(&backlog) {
                return;
            }
            assert!(began.elapsed() < TEST_TIMEOUT, "timed out waiting until {what}: {backlog:?}");
            drop(connection);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no job is pending. Advances the clock to jobs that are due later.
    pub async fn drained(&self) {
        let began = Instant::now();
        loop {
            let now = self.clock.now();
            let context = self.porter();
            let (pending, due) = {
                let mut connection = context.store().read().await.expect("a connection");
                let backlog = db::jobs::backlog(&mut connection, now).await.expect("a count");
                (backlog, db::jobs::next_due(&mut connection, now).await.expect("an instant"))
            };
            if pending.pending == 0 {
                return;
            }
            if let Some(due) = due {
                self.clock.advance(due - now);
                context.store().wake_engine();
            }
            assert!(
                began.elapsed() < TEST_TIMEOUT,
                "jobs are still pending: {pending:?}\n{}",
                logs::latest_warnings()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the task's only status comment and marks it as read.
    pub fn status_comment(&self, issue: u64, id: &TaskId) -> Comment {
        let about = format!("\"taskId\":\"{id}\"");
        self.one_comment(issue, &about, "status comment")
    }

    /// Waits for Porter's only answer to a comment, returns it and marks it as read.
    pub async fn answer_to(&self, issue: u64, comment: u64) -> String {
        let about = format!("\"comment\":{comment},");
        let there = |comments: &[Comment]| comments.iter().any(|found| found.body.contains(&about));
        self.github
            .wait_until(|kit| there(&kit.comments(REPO, issue)), TEST_TIMEOUT)
            .await
            .unwrap_or_else(|_| panic!("comment {comment} was not answered\n{}", logs::latest_warnings()));
        self.one_comment(issue, &about, "answer").body
    }

    fn one_comment(&self, issue: u64, about: &str, what: &str) -> Comment {
        let marked = |comment: &Comment| {
            let marker = comment.body.lines().last().is_some_and(|line| line.contains(about));
            comment.author == BOT && marker
        };
        let all = self.github.comments(REPO, issue);
        let found: Vec<Comment> = all.iter().filter(|comment| marked(comment)).cloned().collect();
        assert_eq!(found.len(), 1, "expected one {what} with {about}, seen {found:#?} of {all:#?}");
        self.seen().comments.insert(found[0].id);
        found.into_iter().next().expect("one comment")
    }

    /// Returns the labels of an issue, sorted.
    pub fn labels(&self, issue: u64) -> Vec<String> {
        let mut labels = self.github.labels(REPO, issue);
        labels.sort();
        labels
    }

    /// Returns the repository's pull requests.
    pub fn pulls(&self) -> Vec<Pull> {
        self.github.pull_requests(REPO)
    }

    /// Returns the only pull request.
    pub fn only_pull(&self) -> Pull {
        let pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "expected one pull request, seen {pulls:#?}");
        pulls.into_iter().next().expect("one")
    }
}

fn still_worth_waiting(began: Instant, what: &str, task: &Task) {
    assert!(
        began.elapsed() < TEST_TIMEOUT,
        "timed out waiting until {what}; the task is {task:#?}\n{}",
        logs::latest_warnings()
    );
}
