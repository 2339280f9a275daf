//! Runs workers: one machine for each attempt of a task, on any kind of machine.
//!
//! [`Runner`] starts, finds and ends machines. [`MachineProvider`] determines what a kind of machines requires of a
//! person and returns the [`Runner`] for that person. [`fly`] implements both with Fly Machines, [`local`] with child
//! processes on this computer; `tests/porter/runner` runs the same tests against each. `tasks` calls this module to
//! launch and stop machines and from the watchdog. `domain::assignment` defines the worker's input, and `worker`
//! implements it.

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

/// Starts, finds and ends machines. Every operation is idempotent, also with concurrent callers and after a crash at
/// any point.
pub trait Runner: Send + Sync {
    /// Starts the machine of this task and attempt. An existing one, running or ended and not yet destroyed, is
    /// adopted, so there are never two.
    ///
    /// # Errors
    /// [`Error`]; after a temporary one, the call may be repeated: it searches for the machine before it creates one.
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>>;

    /// Returns the machine of this task and attempt.
    ///
    /// # Errors
    /// [`Error`] when this cannot be determined at present.
    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>>;

    /// Returns the machine with this id, or `None` when it was destroyed.
    ///
    /// # Errors
    /// [`Error`] when this cannot be determined at present.
    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>>;

    /// Asks the machine's worker to end (SIGTERM): it ends its agent, saves the work and reports. Does not wait for
    /// the worker. Succeeds if the machine has ended or does not exist.
    ///
    /// # Errors
    /// [`Error`] when the request failed.
    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Destroys the machine with its contents at once. Succeeds if it does not exist.
    ///
    /// # Errors
    /// [`Error`] when the machine may still exist.
    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Lists all of Porter's machines, including ended ones.
    ///
    /// # Errors
    /// [`Error`] when this cannot be determined at present.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>>;
}

/// A machine as reported by its runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The runner's id of the machine.
    pub id: String,
    /// The task that the machine works on.
    pub task: TaskId,
    /// The attempt of the task.
    pub attempt: u32,
    /// The machine's state.
    pub state: MachineState,
}

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// The machine was created; its worker does not run yet.
    Starting,
    /// The worker runs.
    Running,
    /// The worker has ended or will never start.
    Gone,
}

/// The machine to start. It contains secrets and therefore does not implement `Debug`.
#[derive(Clone)]
pub struct LaunchSpec {
    /// The task that the machine works on.
    pub task: TaskId,
    /// The attempt of the task, counted from 1.
    pub attempt: u32,
    /// The container image; the local runner ignores it.
    pub image: String,
    /// The number of shared CPUs.
    pub cpus: u32,
    /// The memory in MiB, a multiple of 256.
    pub memory_mb: u32,
    /// The geographic region; `None` lets the runner choose.
    pub region: Option<String>,
    /// The worker's environment.
    pub env: BTreeMap<String, String>,
    /// Files for the worker: absolute path inside the machine, and content.
    pub files: Vec<(String, String)>,
}

impl LaunchSpec {
    /// Returns the machine for `assignment`: its environment, and the prompt as a file when it is too long for a
    /// variable.
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

    /// Sets the region.
    pub fn in_region(self, region: Option<String>) -> Self {
        Self { region, ..self }
    }
}

/// Why an operation on a machine failed, grouped by how the caller reacts. The message may be shown to the requester;
/// each runner writes its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too many calls; retry after this time.
    #[error("{message}")]
    RateLimited {
        /// How long to wait.
        after: Duration,
        /// A sentence that includes the wait.
        message: String,
    },
    /// The result is unclear; retry later.
    #[error("{message}")]
    Unavailable {
        /// What happened, as a sentence.
        message: String,
        /// The cause, for the log.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// No capacity at present; retry later.
    #[error("{message}")]
    NoCapacity {
        /// The service's explanation, as a sentence.
        message: String,
    },
    /// Retrying cannot succeed until a person changes something.
    #[error("{message}")]
    Refused {
        /// The cause and the remedy, as a sentence.
        message: String,
    },
}

impl Error {
    /// Returns whether the same call may succeed later without any change.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
