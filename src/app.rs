//! The composition root: from the configuration to a running Porter. `serve`, `demo` and the tests start the
//! same parts here.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accounts::credentials::Credentials;
use crate::accounts::sessions::Sessions;
use crate::accounts::stored_secrets;
use crate::config::{self, Config, Environment, Need, RunnerKind};
use crate::runner::MachineProvider;
use crate::runner::fly::FlyMachines;
use crate::runner::local::LocalRunner;
use crate::tasks::create::IdempotencyLocks;
use crate::tasks::intake::Intake;
use crate::tasks::{Context, Policy, Store};
use crate::web::{self, Service, Site};
use crate::{jobs, lifecycle};
use crypto::tokens::Keys;
use crypto::vault::Vault;
use db::Db;
use db::queue::Caps;
use domain::agent::Registry;
use domain::clock::Clock;

/// A Porter that is about to run.
pub struct App {
    listener: TcpListener,
    site: Site,
    engine: Option<Context>,
    recorder: Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: CancellationToken,
    /// Held as long as Porter runs: two engines on one database would do everything twice.
    _lock: Lock,
}

/// What about machines is not as the configuration says.
#[derive(Clone, Default)]
pub struct Machines {
    /// The program that the local runner starts as `PROGRAM worker`, in place of this very one.
    pub worker: Option<PathBuf>,
    /// Machines of a kind that the configuration does not know.
    pub provider: Option<Arc<dyn MachineProvider>>,
}

impl App {
    /// Opens the database, brings it up to date, and puts the parts together. Nothing runs yet, but the
    /// address is bound.
    ///
    /// # Errors
    /// What keeps Porter from starting, as a sentence for the operator.
    pub async fn build(
        config: Config,
        environment: &Environment,
        clock: Clock,
        machines: Machines,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let lock = lock(&config.database.path)?;
        let db = open(&config.database.path).await?;
        let vault = Arc::new(Vault::new(config.encryption_root.clone(), config.encryption_previous.clone()));
        let adopted = import::adopt_fly_tokens(&mut *db.writer().await?, &vault).await?;
        if adopted > 0 {
            tracing::info!(users = adopted, "moved Fly tokens out of settings, into encrypted storage");
        }
        if !config.encryption_previous.is_empty() {
            rotate(&db, &vault).await?;
        }
        let startup = Arc::new(startup(environment, config.runner.as_str(), config.github.is_some()));
        let (service, engine, recorder) = match (&config.github, &config.webhook_secret) {
            (Some(app), Some(webhook_secret)) => {
                let context = context(&config, app, &db, &vault, clock.clone(), machines)?;
                let (intake, recorder) = Intake::new(context.clone());
                let sessions =
                    Sessions::open(db.clone(), clock, &vault, config.session_secret.clone()).await?;
                let service = Service {
                    context: context.clone(),
                    intake,
                    sessions,
                    webhook_secret: Arc::new(webhook_secret.clone()),
                };
                (Some(service), Some(context), Some(Box::pin(recorder) as _))
            }
            _ => (None, None, None),
        };
        let listener = TcpListener::bind(config.bind)
            .await
            .with_context(|| format!("BIND_ADDR {} cannot be bound", config.bind))?;
        let site = Site { db, startup, service, stop: stop.clone() };
        Ok(Self { listener, site, engine, recorder, stop, _lock: lock })
    }

    /// Where Porter listens.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The database, for what accounts write.
    pub fn db(&self) -> &Db {
        &self.site.db
    }

    /// What the use cases stand on, once the GitHub App is known.
    pub fn context(&self) -> Option<&Context> {
        self.engine.as_ref()
    }

    /// Who is signed in, once the GitHub App is known.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.site.service.as_ref().map(|service| &service.sessions)
    }

    /// Runs until the stop token is cancelled, then drains: no new work, what runs is finished or put back.
    ///
    /// # Errors
    /// When a part ends that should not have.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { listener, site, engine, recorder, stop, _lock } = self;
        let db = site.db.clone();
        let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
        if let Some(recorder) = recorder {
            // Ends when the server, which holds its other end, has ended.
            parts.spawn(async move {
                recorder.await;
                Ok(())
            });
        }
        if let Some(context) = engine {
            let stop = stop.clone();
            parts.spawn(async move { jobs::run(context, stop).await.context("the engine ended") });
        }
        let closing = stop.clone();
        parts.spawn(async move {
            web::serve(listener, web::router(site), closing).await;
            Ok(())
        });
        let mut outcome = Ok(());
        let drained = async {
            while let Some(ended) = parts.join_next().await {
                let ended = ended.context("a part of Porter panicked").and_then(|ended| ended);
                if ended.is_err() && outcome.is_ok() {
                    outcome = ended;
                }
                // One part that ends takes the others along.
                stop.cancel();
            }
        };
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(lifecycle::DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            () = drained => {}
            () = limit => tracing::warn!("some connections did not end in time"),
        }
        parts.shutdown().await;
        db.close().await;
        outcome
    }
}

/// `porter serve`.
///
/// # Errors
/// What keeps Porter from starting or running.
pub async fn serve() -> anyhow::Result<ExitCode> {
    let environment = Environment::process();
    let config = Config::load(&environment)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let app = App::build(config, &environment, Clock::system(), Machines::default(), stop).await?;
    tracing::info!(address = %app.address()?, version = env!("CARGO_PKG_VERSION"), "Porter listens");
    app.run().await?;
    tracing::info!("Porter has ended");
    Ok(ExitCode::SUCCESS)
}

/// `porter migrate`.
///
/// # Errors
/// When the configuration names no database, or it cannot be brought up to date.
pub async fn migrate() -> anyhow::Result<ExitCode> {
    let database = config::Database::load(&Environment::process())?;
    open(&database.path).await?.close().await;
    println!("{} is up to date", database.path.display());
    Ok(ExitCode::SUCCESS)
}

/// `porter import-d1`: imports `file` into `DATABASE_URL` and prints the report.
///
/// # Errors
/// The configuration, the file or the database is unfit; the message says what to do.
pub async fn import_d1(file: &Path) -> anyhow::Result<ExitCode> {
    let config = config::Import::load(&config::Environment::process())?;
    let vault = Vault::new(config.encryption_root, config.encryption_previous);
    let sql = tokio::fs::read(file).await.with_context(|| format!("cannot read {}", file.display()))?;
    let sql = String::from_utf8(sql).ok().with_context(|| format!("{} is not UTF-8", file.display()))?;
    let database = Db::open(&config.database.path).await?;
    database.migrate().await?;
    let mut connection = database.writer().await?;
    let report = import::import(&mut connection, &vault, &sql).await.context("nothing was imported")?;
    println!("{report}");
    Ok(ExitCode::SUCCESS)
}

async fn open(path: &Path) -> anyhow::Result<Db> {
    let db = Db::open(path).await.with_context(|| {
        format!(
            "the database {} cannot be opened; check DATABASE_URL and the folder's rights",
            path.display()
        )
    })?;
    db.migrate().await.with_context(|| format!("the database {}", path.display()))?;
    Ok(db)
}

/// Brings what is stored under a previous root secret under the current one.
async fn rotate(db: &Db, vault: &Vault) -> anyhow::Result<()> {
    let (resealed, closed) = stored_secrets::reseal(db, vault).await.context("the stored secrets")?;
    if closed > 0 {
        tracing::warn!(closed, resealed, "some stored secrets open with none of the root secrets");
    } else {
        tracing::info!(
            resealed,
            "every stored secret is under PORTER_SECRET_ENCRYPTION_KEY; PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS can go \
             once no task from before this start runs"
        );
    }
    Ok(())
}

/// The right to the database.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Not only closed: a process that is being started somewhere may have a copy for a moment.
        self.0.unlock().ok();
    }
}

/// Takes the database for this process.
fn lock(database: &Path) -> anyhow::Result<Lock> {
    let path = beside(database, "lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be written; check DATABASE_URL", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(_) => anyhow::bail!(
            "another porter runs on the database {}; stop it, or give this one its own DATABASE_URL",
            database.display()
        ),
    }
}

/// A file or folder that belongs to the database and lies beside it.
fn beside(database: &Path, what: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn context(
    config: &Config,
    app: &config::GithubApp,
    db: &Db,
    vault: &Arc<Vault>,
    clock: Clock,
    machines: Machines,
) -> anyhow::Result<Context> {
    let github = github::Client::new(
        github::Settings {
            api_url: config.github_urls.api.clone(),
            app_id: app.app_id.to_string(),
            private_key: app.private_key.clone(),
            mutation_interval: config.github_urls.mutation_interval,
        },
        clock.clone(),
    )
    .context("the GitHub client cannot be made")?;
    let machines = match machines.provider {
        Some(provider) => provider,
        None => provider(config, machines.worker)?,
    };
    let kinds = RunnerKind::ALL.iter().map(|kind| kind.as_str()).chain([machines.kind()]);
    let kinds = kinds.map(str::to_owned).collect();
    let limits = &config.limits;
    let began = clock.now();
    Ok(Context {
        store: Store::new(db.clone(), clock),
        github,
        machines,
        credentials: Credentials::new(db.clone(), vault.clone(), config.shared_keys.clone(), kinds),
        keys: Arc::new(Keys::new(
            &config.encryption_root,
            &config.encryption_previous,
            config.callback_secret.as_ref(),
        )),
        policy: Arc::new(Policy {
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
        }),
        turns: IdempotencyLocks::default(),
        began,
    })
}

/// The machines that `PORTER_RUNNER` names. A new kind has its line here.
fn provider(config: &Config, worker: Option<PathBuf>) -> anyhow::Result<Arc<dyn MachineProvider>> {
    Ok(match config.runner {
        RunnerKind::Fly => {
            let config::Fly { base_url, shared_token, shared_app } = &config.fly;
            let api = fly::Api::new(base_url).context("FLY_API_BASE_URL")?;
            Arc::new(FlyMachines::new(api, shared_token.clone(), shared_app.clone()))
        }
        RunnerKind::Local => {
            let program = match worker {
                Some(program) => program,
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

fn startup(environment: &Environment, runner: &'static str, configured: bool) -> web::health::Startup {
    let set = |name: &str| environment.get(name).is_some_and(|value| !value.trim().is_empty());
    let named = config::VARIABLES.iter().filter(|variable| !variable.name.contains('<'));
    // Without the others nothing starts; some of them also go by an older name.
    let needed = named.clone().filter(|variable| variable.need == Need::ForGithub && !configured);
    web::health::Startup {
        environment: named.map(|variable| (variable.name.to_owned(), set(variable.name))).collect(),
        missing: needed.map(|variable| variable.name.to_owned()).filter(|name| !set(name)).collect(),
        runner,
        database: tokio::sync::Mutex::default(),
    }
}
