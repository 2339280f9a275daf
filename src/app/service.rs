//! Builds and runs the service for a GitHub App. [`Setup`] builds the parts when the App becomes known, at the start
//! or later; `run_engines` runs the engine of the latest service. Called by `app` only.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use secrecy::SecretString;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Machines, beside};
use crate::accounts::credentials::Credentials;
use crate::accounts::sessions::Sessions;
use crate::config::{self, Config, RunnerKind};
use crate::jobs;
use crate::runner::MachineProvider;
use crate::runner::fly::FlyMachines;
use crate::runner::local::LocalRunner;
use crate::tasks::intake::Intake;
use crate::tasks::{Context, Policy, Store};
use crate::web::{Service, ServiceSlot};
use crypto::tokens::Keys;
use crypto::vault::Vault;
use db::Db;
use db::queue::Caps;
use domain::agent::Registry;
use domain::clock::Clock;

/// Configures Porter's GitHub App, also while Porter runs. Cheap to clone.
#[derive(Clone)]
pub struct Setup(Arc<Parts>);

/// The parts of a service that do not depend on the App.
struct Parts {
    config: Config,
    db: Db,
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
    machines: Machines,
    slot: ServiceSlot,
    engines: UnboundedSender<Engine>,
    configuring: tokio::sync::Mutex<()>,
}

/// The result of a configuration.
#[derive(Clone)]
pub struct Configured {
    /// The use cases.
    pub context: Context,
    /// The sessions.
    pub sessions: Sessions,
}

/// The background work of a service.
pub(super) struct Engine {
    context: Context,
    recorder: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Setup {
    pub(super) fn new(
        config: Config,
        db: Db,
        vault: Arc<Vault>,
        clock: Clock,
        machines: Machines,
        slot: ServiceSlot,
    ) -> (Self, UnboundedReceiver<Engine>) {
        let (engines, latest) = mpsc::unbounded_channel();
        let store = Store::new(db.clone(), clock.clone());
        (
            Self(Arc::new(Parts {
                config,
                db,
                store,
                vault,
                clock,
                machines,
                slot,
                engines,
                configuring: tokio::sync::Mutex::default(),
            })),
            latest,
        )
    }

    /// Serves this App instead of the previous one. Requests in progress continue with the previous service, whose
    /// engine ends before the new one starts.
    ///
    /// # Errors
    /// The reason why the service cannot be built; then the previous one continues.
    pub async fn configure(
        &self,
        app: &config::GithubApp,
        webhook_secret: SecretString,
    ) -> anyhow::Result<Configured> {
        let Parts { config, db, vault, clock, slot, engines, configuring, .. } = self.0.as_ref();
        // One at a time, so that the service that is served and the engine that runs belong to the same App.
        let _alone = configuring.lock().await;
        let context = self.0.context(app)?;
        let (intake, recorder) = Intake::new(&context);
        let configured = config.session_secret.clone();
        let sessions = Sessions::open(db.clone(), clock.clone(), vault, configured).await?;
        let engine = Engine { context: context.clone(), recorder: Box::pin(recorder) };
        engines.send(engine).ok().context("Porter is shutting down")?;
        slot.set(Service::new(&context, intake, sessions.clone(), webhook_secret));
        Ok(Configured { context, sessions })
    }
}

impl Parts {
    fn context(&self, app: &config::GithubApp) -> anyhow::Result<Context> {
        let Self { config, db, vault, .. } = self;
        let machines = match &self.machines.provider {
            Some(provider) => provider.clone(),
            None => provider(config, self.machines.worker.as_deref())?,
        };
        let kinds = RunnerKind::ALL.iter().map(|kind| kind.as_str()).chain([machines.kind()]);
        let kinds = kinds.map(str::to_owned).collect();
        Ok(Context::new(
            self.store.clone(),
            github_client(config, app, self.clock.clone())?,
            machines,
            Credentials::new(db.clone(), vault.clone(), config.shared_keys.clone(), kinds),
            Keys::new(&config.encryption_root, &config.encryption_previous, config.callback_secret.as_ref()),
            policy(config, app)?,
        ))
    }
}

fn github_client(config: &Config, app: &config::GithubApp, clock: Clock) -> anyhow::Result<github::Client> {
    let settings = github::Settings {
        api_url: config.github_urls.api.clone(),
        app_id: app.app_id.to_string(),
        private_key: app.private_key.clone(),
        mutation_interval: config.github_urls.mutation_interval,
    };
    github::Client::new(settings, clock).context("the GitHub client cannot be made")
}

/// Returns the provider that `PORTER_RUNNER` names. A new kind of machines is added here. `worker` is the program of
/// local machines.
fn provider(config: &Config, worker: Option<&Path>) -> anyhow::Result<Arc<dyn MachineProvider>> {
    Ok(match config.runner {
        RunnerKind::Fly => {
            let config::Fly { base_url, shared_token, shared_app } = &config.fly;
            let api = fly::Api::new(base_url).context("FLY_API_BASE_URL")?;
            Arc::new(FlyMachines::new(api, shared_token.clone(), shared_app.clone()))
        }
        RunnerKind::Local => {
            let program = match worker {
                Some(program) => program.to_owned(),
                None => std::env::current_exe().context("the path of this program is unknown")?,
            };
            let search_path = config::variable("PATH").unwrap_or_default();
            let folder = beside(&config.database.path, "machines");
            let runner = LocalRunner::new(&folder, &program, &search_path)
                .with_context(|| format!("{} cannot be written", folder.display()))?;
            Arc::new(runner)
        }
    })
}

fn policy(config: &Config, app: &config::GithubApp) -> anyhow::Result<Policy> {
    let limits = &config.limits;
    Ok(Policy {
        public_url: config.public_url.clone(),
        github_web_url: config.github_urls.web.clone(),
        app_id: app.app_id,
        allowlist: config.allowlist.clone(),
        caps: Caps { per_user: limits.per_user, overall: limits.overall },
        queued_per_user: limits.queued_per_user,
        agents: Registry::shipped().context("the registry of agents")?,
        task_timeout: limits.task_timeout,
        mock_agent: config.mock_agent,
        machine: config.machine.clone(),
    })
}

/// Runs the engine of the latest service and ends each engine before the next starts. Returns after `stop`, when
/// every recorder of webhooks has ended.
pub(super) async fn run_engines(
    mut engines: UnboundedReceiver<Engine>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut recorders = JoinSet::new();
    // A recorder runs as soon as its engine arrives: the service that feeds it is served already.
    let start_recorder = |recorders: &mut JoinSet<()>, Engine { context, recorder }: Engine| {
        recorders.spawn(recorder);
        context
    };
    let mut next = tokio::select! {
        () = stop.cancelled() => None,
        first = engines.recv() => first.map(|first| start_recorder(&mut recorders, first)),
    };
    while let Some(context) = next {
        let ending = stop.child_token();
        let mut running = Box::pin(jobs::run(context, ending.clone()));
        next = loop {
            tokio::select! {
                ended = running.as_mut() => {
                    ended.context("the engine ended")?;
                    break None;
                }
                Some(next) = engines.recv() => {
                    let next = start_recorder(&mut recorders, next);
                    ending.cancel();
                    running.await.context("the engine ended")?;
                    break Some(next);
                }
                // The recorder of a replaced service ends after the service's last request.
                Some(ended) = recorders.join_next() => ended.context("the recorder of webhooks panicked")?,
            }
        };
    }
    // Configured while Porter was shutting down: requests may wait for its recorder.
    engines.close();
    while let Ok(late) = engines.try_recv() {
        start_recorder(&mut recorders, late);
    }
    while let Some(ended) = recorders.join_next().await {
        ended.context("the recorder of webhooks panicked")?;
    }
    Ok(())
}
