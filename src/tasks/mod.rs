//! The use cases, from a comment to a pull request, in the order in which they happen. Each decides with `domain`,
//! writes one transaction with `db`, and enqueues its follow-up work as durable jobs, which `jobs` performs by
//! calling this module.
//!
//! `web` calls [`intake`], [`create`], [`control`] and [`reports`]; `jobs` calls the rest. Nothing here depends on
//! HTTP servers or pages.

use domain::ids::{InstallationId, UserId};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use url::Url;

use crate::accounts;
use crate::runner::{self, MachineProvider, Scope};
use crypto::tokens::Keys;
use domain::agent::{Agent, Registry};
use domain::task::{Event, InvalidState, Status, Task, TaskId};

pub mod admission;
pub mod answers;
mod attempt_token;
pub mod clean_up;
pub mod control;
pub mod create;
mod decision;
pub mod intake;
pub mod launch;
mod machines;
pub mod publish;
mod redaction;
pub mod redelivery;
pub mod reports;
pub mod retention;
pub mod sync_issue;
mod unit_of_work;
pub mod watch;

pub use unit_of_work::{Store, UnitOfWork};

/// The dependencies of the use cases. Cheap to clone. Code that needs fewer of them takes [`Store`],
/// [`intake::Intake`], [`reports::Callbacks`] or [`create::Creation`] instead.
#[derive(Clone)]
pub struct Context {
    store: Store,
    github: github::Client,
    machines: Arc<dyn MachineProvider>,
    credentials: accounts::credentials::Credentials,
    keys: Arc<Keys>,
    policy: Arc<Policy>,
    /// The start of this process. Before it, Porter received no reports and retried nothing.
    began: DateTime<Utc>,
}

/// The operator's rules from the configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The public base URL of this Porter, for people and workers.
    pub(crate) public_url: Url,
    /// The base URL of GitHub's pages and repositories.
    pub(crate) github_web_url: Url,
    /// The id of the GitHub App.
    pub(crate) app_id: u64,
    /// Lower-case logins that may make requests; empty allows everyone who may push.
    pub(crate) allowlist: Vec<String>,
    /// The limits on running tasks.
    pub(crate) caps: db::queue::Caps,
    /// The limit on queued tasks for each person.
    pub(crate) queued_per_user: Option<u32>,
    /// All agents, and the providers whose keys they use.
    pub(crate) agents: Registry,
    /// The operator's time limit for an agent.
    pub(crate) task_timeout: Duration,
    /// Whether the mock agent is available.
    pub(crate) mock_agent: bool,
    /// The size and image of a task's machine.
    pub(crate) machine: crate::config::MachineSettings,
}

impl Policy {
    /// Returns the URL of a task's page.
    pub fn task_url(&self, task: &TaskId) -> String {
        self.link(&format!("tasks/{task}"))
    }

    /// Returns the agents that people may use.
    pub fn offered(&self) -> impl Iterator<Item = &Agent> + Clone {
        self.agents.agents().iter().filter(|agent| self.mock_agent || agent.id != "mock")
    }

    /// Returns the available agent with this id or alias.
    pub fn find_agent(&self, name: &str) -> Option<&Agent> {
        self.offered().find(|agent| agent.is_called(name))
    }

    /// Returns the ids of the available agents.
    pub fn agent_ids(&self) -> Vec<String> {
        self.offered().map(|agent| agent.id.clone()).collect()
    }

    /// Returns the URL of `path` below the public base URL.
    pub fn link(&self, path: &str) -> String {
        format!("{}/{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Why a use case failed, grouped by how the caller reacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] db::Error),
    /// A call of GitHub failed.
    #[error("GitHub failed")]
    Github(#[from] github::Error),
    /// A call of the machine runner failed.
    #[error("the machines failed")]
    Runner(#[from] runner::Error),
    /// A stored key could not be used.
    #[error("a stored key could not be used")]
    Credentials(#[from] accounts::Error),
    /// The task does not exist, or this person may not see it.
    #[error("there is no such task")]
    NotFound,
    /// The task's status does not allow the operation.
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// The request cannot be fulfilled; the text is shown to the person.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// Returns the time until which the remote service asked Porter to wait.
    pub fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Github(error) => error.retry_at(now),
            Self::Runner(runner::Error::RateLimited { after, .. }) => {
                Some(now + TimeDelta::from_std(*after).unwrap_or(TimeDelta::minutes(1)))
            }
            _ => None,
        }
    }
}

/// The result of a job that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The job is complete.
    Done,
    /// The job must run again at this time.
    Again(DateTime<Utc>),
}

impl Context {
    /// Returns the use cases with these dependencies and records the current time as the start.
    pub fn new(
        store: Store,
        github: github::Client,
        machines: Arc<dyn MachineProvider>,
        credentials: accounts::credentials::Credentials,
        keys: Keys,
        policy: Policy,
    ) -> Self {
        let began = store.now();
        Self { store, github, machines, credentials, keys: Arc::new(keys), policy: Arc::new(policy), began }
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the operator's rules.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Returns the callback token of this attempt's worker.
    pub fn callback_token(&self, id: &TaskId, attempt: u32) -> SecretString {
        self.keys.callback_token(id, attempt)
    }

    /// Returns the scope of the person's machines, or `None` when they lack a required secret or setting.
    ///
    /// # Errors
    /// [`Error::Db`].
    pub async fn scope_of_person(&self, github_user_id: UserId) -> Result<Option<Scope>, Error> {
        let person = self.credentials.load(github_user_id).await?;
        let machines = self.machines.as_ref();
        Ok(machines.scope(&machines::holdings(machines, &person), None).ok())
    }

    /// Returns the current time.
    pub fn now(&self) -> DateTime<Utc> {
        self.store.now()
    }

    /// Returns how long Porter has been waiting or retrying since `instant`. Time before the start of this process is
    /// not counted, so that an outage of Porter does not cause timeouts.
    pub fn tried_for(&self, instant: DateTime<Utc>) -> TimeDelta {
        self.now() - instant.max(self.began)
    }

    /// Returns how many calls GitHub has served for an installation. An increase shows that GitHub is available.
    pub fn calls_served(&self, installation: InstallationId) -> u64 {
        self.github.installation(installation).calls_served()
    }

    /// Returns the task in any status.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn load(&self, id: &TaskId) -> Result<Task, Error> {
        db::tasks::find(&mut *self.store.read().await?, id).await?.ok_or(Error::NotFound)
    }

    /// Applies the event that `choose` returns for the task as the write transaction sees it. Returns the resulting
    /// task and whether it was changed.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidState`], [`Error::Db`].
    pub async fn change(
        &self,
        id: &TaskId,
        choose: impl FnOnce(&Task) -> Option<Event>,
    ) -> Result<(Task, bool), Error> {
        let mut work = self.store.begin().await?;
        let task = work.find(id).await?;
        let Some(event) = choose(&task) else { return Ok((task, false)) };
        let next = work.apply(&task, event).await?;
        work.commit().await?;
        Ok((next, true))
    }

    /// Ends an attempt with `event` if it is still the running one.
    ///
    /// # Errors
    /// [`Error::Db`].
    pub async fn end_attempt(&self, task: &Task, event: Event) -> Result<(), Error> {
        let same = |now: &Task| now.status == Status::Running && now.attempt.number == task.attempt.number;
        self.change(&task.id, |now| same(now).then_some(event)).await?;
        Ok(())
    }
}

/// How long a launch is retried before the task fails with an explanation.
pub(crate) const LAUNCH_TIMEOUT: TimeDelta = TimeDelta::hours(1);
