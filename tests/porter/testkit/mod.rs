//! The world around Porter: a GitHub (the stand-in), people, a running Porter, and a closing step that every
//! test ends with.
//!
//! [`plan`] says how a world begins; [`people`] act in it; [`worker`] speaks in a machine's place;
//! [`closing`] waits until nothing is owed and then looks for whatever nobody expected.

pub mod closing;
pub mod http;
pub mod logs;
pub mod people;
pub mod plan;
pub mod worker;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use domain::clock::Clock;
use domain::task::{Phase, Task, TaskId};
use porter::accounts::sessions::Sessions;
use porter::app::{App, Machines};
use porter::config::{Config, Environment};
use porter::tasks::Context;
use standin::{Comment, Pull, StandIn};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use http::Answer;
pub use people::{ADA, BOB, CAROL, EVE, Person};
pub use plan::Plan;

/// Where everything happens.
pub const REPO: &str = "acme/greeter";
/// How long anything may take before the test gives up.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Porter's own account.
const BOT: &str = "porter[bot]";

/// Everything, running.
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

/// A Porter that runs.
struct Porter {
    context: Context,
    sessions: Sessions,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// What the closing step needs to know.
#[derive(Default)]
struct Seen {
    /// Every secret that was given to anybody, with its name.
    secrets: Vec<(String, String)>,
    /// Porter's comments that the test has looked at.
    comments: BTreeSet<u64>,
    /// Everything that Porter answered over HTTP.
    answers: Vec<String>,
}

impl Testkit {
    /// Porter's ground.
    pub fn porter(&self) -> &Context {
        &self.porter.as_ref().expect("Porter runs").context
    }

    fn sessions(&self) -> &Sessions {
        &self.porter.as_ref().expect("Porter runs").sessions
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no test panics with it")
    }

    /// From now on the closing step looks for this text.
    pub fn keep_secret(&self, name: &str, text: &str) {
        self.seen().secrets.push((name.to_owned(), text.to_owned()));
    }

    /// Starts Porter on the world's folder.
    pub async fn start_porter(&mut self) {
        assert!(self.porter.is_none(), "Porter runs already");
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app =
            App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop.clone());
        let app = app.await.expect("Porter starts");
        let context = app.context().expect("the App is known").clone();
        let sessions = app.sessions().expect("the App is known").clone();
        let running = tokio::spawn(app.run());
        self.porter = Some(Porter { context, sessions, stop, running });
    }

    /// Starts Porter although nobody told it of an App. What it gives ends it again.
    pub async fn start_without_app(&self) -> impl Future<Output = ()> + use<> {
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app =
            App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop.clone());
        let app = app.await.expect("Porter starts");
        assert!(app.context().is_none(), "nobody told Porter of an App");
        let running = tokio::spawn(app.run());
        async move {
            stop.cancel();
            running.await.expect("Porter does not panic").expect("Porter ends well");
        }
    }

    /// Porter's ground while it does not run: what would happen happens only when the test calls for it.
    pub async fn context_without_engine(&self) -> Context {
        assert!(self.porter.is_none(), "Porter runs");
        let config = Config::load(&self.environment).expect("a good configuration");
        let stop = CancellationToken::new();
        let app = App::build(config, &self.environment, self.clock.clone(), self.machines.clone(), stop);
        app.await.expect("Porter can be put together").context().expect("the App is known").clone()
    }

    /// Ends Porter as SIGTERM does. Gives how long that took.
    pub async fn stop_porter(&mut self) -> Duration {
        let Porter { stop, running, .. } = self.porter.take().expect("Porter runs");
        let began = Instant::now();
        stop.cancel();
        running.await.expect("Porter does not panic").expect("Porter ends well");
        began.elapsed()
    }

    /// Ends Porter in the middle of whatever it does; nothing is drained or written.
    pub async fn kill_porter(&mut self) {
        let Porter { running, stop, .. } = self.porter.take().expect("Porter runs");
        running.abort();
        running.await.expect_err("Porter was killed");
        // What it had set going at intervals would outlive it only here, where the process goes on.
        stop.cancel();
    }

    /// The task as it stands.
    pub async fn task(&self, id: &TaskId) -> Task {
        self.porter().load(id).await.expect("the task is there")
    }

    /// Waits until the task is as wanted.
    pub async fn task_when(&self, id: &TaskId, what: &str, holds: impl Fn(&Task) -> bool) -> Task {
        let began = Instant::now();
        let mut notifier = self.porter().notifier.follow();
        loop {
            let task = self.task(id).await;
            if holds(&task) {
                return task;
            }
            still_worth_waiting(began, what, &task);
            // A ring may be missed by one who lags; then the row is looked at all the same.
            tokio::time::timeout(Duration::from_millis(500), notifier.recv()).await.ok();
        }
    }

    /// Waits until the task's machine works.
    pub async fn working(&self, id: &TaskId) -> Task {
        self.task_when(id, "its machine works", |task| task.phase == Some(Phase::Working)).await
    }

    /// Waits until the task has ended and everything owed for it is done.
    pub async fn ended(&self, id: &TaskId) -> Task {
        self.task_when(id, "it has ended", |task| task.status.is_terminal()).await;
        self.drained().await;
        self.task(id).await
    }

    /// Waits until the task is as wanted, letting time jump to whatever waits for its time: for tests in which
    /// things are tried again.
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
                db::jobs::next_due(&mut self.porter().db.read().await.expect("a connection"), now).await;
            // A minute is more than any pause between two tries, and less than a machine may be silent.
            if let Some(due) = due.expect("an instant").filter(|due| *due > self.clock.now()) {
                self.clock.advance((due - self.clock.now()).min(chrono::TimeDelta::minutes(1)));
                self.let_machines_be_heard().await;
                self.porter().notifier.wake();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until what is owed is as wanted; time stays as it is.
    pub async fn backlog_when(&self, what: &str, holds: impl Fn(&db::jobs::Backlog) -> bool) {
        let began = Instant::now();
        loop {
            let mut connection = self.porter().db.read().await.expect("a connection");
            let backlog = db::jobs::backlog(&mut connection, self.clock.now()).await.expect("a count");
            if holds(&backlog) {
                return;
            }
            assert!(began.elapsed() < TEST_TIMEOUT, "timed out waiting until {what}: {backlog:?}");
            drop(connection);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no job is owed. Jobs that wait for their time get it: the clock jumps to it.
    pub async fn drained(&self) {
        let began = Instant::now();
        loop {
            let now = self.clock.now();
            let context = self.porter();
            let (pending, due) = {
                let mut connection = context.db.read().await.expect("a connection");
                let backlog = db::jobs::backlog(&mut connection, now).await.expect("a count");
                (backlog, db::jobs::next_due(&mut connection, now).await.expect("an instant"))
            };
            if pending.pending == 0 {
                return;
            }
            if let Some(due) = due {
                self.clock.advance(due - now);
                context.notifier.wake();
            }
            assert!(
                began.elapsed() < TEST_TIMEOUT,
                "jobs are still owed: {pending:?}\n{}",
                logs::latest_warnings()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The task's one status comment. Counts as read.
    pub fn status_comment(&self, issue: u64, id: &TaskId) -> Comment {
        let about = format!("\"taskId\":\"{id}\"");
        self.one_comment(issue, &about, "status comment")
    }

    /// Porter's one answer to a comment, once it is there. Counts as read.
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

    /// The labels of an issue, sorted.
    pub fn labels(&self, issue: u64) -> Vec<String> {
        let mut labels = self.github.labels(REPO, issue);
        labels.sort();
        labels
    }

    /// The pull requests that Porter opened, and no more.
    pub fn pulls(&self) -> Vec<Pull> {
        self.github.pull_requests(REPO)
    }

    /// The one pull request there is.
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
