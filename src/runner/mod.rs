//! Where workers run: one machine for each attempt of a task, whatever a machine is there.
//!
//! [`Runner`] starts, finds and ends machines; [`MachineProvider`] says what a kind of machines requires of a
//! person and gives the [`Runner`] of that person's. [`fly`] does both with Fly Machines, [`local`] with child
//! processes on this computer; `tests/porter/runner` runs the same tests against each. `tasks` calls it (launch,
//! stop, the watchdog's sweep). What the worker is told is `domain::assignment`'s, what it does is `worker`'s.

pub mod fly;
pub mod local;
mod name;
mod processes;
mod provider;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use domain::assignment::{Assignment, PROMPT_FILE};
use domain::task::TaskId;

pub use provider::{Holdings, MachineProvider, Scope};

/// Starts, finds and ends machines. Every verb may be repeated, by several callers at once and after a
/// crash anywhere inside it.
pub trait Runner: Send + Sync {
    /// Starts the machine of this task and attempt. One that is there already (running, or ended and not yet
    /// destroyed) is adopted: there are never two.
    ///
    /// # Errors
    /// [`Error`]; after a temporary one, call again: it looks for the machine before it makes one.
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>>;

    /// The machine of this task and attempt.
    ///
    /// # Errors
    /// [`Error`] when that cannot be told at present.
    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>>;

    /// The machine with this id; nothing when it is gone for good.
    ///
    /// # Errors
    /// [`Error`] when that cannot be told at present.
    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>>;

    /// Asks the machine's worker to end (SIGTERM): it ends its agent, saves what is worth keeping and
    /// reports. Does not wait for that. A machine that has ended or is not there is fine.
    ///
    /// # Errors
    /// [`Error`] when it could not be asked.
    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Ends the machine now, with everything in it. One that is not there is fine.
    ///
    /// # Errors
    /// [`Error`] when it may still be there.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Every machine that is Porter's, ended or not.
    ///
    /// # Errors
    /// [`Error`] when that cannot be told at present.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>>;
}

/// A machine, as its runner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The runner's name for it.
    pub id: String,
    /// Whose it is.
    pub task: TaskId,
    /// Which run of the task.
    pub attempt: u32,
    /// Where it stands.
    pub state: MachineState,
}

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// Made; the worker does not run yet.
    Starting,
    /// The worker runs.
    Running,
    /// The worker has ended, or never will begin.
    Gone,
}

/// The machine to start. Holds secrets: it has no `Debug`.
#[derive(Clone)]
pub struct LaunchSpec {
    /// Whose it is.
    pub task: TaskId,
    /// Which run of the task, from 1.
    pub attempt: u32,
    /// The container image (the local runner has none).
    pub image: String,
    /// Shared CPUs.
    pub cpus: u32,
    /// Memory in MiB, a multiple of 256.
    pub memory_mb: u32,
    /// In which part of the world; nothing leaves that to the runner.
    pub region: Option<String>,
    /// The worker's environment.
    pub env: BTreeMap<String, String>,
    /// Files the worker reads: absolute path inside the machine, content.
    pub files: Vec<(String, String)>,
}

impl LaunchSpec {
    /// A machine for `assignment`: its environment, and the prompt as a file when it is too long for that.
    pub fn new(task: TaskId, assignment: &Assignment, image: &str, cpus: u32, memory_mb: u32) -> Self {
        let (env, prompt) = assignment.to_env();
        Self {
            task,
            attempt: assignment.attempt,
            image: image.to_owned(),
            cpus,
            memory_mb,
            region: None,
            env,
            files: prompt.map(|prompt| (PROMPT_FILE.to_owned(), prompt)).into_iter().collect(),
        }
    }

    /// The same in this region.
    pub fn in_region(self, region: Option<String>) -> Self {
        Self { region, ..self }
    }
}

/// Why a machine could not be started, found or ended, by how the caller reacts. What it says may be shown to the
/// person who asked; each runner words it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many calls: try again after this time.
    #[error("{message}")]
    RateLimited {
        /// How long to wait.
        after: Duration,
        /// The same, as a sentence.
        message: String,
    },
    /// No clear answer: try again later.
    #[error("{message}")]
    Unavailable {
        /// What happened, as a sentence.
        message: String,
        /// Why, for the log.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// There is no room at present: try again later.
    #[error("{message}")]
    NoCapacity {
        /// What was said, as a sentence.
        message: String,
    },
    /// It will not work however often it is tried: somebody must do something first.
    #[error("{message}")]
    Refused {
        /// Why, and what to do, as a sentence.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing anything.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
