//! The configuration: the environment variables (main-spec §3), checked once at the start and then passed on as
//! plain values. Nothing else in Porter reads the environment.
//!
//! [`Config::load`] is called by `app`, `doctor` and `demo`; [`Database::load`] and [`Import::load`] by
//! the commands that need only those settings. [`variables`] contains the table from which `--help` and the
//! README are generated. Settings that users save are not part of the configuration; see `accounts`.

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

/// The configuration of `porter serve`. `Debug` prints secrets as `[REDACTED]`.
///
/// Every base URL ends in `/`: build URLs with `url.join("relative/path")`, without a leading slash.
#[derive(Clone, Debug)]
pub struct Config {
    /// `PUBLIC_APP_URL`: the public origin, from which callback URLs and links are built.
    pub public_url: Url,
    /// `DATABASE_URL`.
    pub database: Database,
    /// `BIND_ADDR`.
    pub bind: SocketAddr,
    /// `WEBHOOK_SECRET`; set if and only if [`Config::github`] is.
    pub webhook_secret: Option<SecretString>,
    /// `PORTER_SECRET_ENCRYPTION_KEY`: the root secret of encryption at rest.
    pub encryption_root: SecretString,
    /// `PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS`: older root secrets, accepted for decryption.
    pub encryption_previous: Vec<SecretString>,
    /// `SESSION_SECRET`; if unset, a secret is generated and stored encrypted in the database.
    pub session_secret: Option<SecretString>,
    /// `CALLBACK_SECRET`; if unset, the key is derived from the encryption root.
    pub callback_secret: Option<SecretString>,
    /// The GitHub App. `None` if none of its variables is set; an incomplete set is an error.
    pub github: Option<GithubApp>,
    /// GitHub's URLs and the interval between mutations.
    pub github_urls: GithubUrls,
    /// The settings of machines at Fly.
    pub fly: Fly,
    /// `ANTHROPIC_API_BASE_URL`, used to check whether an Anthropic key is valid.
    pub anthropic_base_url: Url,
    /// `PORTER_RUNNER`: where agents run.
    pub runner: RunnerKind,
    /// The size and image of a task's machine.
    pub machine: MachineSettings,
    /// The operator's limits.
    pub limits: Limits,
    /// `PORTER_ALLOWLIST` in lower case; if empty, anyone with push permission is allowed.
    pub allowlist: Vec<String>,
    /// `PORTER_SHARED_<ENV_KEY>`, by `ENV_KEY`: provider keys for users without their own.
    pub shared_keys: BTreeMap<String, SecretString>,
    /// `PORTER_ENABLE_MOCK_AGENT`.
    pub mock_agent: bool,
}

impl Config {
    /// Reads and checks the whole configuration.
    ///
    /// # Errors
    /// All problems at once, each with the variable's name and how to obtain a value. No secret is quoted.
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

    /// Returns settings that are valid but that the operator should know about, one sentence each.
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
