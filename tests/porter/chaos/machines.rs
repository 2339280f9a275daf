//! The programs on the fake Fly's machines: workers that push a real commit and report it. The seed and the issue
//! determine a worker's behaviour. A worker that is killed with its machine sends no further reports.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use domain::assignment::Assignment;
use serde_json::{Value, json};
use standin::{File, StandIn};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::random::Random;
use crate::fake_fly::{FakeFly, Happening, Machine};

/// The behaviour of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conduct {
    /// Pushes and repeats its report until it is accepted.
    Reports,
    /// Pushes and exits before it reports.
    IsLost,
    /// Sends its report twice at the same time, and once more later.
    ReportsTwice,
    /// Pushes, and reports some seconds later.
    IsLate,
    /// Sends progress reports while it works.
    Talks,
    /// Reports that the agent failed.
    Fails,
    /// Reports success without a commit.
    ChangesNothing,
    /// Exits without a commit or a report.
    Dies,
    /// Pushes, and reports once the test continues it. Used only if a test selects it.
    Waits,
}

impl Conduct {
    /// Returns the behaviour that the seed assigns to an issue.
    pub fn of(seed: u64, repository: &str, issue: u64) -> Self {
        match Random::of(seed, &format!("{repository}#{issue}")).below(100) {
            0..40 => Self::Reports,
            40..55 => Self::IsLost,
            55..70 => Self::ReportsTwice,
            70..78 => Self::IsLate,
            78..86 => Self::Talks,
            86..92 => Self::Fails,
            92..96 => Self::ChangesNothing,
            _ => Self::Dies,
        }
    }

    /// Returns whether it must result in a pull request.
    pub fn succeeds(self) -> bool {
        !matches!(self, Self::Fails | Self::ChangesNothing | Self::Dies)
    }
}

/// All workers on one fake Fly.
#[derive(Clone)]
pub struct Machines {
    seed: u64,
    github: StandIn,
    fly: FakeFly,
    http: reqwest::Client,
    state: Arc<Mutex<State>>,
    go: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// Workers by their machine's id.
    running: HashMap<String, AbortHandle>,
    /// The number of machines created for each task and attempt.
    made: HashMap<(String, String), u32>,
    /// All tokens given to machines, each with its repository.
    tokens: Vec<(String, String)>,
    /// The behaviour of all workers, if a test has selected one.
    all: Option<Conduct>,
}

impl Machines {
    /// Runs a worker on every machine that `fly` creates.
    pub fn run(seed: u64, github: &StandIn, fly: &FakeFly) -> Self {
        let http = tls::client().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        let machines = Self {
            seed,
            github: github.clone(),
            fly: fly.clone(),
            http,
            state: Arc::default(),
            go: watch::Sender::new(false),
        };
        let all = machines.clone();
        fly.on(move |happening| match happening {
            Happening::Created(machine) => all.begin(&machine),
            Happening::Signalled { id, .. } => all.end(&id, true),
            Happening::Destroyed { id } => all.end(&id, false),
        });
        machines
    }

    /// Returns the number of machines created for each task and attempt.
    pub fn made(&self) -> HashMap<(String, String), u32> {
        self.state().made.clone()
    }

    /// Returns the tokens given to machines, with their repositories.
    pub fn tokens(&self) -> Vec<(String, String)> {
        self.state().tokens.clone()
    }

    /// Makes all workers that start later behave like this.
    pub fn all(&self, conduct: Conduct) {
        self.state().all = Some(conduct);
    }

    /// Continues the workers that wait.
    pub fn go_on(&self) {
        self.go.send_replace(true);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with the lock")
    }

    fn begin(&self, machine: &Machine) {
        let env = machine.env();
        let read =
            |path: &str| machine.files().remove(path).ok_or_else(|| std::io::ErrorKind::NotFound.into());
        let assignment = Assignment::from_env(|name| env.get(name).cloned(), read);
        let assignment = assignment.expect("everything a worker needs");
        let id = machine.id.clone();
        let mut state = self.state();
        *state.made.entry((assignment.task_id.clone(), assignment.attempt.to_string())).or_default() += 1;
        state.tokens.push((assignment.repo_full_name.clone(), assignment.github_token.clone()));
        let this = self.clone();
        let worker = tokio::spawn({
            let id = id.clone();
            async move {
                this.work(&assignment).await;
                this.fly.exited(&id);
            }
        });
        state.running.insert(id, worker.abort_handle());
    }

    fn end(&self, id: &str, exits: bool) {
        if let Some(worker) = self.state().running.remove(id) {
            worker.abort();
        }
        if exits {
            self.fly.exited(id);
        }
    }

    async fn work(&self, assignment: &Assignment) {
        let own = || Conduct::of(self.seed, &assignment.repo_full_name, assignment.issue_number);
        let conduct = self.state().all.unwrap_or_else(own);
        let mut random = Random::of(self.seed, &assignment.task_id);
        let work = random.time(Duration::from_millis(200), Duration::from_millis(2500));
        match conduct {
            Conduct::Dies => return tokio::time::sleep(work).await,
            Conduct::Fails => {
                tokio::time::sleep(work).await;
                let words = json!({"failure_stage": "agent", "error": "The agent gave up."});
                return self.report(assignment, "failed", words).await;
            }
            Conduct::ChangesNothing => {
                tokio::time::sleep(work).await;
                return self.report(assignment, "complete", json!({"summary": "All was well."})).await;
            }
            Conduct::Talks => {
                for percent in [10, 40, 80] {
                    tokio::time::sleep(work / 3).await;
                    self.progress(assignment, percent).await;
                }
            }
            _ => tokio::time::sleep(work).await,
        }
        let Some(commit) = self.push(assignment).await else {
            let words = json!({"failure_stage": "push", "error": "The token is dead."});
            return self.report(assignment, "failed", words).await;
        };
        let words = json!({"commit_hash": commit, "branch_name": assignment.branch, "summary": "Done."});
        match conduct {
            Conduct::IsLost => {}
            Conduct::Waits => {
                self.go.subscribe().wait_for(|go| *go).await.expect("the test goes on");
                self.report(assignment, "success", words).await;
            }
            Conduct::IsLate => {
                let late = random.time(Duration::from_secs(2), Duration::from_secs(8));
                tokio::time::sleep(late).await;
                self.report(assignment, "success", words).await;
            }
            Conduct::ReportsTwice => {
                tokio::join!(
                    self.report(assignment, "success", words.clone()),
                    self.report(assignment, "success", words.clone())
                );
                self.report(assignment, "success", words).await;
            }
            _ => self.report(assignment, "success", words).await,
        }
    }

    /// Checks that the token allows a push, like git, then commits. `None` if the token is revoked.
    async fn push(&self, assignment: &Assignment) -> Option<String> {
        loop {
            match may_push(&self.http, &assignment.repo_url, &assignment.github_token).await {
                Some(true) => break,
                Some(false) => return None,
                None => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        let file = File::text(format!("work/{}.md", assignment.task_id), &assignment.prompt);
        let repository = assignment.repo_full_name.as_str();
        let commit = self.github.commit(repository, &assignment.branch, &[file], "The agent's work").await;
        Some(commit.expect("a commit"))
    }

    async fn progress(&self, assignment: &Assignment, percent: u8) {
        let body = json!({
            "task_id": assignment.task_id, "attempt": assignment.attempt, "progress": percent,
            "message": "working", "events": ["a line"],
        });
        // Like the real worker's progress reports, it is lost if the server does not respond.
        self.post(&assignment.progress_url, assignment, &body).await;
    }

    /// Repeats the report until Porter accepts it or rejects it with a status below 500.
    async fn report(&self, assignment: &Assignment, status: &str, words: Value) {
        let mut body = words;
        body["task_id"] = assignment.task_id.as_str().into();
        body["attempt"] = assignment.attempt.into();
        body["status"] = status.into();
        let mut rest = Duration::from_millis(500);
        loop {
            match self.post(&assignment.callback_url, assignment, &body).await {
                Some(status) if status < 500 => return,
                _ => tokio::time::sleep(rest).await,
            }
            rest = (rest * 2).min(Duration::from_secs(5));
        }
    }

    async fn post(&self, url: &str, assignment: &Assignment, body: &Value) -> Option<u16> {
        let request =
            self.http.post(url).header("X-Porter-Callback-Token", &assignment.callback_token).json(body);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }
}

/// Returns whether a token allows a push, with git's request; `None` if GitHub's answer is unclear.
pub async fn may_push(http: &reqwest::Client, repo_url: &str, token: &str) -> Option<bool> {
    let url = format!("{repo_url}/info/refs?service=git-receive-pack");
    let answer = http.get(url).basic_auth("x-access-token", Some(token)).send().await.ok()?;
    match answer.status().as_u16() {
        200 => Some(true),
        401 => Some(false),
        _ => None,
    }
}
