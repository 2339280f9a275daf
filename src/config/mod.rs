//! The configuration: what the operator says through the environment (contract §3), checked once at the
//! start, then passed on as plain values. Nothing else in Porter reads the environment.
//!
//! [`Config::load`] is called by `app`, `doctor` and `demo`; [`Database::load`] and [`Import::load`] by
//! the commands that need no more than that. [`variables`] holds the one table behind `--help` and the
//! README. What users save about themselves is not configuration: it lives in `accounts`.

mod database;
mod environment;
mod fly;
mod github;
mod reader;
mod service;
mod variables;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use secrecy::SecretString;
use url::Url;

pub use database::{Database, Import};
pub use environment::{DotenvError, Environment, load_dotenv, variable};
pub use fly::Fly;
pub use github::{GithubApp, GithubUrls};
pub use reader::{ConfigErrors, Problem};
pub use service::{Limits, MachineSettings, RunnerKind};
pub use variables::{Need, VARIABLES, Variable, database_help, help, import_help, readme_table};

use reader::Reader;

/// Everything `porter serve` is told. Secrets print as `[REDACTED]`.
///
/// Every base URL ends in `/`: build addresses with `url.join("relative/path")`, without a leading slash.
#[derive(Clone, Debug)]
pub struct Config {
    /// `PUBLIC_APP_URL`: an origin; callbacks and links are built from it.
    pub public_url: Url,
    /// `DATABASE_URL`.
    pub database: Database,
    /// `BIND_ADDR`.
    pub bind: SocketAddr,
    /// `WEBHOOK_SECRET`; present exactly when [`Config::github`] is.
    pub webhook_secret: Option<SecretString>,
    /// `PORTER_SECRET_ENCRYPTION_KEY`: the root of encryption at rest.
    pub encryption_root: SecretString,
    /// `PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS`: older roots, still accepted for reading.
    pub encryption_previous: Vec<SecretString>,
    /// `SESSION_SECRET`; without it one is made and kept encrypted in the database.
    pub session_secret: Option<SecretString>,
    /// `CALLBACK_SECRET`; without it the key is derived from the encryption root.
    pub callback_secret: Option<SecretString>,
    /// The GitHub App. `None` when the environment names nothing of it; a half-described App is an error.
    pub github: Option<GithubApp>,
    /// Where GitHub is, and how fast we may write to it.
    pub github_urls: GithubUrls,
    /// Machines at Fly.
    pub fly: Fly,
    /// `ANTHROPIC_API_BASE_URL`, asked whether a key is valid.
    pub anthropic_base_url: Url,
    /// `PORTER_RUNNER`: where agents run.
    pub runner: RunnerKind,
    /// The machine a task gets.
    pub machine: MachineSettings,
    /// The operator's caps.
    pub limits: Limits,
    /// `PORTER_ALLOWLIST`, lower case; empty means anyone who may push.
    pub allowlist: Vec<String>,
    /// `PORTER_SHARED_<ENV_KEY>`, by `ENV_KEY`: what users without a key of their own fall back to.
    pub shared_keys: BTreeMap<String, SecretString>,
    /// `PORTER_ENABLE_MOCK_AGENT`.
    pub mock_agent: bool,
}

impl Config {
    /// Reads and checks the whole configuration.
    ///
    /// # Errors
    /// Every problem at once, each with the variable's name and how to get a value. No secret is quoted.
    pub fn load(environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(environment);
        let public_url = service::public_url(&mut reader);
        let database = database::read(&mut reader);
        let (encryption_root, encryption_previous) = database::encryption(&mut reader);
        let bind = service::bind(&mut reader);
        let session_secret = service::session_secret(&mut reader);
        let callback_secret = reader.secret("CALLBACK_SECRET");
        let github_urls = github::urls(&mut reader);
        let app = github::app(&mut reader, github_urls.as_ref());
        let fly = fly::read(&mut reader);
        let anthropic_base_url = reader.url("ANTHROPIC_API_BASE_URL");
        let runner = service::runner(&mut reader);
        let machine = service::machine(&mut reader);
        let limits = service::limits(&mut reader);
        let allowlist = service::allowlist(&reader);
        let shared_keys = service::shared_keys(&mut reader);
        let mock_agent = reader.flag("PORTER_ENABLE_MOCK_AGENT");

        match (public_url, database, encryption_root, bind, github_urls, fly, anthropic_base_url, limits) {
            (
                Some(public_url),
                Some(database),
                Some(encryption_root),
                Some(bind),
                Some(github_urls),
                Some(fly),
                Some(anthropic_base_url),
                Some(limits),
            ) if reader.is_content() => {
                let (github, webhook_secret) = app.unzip();
                Ok(Self {
                    public_url,
                    database,
                    bind,
                    webhook_secret,
                    encryption_root,
                    encryption_previous,
                    session_secret,
                    callback_secret,
                    github,
                    github_urls,
                    fly,
                    anthropic_base_url,
                    runner,
                    machine,
                    limits,
                    allowlist,
                    shared_keys,
                    mock_agent,
                })
            }
            _ => Err(reader.into_errors()),
        }
    }

    /// What is legal but worth telling the operator at the start; one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.github.is_none() {
            warnings.push(
                "the environment describes no GitHub App; Porter serves health and the startup check only"
                    .to_owned(),
            );
        }
        if self.runner == RunnerKind::Local {
            warnings.push(
                "PORTER_RUNNER is local: agents run on this machine, without isolation; for development only"
                    .to_owned(),
            );
        }
        if self.public_url.scheme() == "http" {
            warnings.push("PUBLIC_APP_URL is http: cookies and callbacks travel unencrypted".to_owned());
        }
        if self.limits.task_timeout > Limits::TOKEN_LIFETIME_MARGIN {
            warnings.push(
                "PORTER_TASK_TIMEOUT_MINUTES is over 55: GitHub's installation tokens live one hour, so a \
                 longer task may not be able to push"
                    .to_owned(),
            );
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
