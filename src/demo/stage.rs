//! What stands on the stage: a GitHub with one repository and one person, and a Porter that serves them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::accounts::sign_in;
use crate::app::{App, Machines};
use crate::config::{self, Config, Environment};
use crate::tasks::Context;
use crypto::tokens::new_session_id;
use crypto::vault::Vault;
use domain::agent::Specification;
use domain::clock::Clock;
use standin::sample;
use standin::{File, Permission, StandIn};

/// Who asks.
pub const PERSON: &str = "ada";
const PERSON_ID: u32 = 1815;
/// Where the sample project is.
pub const REPOSITORY: &str = "lovelace/greeter";

/// Everything, running.
pub struct Stage {
    /// GitHub's part.
    pub github: StandIn,
    /// Porter's ground.
    pub porter: Context,
    /// Where Porter's pages are.
    pub porter_url: String,
    running: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Stage {
    /// Starts GitHub's part and Porter, and lets the person sign in.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn put_up(
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
        let (owner, name) = REPOSITORY.split_once('/').context("the repository has an owner")?;
        github.add_repository(owner, name, &files, "main").await?;
        github.grant(REPOSITORY, PERSON, Permission::Write)?;
        github.install(owner).await?;

        let environment = environment(&github, folder, agent)?;
        let config = Config::load(&environment)?;
        let vault = Vault::new(config.encryption_root.clone(), Vec::new());
        let porter_url = config.public_url.as_str().trim_end_matches('/').to_owned();
        let machines = Machines { worker, provider: None };
        let app = App::build(config, &environment, Clock::system(), machines, stop.clone()).await?;
        let porter = app.context().context("the demo's Porter has its GitHub App")?.clone();
        let token = github.sign_in(PERSON)?.access;
        let now = porter.now();
        sign_in::record(app.db(), &vault, PERSON_ID.into(), PERSON, &token, now).await?;
        github.set_webhook_url(format!("{porter_url}/api/webhooks/github"));
        let running = tokio::spawn(app.run());
        Ok(Self { github, porter, porter_url, running, stop })
    }

    /// Ends Porter; GitHub's part ends when this is gone.
    ///
    /// # Errors
    /// What Porter died of, if it did.
    pub async fn take_down(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.running.await.context("Porter panicked")?
    }
}

/// What an operator would set, for this stage.
fn environment(github: &StandIn, folder: &Path, agent: &Specification) -> anyhow::Result<Environment> {
    let app = github.app();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let secret = |secret: &SecretString| secret.expose_secret().to_owned();
    let mut environment = Environment::from_iter([
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
        // The pause is for github.com's sake; nobody is in a hurry to limit us here.
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
