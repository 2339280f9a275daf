//! The use cases, from a comment to a pull request, in the order in which they happen. Each decides with
//! `domain`, writes once with `db`, and leaves what must follow as durable jobs; `jobs` calls back for those.
//!
//! `web` calls [`intake`], [`create`], [`control`] and [`reports`]; `jobs` calls the rest. Nothing here knows
//! HTTP servers or pages.

use domain::ids::{InstallationId, UserId};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use url::Url;

use crate::accounts;
use crate::runner;
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
pub mod fleet;
pub mod intake;
pub mod launch;
pub mod publish;
mod redaction;
pub mod redelivery;
pub mod reports;
pub mod retention;
pub mod sync_issue;
mod unit_of_work;
pub mod watch;

pub use unit_of_work::{Store, UnitOfWork};

/// What the use cases stand on. Cheap to clone. Whoever needs less takes less: [`Store`], [`intake::Intake`],
/// [`reports::Callbacks`], [`create::Creation`].
#[derive(Clone)]
pub struct Context {
    store: Store,
    github: github::Client,
    fleet: fleet::Fleet,
    credentials: accounts::credentials::Credentials,
    keys: Arc<Keys>,
    policy: Arc<Policy>,
    /// Since when this process runs: before that nobody could report to it, and it tried nothing.
    began: DateTime<Utc>,
}

/// The operator's rules, as the configuration gives them.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where people and workers reach this Porter.
    pub(crate) public_url: Url,
    /// Where GitHub's pages and repositories are.
    pub(crate) github_web_url: Url,
    /// The App's number.
    pub(crate) app_id: u64,
    /// Lower-case logins that may ask; empty means everyone who may push.
    pub(crate) allowlist: Vec<String>,
    /// How many tasks run at once.
    pub(crate) caps: db::queue::Caps,
    /// How many tasks of one person may wait.
    pub(crate) queued_per_user: Option<u32>,
    /// Every agent there is, and the providers whose keys they use.
    pub(crate) agents: Registry,
    /// How long an agent may run.
    pub(crate) task_timeout: Duration,
    /// The mock agent may be asked for.
    pub(crate) mock_agent: bool,
    /// The machine a task gets.
    pub(crate) machine: crate::config::MachineSettings,
}

impl Policy {
    /// The page of a task.
    pub fn task_url(&self, task: &TaskId) -> String {
        self.link(&format!("tasks/{task}"))
    }

    /// The agents that may be asked for.
    pub fn offered(&self) -> impl Iterator<Item = &Agent> + Clone {
        self.agents.agents().iter().filter(|agent| self.mock_agent || agent.id != "mock")
    }

    /// The one of them with this id or alias.
    pub fn find_agent(&self, name: &str) -> Option<&Agent> {
        self.offered().find(|agent| agent.is_called(name))
    }

    /// Their ids.
    pub fn agent_ids(&self) -> Vec<String> {
        self.offered().map(|agent| agent.id.clone()).collect()
    }

    /// An address below the public one.
    pub fn link(&self, path: &str) -> String {
        format!("{}/{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Why a use case did not succeed, by how the caller reacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Db(#[from] db::Error),
    /// GitHub.
    #[error("GitHub failed")]
    Github(#[from] github::Error),
    /// The machines.
    #[error("the machines failed")]
    Runner(#[from] runner::Error),
    /// Stored keys.
    #[error("a stored key could not be used")]
    Credentials(#[from] accounts::Error),
    /// There is no such task, or not for this person.
    #[error("there is no such task")]
    NotFound,
    /// The task's state does not allow it.
    #[error(transparent)]
    InvalidState(#[from] InvalidState),
    /// The person asked for something that cannot be; the text is for them.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// When the remote side asked to be left alone until.
    pub fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Github(error) => error.retry_at(now),
            Self::Runner(runner::Error::RateLimited { after }) => {
                Some(now + TimeDelta::from_std(*after).unwrap_or(TimeDelta::minutes(1)))
            }
            _ => None,
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The effect is there.
    Done,
    /// Nothing went wrong, but there is more to do then.
    Again(DateTime<Utc>),
}

impl Context {
    /// The use cases over these parts, from now on.
    pub fn new(
        store: Store,
        github: github::Client,
        fleet: fleet::Fleet,
        credentials: accounts::credentials::Credentials,
        keys: Keys,
        policy: Policy,
    ) -> Self {
        let began = store.now();
        Self { store, github, fleet, credentials, keys: Arc::new(keys), policy: Arc::new(policy), began }
    }

    /// The database, the time, and who is notified of changes.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The operator's rules.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The token that the worker of this attempt presents.
    pub fn callback_token(&self, id: &TaskId, attempt: u32) -> SecretString {
        self.keys.callback_token(id, attempt)
    }

    /// Where this person's machines are now; `None` when they lack what that takes.
    ///
    /// # Errors
    /// [`Error::Db`].
    pub async fn place_of_person(&self, github_user_id: UserId) -> Result<Option<fleet::Place>, Error> {
        let person = self.credentials.load(github_user_id).await?;
        Ok(self.fleet.place(&person, None))
    }

    /// The current instant.
    pub fn now(&self) -> DateTime<Utc> {
        self.store.now()
    }

    /// How long Porter has been waiting since `instant`, or trying: time in which it was not there does not
    /// count, so that an outage of Porter's own is held against nobody.
    pub fn tried_for(&self, instant: DateTime<Utc>) -> TimeDelta {
        self.now() - instant.max(self.began)
    }

    /// How many calls GitHub has served for an installation: more than before means that GitHub is there.
    pub fn calls_served(&self, installation: InstallationId) -> u64 {
        self.github.installation(installation).calls_served()
    }

    /// The task, wherever it stands.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Db`].
    pub async fn load(&self, id: &TaskId) -> Result<Task, Error> {
        db::tasks::find(&mut *self.store.read().await?, id).await?.ok_or(Error::NotFound)
    }

    /// Lets `event` happen to the task if `choose` still wants it when it sees the task inside the write.
    /// Gives the task as it is afterwards, and whether it was changed.
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

    /// Ends an attempt that cannot go on, if it is still the one that runs.
    ///
    /// # Errors
    /// [`Error::Db`].
    pub async fn end_attempt(&self, task: &Task, event: Event) -> Result<(), Error> {
        let same = |now: &Task| now.status == Status::Running && now.attempt.number == task.attempt.number;
        self.change(&task.id, |now| same(now).then_some(event)).await?;
        Ok(())
    }
}

/// How long a launch is tried before the task fails with an explanation.
pub(crate) const LAUNCH_TIMEOUT: TimeDelta = TimeDelta::hours(1);
