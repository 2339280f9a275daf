//! Runs workers as Fly Machines (main-spec §7).
//!
//! Creating a Fly Machine is not idempotent, and "a 408 is ambiguous" (superfly/flyctl). Three measures ensure that
//! each attempt has one machine: its name is derived from task and attempt and is unique in the app; its metadata
//! contains both; and after an ambiguous answer the runner searches for the metadata before it tries again.

mod provider;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;

use super::name::machine_name;
use super::{Error, LaunchSpec, Machine, MachineState, Runner};
use domain::task::TaskId;

pub use provider::FlyMachines;

/// The metadata key of the task id.
const TASK: &str = "porter_task";
/// The metadata key of the attempt number.
const ATTEMPT: &str = "porter_attempt";
/// How many times one launch tries to create the machine. Further tries are left to the next launch.
const CREATES: u32 = 2;
/// How many times an idempotent call is tried.
const ASKS: u32 = 3;
/// A call that took this long is not repeated at once.
const CREATE_LOOK_DELAY: Duration = Duration::from_secs(5);
/// The delay before searching for a machine whose creation is in doubt.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The time between SIGTERM and SIGKILL, for the worker's last push and report. Fly's default is 5 s, its maximum 300
/// s.
const STOP_TIMEOUT: &str = "120s";
/// The longest part of Fly's explanation that is shown, in characters.
const MAX_MESSAGE: usize = 300;
/// The shortest environment value that is redacted from an error message; shorter values may be ordinary words.
const MIN_SECRET_CHARS: usize = 12;

/// Runs workers as machines of one Fly app, with one token.
pub struct FlyRunner {
    client: fly::Client,
    app: String,
    pause: Duration,
}

impl FlyRunner {
    /// Returns a runner for machines of `app`, managed with the client's token.
    pub fn new(client: fly::Client, app: &str) -> Self {
        Self { client, app: app.to_owned(), pause: LOOK_INTERVAL }
    }

    /// Sets the delay between an ambiguous answer and the search for its effect.
    pub fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Repeats an idempotent call a few times when Fly is unavailable.
    async fn ask<T, F>(&self, call: impl Fn() -> F) -> Result<T, fly::Error>
    where
        F: Future<Output = Result<T, fly::Error>>,
    {
        for _ in 1..ASKS {
            let began = Instant::now();
            match call().await {
                Err(fly::Error::Unavailable { .. }) if began.elapsed() < CREATE_LOOK_DELAY => {
                    tokio::time::sleep(self.pause / 4).await;
                }
                answer => return answer,
            }
        }
        call().await
    }

    async fn launch_one(&self, spec: LaunchSpec) -> Result<Machine, Error> {
        let (task, attempt) = (spec.task.clone(), spec.attempt);
        let secrets: Vec<String> =
            spec.env.values().filter(|value| value.len() >= MIN_SECRET_CHARS).cloned().collect();
        let request = create_request(spec);

        let mut found = self.find_one(&task, attempt).await?;
        let mut doubt = None;
        for _ in 0..CREATES {
            if let Some(machine) = found {
                return Ok(machine);
            }
            match self.client.create_machine(&self.app, &request).await {
                Ok(machine) => {
                    return Ok(Machine { id: machine.id, task, attempt, state: state(&machine.state) });
                }
                // The machine may exist; after a conflict it certainly existed a moment ago.
                Err(error @ (fly::Error::Unavailable { .. } | fly::Error::Conflict { .. })) => {
                    doubt = Some(error);
                    tokio::time::sleep(self.pause).await;
                    found = self.find_one(&task, attempt).await?;
                }
                Err(error) => return Err(self.error(without(&secrets, error))),
            }
        }
        match (found, doubt) {
            (Some(machine), _) => Ok(machine),
            (None, Some(fly::Error::Conflict { .. })) => self.explain_conflict(&request.name).await,
            (None, Some(error)) => Err(self.error(without(&secrets, error))),
            (None, None) => Err(Error::Unavailable { message: NO_ANSWER.to_owned(), source: None }),
        }
    }

    /// Explains a conflict when the name is taken but no machine has the metadata. Either the list is outdated and a
    /// later search succeeds, or a person created a machine with this name and none will.
    async fn explain_conflict(&self, name: &str) -> Result<Machine, Error> {
        let machines = self.ask(|| self.client.list_machines(&self.app, &[])).await;
        let machines = machines.map_err(|error| self.error(error))?;
        if machines.iter().any(|machine| machine.name == name && ours(machine).is_none()) {
            let message = format!(
                "the app `{}` has a machine named `{name}` that is not Porter's. Destroy it, then retry.",
                self.app
            );
            return Err(Error::Refused { message: rejected(&message) });
        }
        let message = format!("Fly says that the machine `{name}` exists, but does not show it yet.");
        Err(Error::Unavailable { message, source: None })
    }

    async fn find_one(&self, task: &TaskId, attempt: u32) -> Result<Option<Machine>, Error> {
        let metadata = [(TASK, task.as_str())];
        let machines = self.ask(|| self.client.list_machines(&self.app, &metadata)).await;
        let mut machines: Vec<Machine> = machines
            .map_err(|error| self.error(error))?
            .iter()
            .filter_map(ours)
            .filter(|machine| machine.task == *task && machine.attempt == attempt)
            .collect();
        // If there are two machines in spite of this, every caller chooses the same one, preferably a running one.
        machines.sort_by(|a, b| {
            (a.state == MachineState::Gone, &a.id).cmp(&(b.state == MachineState::Gone, &b.id))
        });
        Ok(machines.into_iter().next())
    }

    async fn load(&self, id: &str) -> Result<Option<Machine>, Error> {
        match self.ask(|| self.client.machine(&self.app, id)).await {
            Ok(machine) => Ok(ours(&machine)),
            Err(fly::Error::NotFound) => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    async fn stop_one(&self, id: &str) -> Result<(), Error> {
        let stop = stop_config();
        match self.ask(|| self.client.stop_machine(&self.app, id, &stop)).await {
            Ok(()) | Err(fly::Error::NotFound) => Ok(()),
            // Fly may reject stopping a machine that has ended.
            Err(error @ (fly::Error::Rejected { .. } | fly::Error::Conflict { .. })) => {
                self.unless_gone(id, error).await
            }
            Err(error) => Err(self.error(error)),
        }
    }

    async fn destroy_one(&self, id: &str) -> Result<(), Error> {
        match self.ask(|| self.client.destroy_machine(&self.app, id)).await {
            Ok(()) | Err(fly::Error::NotFound) => Ok(()),
            // Fly may reject destroying a machine that is being destroyed.
            Err(error @ (fly::Error::Rejected { .. } | fly::Error::Conflict { .. })) => {
                match self.ask(|| self.client.machine(&self.app, id)).await {
                    Err(fly::Error::NotFound) => Ok(()),
                    Ok(machine) if is_destroyed(&machine.state) => Ok(()),
                    _ => Err(self.error(error)),
                }
            }
            Err(error) => Err(self.error(error)),
        }
    }

    async fn unless_gone(&self, id: &str, error: fly::Error) -> Result<(), Error> {
        match self.load(id).await? {
            Some(machine) if machine.state != MachineState::Gone => Err(self.error(error)),
            _ => Ok(()),
        }
    }

    fn error(&self, error: fly::Error) -> Error {
        let app = &self.app;
        match error {
            fly::Error::RateLimited { after } => {
                let seconds = after.as_secs_f32().ceil();
                let message =
                    format!("Fly allows no more calls at present; Porter waits {seconds} s and tries again.");
                Error::RateLimited { after, message }
            }
            fly::Error::Unavailable { status, source } => Error::Unavailable {
                message: status.map_or_else(
                    || NO_ANSWER.to_owned(),
                    |status| format!("Fly's Machines API is in trouble (HTTP {status})."),
                ),
                source: source.map(Into::into),
            },
            fly::Error::InvalidToken => Error::Refused { message: INVALID_TOKEN.to_owned() },
            fly::Error::Forbidden => Error::Refused {
                message: format!(
                    "The Fly token may not manage machines of the app `{app}`. Save a token for that app in \
                     Porter's settings."
                ),
            },
            fly::Error::NotFound => Error::Refused {
                message: format!(
                    "There is no Fly app `{app}`. Create it, or save another name in Porter's settings."
                ),
            },
            fly::Error::Conflict { message } => Error::Unavailable {
                message: format!("Something else is happening to the machine: {}", short(&message)),
                source: None,
            },
            fly::Error::NoCapacity { message } => Error::NoCapacity {
                message: format!("Fly has no room for this machine at present: {}", short(&message)),
            },
            fly::Error::Rejected { message } => Error::Refused { message: rejected(&short(&message)) },
        }
    }
}

const NO_ANSWER: &str = "Fly's Machines API did not answer.";
const INVALID_TOKEN: &str =
    "Fly did not accept the API token: it is wrong, expired or revoked. Save a new one in Porter's settings.";

fn rejected(reason: &str) -> String {
    format!("The machine was refused: {reason}")
}

impl Runner for FlyRunner {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>> {
        Box::pin(self.launch_one(spec))
    }

    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        Box::pin(self.find_one(task, attempt))
    }

    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        Box::pin(self.load(id))
    }

    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.stop_one(id))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.destroy_one(id))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>> {
        Box::pin(async {
            let machines = self.ask(|| self.client.list_machines(&self.app, &[])).await;
            Ok(machines.map_err(|error| self.error(error))?.iter().filter_map(ours).collect())
        })
    }
}

fn create_request(spec: LaunchSpec) -> fly::CreateMachine {
    let metadata = [(TASK, spec.task.to_string()), (ATTEMPT, spec.attempt.to_string())];
    let file =
        |(guest_path, content): (String, String)| fly::File { guest_path, raw_value: BASE64.encode(content) };
    fly::CreateMachine {
        name: machine_name(&spec.task, spec.attempt),
        region: spec.region,
        config: fly::MachineConfig {
            image: spec.image,
            auto_destroy: true,
            restart: fly::Restart { policy: "no" },
            guest: fly::Guest { cpu_kind: "shared", cpus: spec.cpus, memory_mb: spec.memory_mb },
            metadata: BTreeMap::from(metadata.map(|(key, value)| (key.to_owned(), value))),
            env: spec.env,
            files: spec.files.into_iter().map(file).collect(),
            stop_config: stop_config(),
        },
    }
}

fn stop_config() -> fly::StopConfig {
    fly::StopConfig { signal: "SIGTERM", timeout: STOP_TIMEOUT.to_owned() }
}

/// Returns the machine if it has Porter's metadata.
fn ours(machine: &fly::Machine) -> Option<Machine> {
    Some(Machine {
        id: machine.id.clone(),
        task: TaskId::parse(machine.metadata(TASK)?)?,
        attempt: machine.metadata(ATTEMPT)?.parse().ok()?,
        state: state(&machine.state),
    })
}

/// Converts Fly's states (<https://fly.io/docs/machines/machine-states/>). An unknown state counts as running, so
/// that no machine is abandoned early; the watchdog ends silent ones.
fn state(state: &str) -> MachineState {
    match state {
        "created" | "creating" | "starting" | "restarting" | "updating" | "replacing" => {
            MachineState::Starting
        }
        "stopped" | "failed" | "launch_failed" | "replaced" | "migrated" => MachineState::Gone,
        state if is_destroyed(state) => MachineState::Gone,
        _ => MachineState::Running,
    }
}

fn is_destroyed(state: &str) -> bool {
    matches!(state, "destroying" | "destroyed")
}

/// Redacts `secrets` from Fly's explanation of a refusal, which may quote the request.
fn without(secrets: &[String], error: fly::Error) -> fly::Error {
    let redacted = |message: String| {
        secrets.iter().fold(message, |message, secret| message.replace(secret.as_str(), "[redacted]"))
    };
    match error {
        fly::Error::Rejected { message } => fly::Error::Rejected { message: redacted(message) },
        fly::Error::NoCapacity { message } => fly::Error::NoCapacity { message: redacted(message) },
        fly::Error::Conflict { message } => fly::Error::Conflict { message: redacted(message) },
        other => other,
    }
}

/// Shortens Fly's message for a comment on an issue. Called after [`without`], so that no secret is cut in two.
fn short(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}
