//! The parts of Fly's wire format that Porter uses. Field names are Fly's own
//! (`tests/fixtures/fly/machines-openapi.json`; the fake of the tests refuses any it does not know).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An app.
#[derive(Clone, Debug, Deserialize)]
pub struct App {
    /// Its name, unique at Fly.
    #[serde(default)]
    pub name: String,
    /// Whose it is.
    pub organization: Option<Organization>,
}

/// An organization.
#[derive(Clone, Debug, Deserialize)]
pub struct Organization {
    /// Its short name.
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

/// What a token may do.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    /// The organization it is for.
    pub org_slug: String,
    /// The apps it is restricted to; absent: all of the organization's.
    pub apps: Option<Vec<String>>,
    /// The person it is for, if it is a person's.
    pub user: Option<String>,
}

/// A machine to be made. Holds secrets (`config.env`): it has no `Debug`.
#[derive(Serialize)]
pub struct CreateMachine {
    /// Unique in the app.
    pub name: String,
    /// Where; Fly chooses when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// What to run.
    pub config: MachineConfig,
}

/// What a machine runs, and how.
#[derive(Serialize)]
pub struct MachineConfig {
    /// The container image.
    pub image: String,
    /// Destroy the machine once its program ended.
    pub auto_destroy: bool,
    /// Whether to start the program again. Fly's default is `on-failure`.
    pub restart: Restart,
    /// Its size.
    pub guest: Guest,
    /// Labels to find it by.
    pub metadata: BTreeMap<String, String>,
    /// The program's environment.
    pub env: BTreeMap<String, String>,
    /// Files put into the image before the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// How it is asked to end. Fly's default signal is SIGINT.
    pub stop_config: StopConfig,
}

/// When to start the program again.
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
    /// How many.
    pub cpus: u32,
    /// Memory in MiB, a multiple of 256.
    pub memory_mb: u32,
}

/// A file inside the machine.
#[derive(Serialize)]
pub struct File {
    /// Its absolute path.
    pub guest_path: String,
    /// Its content in base64.
    pub raw_value: String,
}

/// How a machine is asked to end.
#[derive(Clone, Debug, Serialize)]
pub struct StopConfig {
    /// The signal sent first.
    pub signal: &'static str,
    /// When to pull the plug, as `10s`.
    pub timeout: String,
}

/// A machine that is (or was) there.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Fly's name for it.
    pub id: String,
    /// The name it was made with.
    #[serde(default)]
    pub name: String,
    /// `created`, `starting`, `started`, `stopping`, `stopped`, `destroying`, `destroyed`, `failed`, …
    #[serde(default)]
    pub state: String,
    config: Option<Labels>,
    /// What is known of the configuration while the machine's host cannot be reached.
    incomplete_config: Option<Labels>,
}

/// The only part of a configuration that is read back.
#[derive(Clone, Debug, Deserialize)]
struct Labels {
    metadata: Option<BTreeMap<String, String>>,
}

impl Machine {
    /// The value of a metadata key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        [&self.config, &self.incomplete_config]
            .into_iter()
            .find_map(|config| config.as_ref()?.metadata.as_ref()?.get(key))
            .map(String::as_str)
    }
}
