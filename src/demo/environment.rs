//! The parts of the demo: the GitHub stand-in with one repository and one person, and a Porter that serves
//! them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::sign_in;
use crate::app::{App, LocalWorker};
use crate::config::{self, Config};
use crate::tasks::Context;
use crypto::tokens::new_session_id;
use crypto::vault::Vault;
use domain::agent::Specification;
use domain::clock::Clock;
use domain::ids::UserId;
use standin::sample;
use standin::{File, Permission, StandIn};

/// The person who asks for the task.
pub const PERSON: &str = "ada";
const PERSON_ID: u32 = 1815;
/// The repository with the sample project.
pub const REPOSITORY: &str = "lovelace/greeter";

/// The running demo.
pub struct Environment {
    /// The GitHub stand-in.
    pub github: StandIn,
    /// Porter's context, to follow the task.
    pub porter: Context,
    /// The base URL of Porter.
    pub porter_url: String,
    running: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Environment {
    /// Starts the stand-in and Porter, and signs the person in.
    pub async fn start(
        folder: &Path,
        agent: &Specification,
        worker: Option<PathBuf>,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let scratch = Some(folder.join("github"));
        let github = StandIn::start(standin::Options { scratch, ..standin::Options::new() }).await?;
        github.add_user(PERSON, PERSON_ID.into());
        let files: Vec<File> = sample::files()
            .into_iter()
            .map(|(path, text, executable)| {
                let file = File::text(path, text);
                if executable { file.executable() } else { file }
            })
            .collect();
        let (owner, name) = REPOSITORY.split_once('/').context("the repository's name has no owner")?;
        github.add_repository(owner, name, &files, "main").await?;
        github.grant(REPOSITORY, PERSON, Permission::Write)?;
        github.install(owner).await?;

        let environment = variables(&github, folder, agent)?;
        let config = Config::load(&environment)?;
        let vault = Vault::new(config.encryption_root.clone(), Vec::new());
        let porter_url = config.public_url.as_str().trim_end_matches('/').to_owned();
        let local = LocalWorker { program: worker };
        let app = App::build(config, &environment, Clock::system(), local, stop.clone()).await?;
        let porter = app.context().context("the demo has no GitHub App")?.clone();
        let token = github.sign_in(PERSON)?.access;
        let now = porter.now();
        sign_in::record(app.db(), &vault, UserId::new(PERSON_ID.into()), PERSON, &token, now).await?;
        github.set_webhook_url(format!("{porter_url}/api/webhooks/github"));
        let running = tokio::spawn(app.run());
        Ok(Self { github, porter, porter_url, running, stop })
    }

    /// Stops Porter and returns its error, if any. The stand-in stops when it is dropped.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.await.context("Porter panicked")?
    }
}

/// The environment variables that an operator would set.
fn variables(github: &StandIn, folder: &Path, agent: &Specification) -> anyhow::Result<config::Environment> {
    let app = github.app();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let secret = |secret: &SecretString| secret.expose_secret().to_owned();
    let mut environment = config::Environment::from_iter([
        ("PUBLIC_APP_URL", format!("http://127.0.0.1:{port}")),
        ("BIND_ADDR", format!("127.0.0.1:{port}")),
        ("DATABASE_URL", format!("sqlite://{}", folder.join("porter.db").display())),
        ("WEBHOOK_SECRET", secret(&app.webhook_secret)),
        ("PORTER_SECRET_ENCRYPTION_KEY", secret(&new_session_id()?)),
        ("GITHUB_APP_ID", app.id.to_string()),
        ("GITHUB_APP_PRIVATE_KEY", secret(&app.private_key_pem)),
        ("GITHUB_APP_SLUG", app.slug),
        ("GITHUB_CLIENT_ID", app.client_id),
        ("GITHUB_CLIENT_SECRET", secret(&app.client_secret)),
        ("GITHUB_API_URL", github.api_url()),
        ("GITHUB_WEB_URL", github.web_url()),
        // The pause between mutations is a rule of github.com; the stand-in does not require it.
        ("PORTER_GITHUB_MUTATION_INTERVAL_MS", "0".to_owned()),
        ("PORTER_RUNNER", "local".to_owned()),
        ("PORTER_ENABLE_MOCK_AGENT", "true".to_owned()),
    ]);
    for key in agent.env_keys() {
        if let Some(value) = config::variable(key) {
            environment = environment.with(&format!("PORTER_SHARED_{key}"), &value);
        }
    }
    Ok(environment)
}
