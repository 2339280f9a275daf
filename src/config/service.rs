//! Settings of the service itself: address, runner, machines and limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::fly::SHARED_NAMES;
use super::reader::Reader;

/// Where agents run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunnerKind {
    /// A Fly Machine for each attempt.
    Fly,
    /// A child process of the service, for development and the demo.
    Local,
}

impl RunnerKind {
    /// Every kind of machines that Porter can start.
    pub const ALL: [Self; 2] = [Self::Fly, Self::Local];

    /// Its name in `PORTER_RUNNER`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fly => "fly",
            Self::Local => "local",
        }
    }
}

/// The machine of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSettings {
    /// `PORTER_WORKER_IMAGE`.
    pub image: String,
    /// `PORTER_MACHINE_CPUS`: shared cores.
    pub cpus: u32,
    /// `PORTER_MACHINE_MEMORY_MB`: a multiple of 256.
    pub memory_mb: u32,
    /// `PORTER_MACHINE_REGION`; if `None`, Fly chooses.
    pub region: Option<String>,
}

/// The operator's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `PORTER_TASK_TIMEOUT_MINUTES`: the maximum run time of an agent; users can only lower it.
    pub task_timeout: Duration,
    /// `PORTER_MAX_CONCURRENT_TASKS_PER_USER`: running tasks of one person.
    pub per_user: u32,
    /// `PORTER_MAX_CONCURRENT_TASKS`: running tasks of all people.
    pub overall: u32,
    /// `PORTER_MAX_QUEUED_TASKS_PER_USER`: queued tasks of one person; `None` is no limit.
    pub queued_per_user: Option<u32>,
}

impl Limits {
    /// A task with a longer timeout may outlive its installation token, which expires after one hour.
    pub const TOKEN_LIFETIME_MARGIN: Duration = Duration::from_mins(55);
}

pub(super) fn public_url(reader: &mut Reader<'_>) -> Option<Url> {
    let name = "PUBLIC_APP_URL";
    let Some(text) = reader.own_text(name) else {
        reader.missing(name);
        return None;
    };
    let url = reader.url(name)?;
    if url.path() != "/" {
        reader.problem(
            name,
            format_args!("is {text:?}; Porter needs a host of its own, so it must not have a path"),
        );
        return None;
    }
    Some(url)
}

pub(super) fn bind(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text("BIND_ADDR")?;
    let address = text.parse().ok();
    if address.is_none() {
        reader.problem(
            "BIND_ADDR",
            format_args!("is {text:?}; it must be an IP address and a port, for example 127.0.0.1:8080"),
        );
    }
    address
}

pub(super) fn session_secret(reader: &mut Reader<'_>) -> Option<SecretString> {
    let secret = reader.secret("SESSION_SECRET")?;
    let length = secret.expose_secret().len();
    if length < 32 {
        reader.problem(
            "SESSION_SECRET",
            format_args!(
                "has {length} bytes; it needs 32 or more. Make one with: openssl rand -base64 32, or leave \
                 it unset"
            ),
        );
    }
    Some(secret)
}

pub(super) fn runner(reader: &mut Reader<'_>) -> RunnerKind {
    let Some(name) = reader.text("PORTER_RUNNER") else { return RunnerKind::Fly };
    RunnerKind::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or_else(|| {
        let valid = RunnerKind::ALL.map(RunnerKind::as_str).join(", ");
        reader.problem("PORTER_RUNNER", format_args!("is {name:?}; valid are: {valid}"));
        RunnerKind::Fly
    })
}

pub(super) fn machine(reader: &mut Reader<'_>) -> MachineSettings {
    let cpus = reader.number("PORTER_MACHINE_CPUS", 1..=16).unwrap_or_default();
    let memory_mb = reader.number("PORTER_MACHINE_MEMORY_MB", 256..=65_536).unwrap_or_default();
    if !memory_mb.is_multiple_of(256) {
        reader.problem(
            "PORTER_MACHINE_MEMORY_MB",
            format_args!("is {memory_mb}; Fly takes multiples of 256 only"),
        );
    }
    MachineSettings {
        image: reader.text("PORTER_WORKER_IMAGE").unwrap_or_default().to_owned(),
        cpus,
        memory_mb,
        region: reader.text("PORTER_MACHINE_REGION").map(str::to_owned),
    }
}

pub(super) fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let minutes = reader.number("PORTER_TASK_TIMEOUT_MINUTES", 1..=1440);
    let per_user = reader.number("PORTER_MAX_CONCURRENT_TASKS_PER_USER", 1..=1000);
    let overall = reader.number("PORTER_MAX_CONCURRENT_TASKS", 1..=10_000);
    let queued_per_user = reader.number("PORTER_MAX_QUEUED_TASKS_PER_USER", 1..=10_000);
    Some(Limits {
        task_timeout: Duration::from_mins(u64::from(minutes?)),
        per_user: per_user?,
        overall: overall?,
        queued_per_user,
    })
}

pub(super) fn allowlist(reader: &Reader<'_>) -> Vec<String> {
    let list = reader.text("PORTER_ALLOWLIST").or_else(|| reader.text("PORTER_PRODUCTION_ALLOWLIST"));
    let logins = list.unwrap_or_default().split(',').map(|login| login.trim().trim_start_matches('@'));
    logins.filter(|login| !login.is_empty()).map(str::to_lowercase).collect()
}

/// The provider keys that everyone shares, by the agent's own variable.
pub(super) fn shared_keys(reader: &mut Reader<'_>) -> BTreeMap<String, SecretString> {
    let mut shared = BTreeMap::new();
    for (key, value) in reader.with_prefix("PORTER_SHARED_").filter(|(key, _)| !SHARED_NAMES.contains(key)) {
        if is_environment_key(key) {
            shared.insert(key.to_owned(), SecretString::from(value.trim()));
        } else {
            reader.problem(
                &format!("PORTER_SHARED_{key}"),
                "does not end in an agent's variable, for example PORTER_SHARED_ANTHROPIC_API_KEY",
            );
        }
    }
    shared
}

fn is_environment_key(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_uppercase())
        && key.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_')
}
