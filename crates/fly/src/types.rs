//! The parts of Fly's wire format that Porter uses. Field names are Fly's
//! (`tests/fixtures/fly/machines-openapi.json`; the tests' fake rejects unknown fields).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An app.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// The name, unique across Fly.
    #[serde(default)]
    pub name: String,
    /// The organization that owns it.
    pub organization: Option<Organization>,
}

/// An organization.
#[derive(Clone, Debug, Deserialize)]
pub struct Organization {
    /// The slug.
    #[serde(default)]
    pub slug: String,
}

#[derive(Serialize)]
pub(super) struct CreateApp<'a> {
    pub name: &'a str,
    pub org_slug: &'a str,
    pub network: &'a str,
}

#[derive(Deserialize)]
pub(super) struct TokenList {
    pub tokens: Option<Vec<TokenInfo>>,
}

/// The scope of a token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    /// The organization of the token.
    pub org_slug: String,
    /// The apps it is restricted to; `None`: all apps of the organization.
    pub apps: Option<Vec<String>>,
    /// The user, if it is a personal token.
    pub user: Option<String>,
}

/// A machine to create. Contains secrets (`config.env`), so it has no `Debug`.
#[derive(Serialize)]
pub struct CreateMachine {
    /// The name, unique in the app.
    pub name: String,
    /// The region; Fly chooses one if it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The configuration.
    pub config: MachineConfig,
}

/// The configuration of a machine.
#[derive(Serialize)]
pub struct MachineConfig {
    /// The container image.
    pub image: String,
    /// Whether to destroy the machine when its program exits.
    pub auto_destroy: bool,
    /// Whether to restart the program. Fly's default is `on-failure`.
    pub restart: Restart,
    /// The size.
    pub guest: Guest,
    /// Labels for finding the machine.
    pub metadata: BTreeMap<String, String>,
    /// The program's environment.
    pub env: BTreeMap<String, String>,
    /// Files written into the file system before the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// How the machine is stopped. Fly's default signal is SIGINT.
    pub stop_config: StopConfig,
}

/// When to restart the program.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restart {
    /// `no`, `on-failure` or `always`.
    pub policy: &'static str,
}

/// A machine's size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Guest {
    /// `shared` or `performance`.
    pub cpu_kind: &'static str,
    /// The number of CPUs.
    pub cpus: u32,
    /// Memory in MiB, a multiple of 256.
    pub memory_mb: u32,
}

/// A file inside the machine.
#[derive(Serialize)]
pub struct File {
    /// The absolute path.
    pub guest_path: String,
    /// The content in base64.
    pub raw_value: String,
}

/// How a machine is stopped.
#[derive(Clone, Debug, Serialize)]
pub struct StopConfig {
    /// The signal sent first.
    pub signal: &'static str,
    /// The time until it is killed, e.g. `10s`.
    pub timeout: String,
}

/// An existing or former machine.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Fly's id.
    pub id: String,
    /// The name it was created with.
    #[serde(default)]
    pub name: String,
    /// `created`, `starting`, `started`, `stopping`, `stopped`, `destroying`, `destroyed`, `failed`, …
    #[serde(default)]
    pub state: String,
    config: Option<Labels>,
    /// The last known configuration while the machine's host is unreachable.
    incomplete_config: Option<Labels>,
}

/// The only part of a configuration that is read.
#[derive(Clone, Debug, Deserialize)]
struct Labels {
    metadata: Option<BTreeMap<String, String>>,
}

impl Machine {
    /// Returns the value of a metadata key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        [&self.config, &self.incomplete_config]
            .into_iter()
            .find_map(|config| config.as_ref()?.metadata.as_ref()?.get(key))
            .map(String::as_str)
    }
}
