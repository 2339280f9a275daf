//! The composition root: starts Porter from its configuration. `serve`, `demo` and the tests use it.

mod service;

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::accounts::sessions::Sessions;
use crate::accounts::stored_secrets;
use crate::config::{self, Config, Environment, Need, RunnerKind};
use crate::lifecycle;
use crate::runner::MachineProvider;
use crate::tasks::Context;
use crate::web::health::Health;
use crate::web::{self, ServiceSlot, Site};
use crypto::vault::Vault;
use db::Db;
use domain::clock::Clock;
use service::Engine;
pub use service::{Configured, Setup};

/// A Porter that is ready to run.
pub struct App {
    listener: TcpListener,
    db: Db,
    site: Site,
    slot: ServiceSlot,
    setup: Setup,
    configured: Option<Configured>,
    engines: UnboundedReceiver<Engine>,
    stop: CancellationToken,
    /// Held while Porter runs: two engines on one database would perform every job twice.
    _lock: Lock,
}

/// Overrides of the configuration's machines, for tests and the demo.
#[derive(Clone, Default)]
pub struct Machines {
    /// The program that the local runner starts as `PROGRAM worker`; by default this executable.
    pub worker: Option<PathBuf>,
    /// A kind of machines that the configuration does not know.
    pub provider: Option<Arc<dyn MachineProvider>>,
}

impl App {
    /// Opens and migrates the database, builds the parts and binds the address. Starts nothing.
    ///
    /// # Errors
    /// The reason why Porter cannot start, as a sentence for the operator.
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
        let listener = TcpListener::bind(config.bind)
            .await
            .with_context(|| format!("BIND_ADDR {} cannot be bound", config.bind))?;
        let slot = ServiceSlot::default();
        let site = Site::new(health(&db, environment, config.runner), slot.clone(), stop.clone());
        let from_environment = config.github.clone().zip(config.webhook_secret.clone());
        let (setup, engines) = Setup::new(config, db.clone(), vault, clock, machines, slot.clone());
        let configured = match from_environment {
            Some((app, webhook_secret)) => Some(setup.configure(&app, webhook_secret).await?),
            None => None,
        };
        Ok(Self { listener, db, site, slot, setup, configured, engines, stop, _lock: lock })
    }

    /// Returns the address on which Porter listens.
    ///
    /// # Errors
    /// An error when the operating system does not report the address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns the database, which accounts use for writing.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Returns the use cases, if the environment describes the GitHub App.
    pub fn context(&self) -> Option<&Context> {
        self.configured.as_ref().map(|configured| &configured.context)
    }

    /// Returns the sessions, if the environment describes the GitHub App.
    pub fn sessions(&self) -> Option<&Sessions> {
        self.configured.as_ref().map(|configured| &configured.sessions)
    }

    /// Returns the setup, which configures the GitHub App later, also while Porter runs.
    pub fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// Runs until the stop token is cancelled, then drains: accepts no new work, and finishes running jobs or returns
    /// them to the queue.
    ///
    /// # Errors
    /// An error when a part ends unexpectedly.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { listener, db, site, slot, engines, stop, _lock, setup: _, configured: _ } = self;
        let mut parts: JoinSet<anyhow::Result<()>> = JoinSet::new();
        parts.spawn(service::run_engines(engines, stop.clone()));
        let closing = stop.clone();
        parts.spawn(async move {
            web::serve(listener, web::router(site), closing).await;
            // No further requests use the service. Dropping it ends the recorder of webhooks.
            slot.clear();
            Ok(())
        });
        let mut outcome = Ok(());
        let drained = async {
            while let Some(ended) = parts.join_next().await {
                let ended = ended.context("a part of Porter panicked").and_then(|ended| ended);
                if ended.is_err() && outcome.is_ok() {
                    outcome = ended;
                }
                // When one part ends, all others are stopped.
                stop.cancel();
            }
        };
        let limit = async {
            stop.cancelled().await;
            tokio::time::sleep(lifecycle::DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            () = drained => {}
            () = limit => tracing::warn!("some connections did not close in time"),
        }
        parts.shutdown().await;
        db.close().await;
        outcome
    }
}

/// Runs `porter serve`.
///
/// # Errors
/// The reason why Porter cannot start or continue.
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

/// Runs `porter migrate`.
///
/// # Errors
/// An error when the configuration names no database or the migration fails.
pub async fn migrate() -> anyhow::Result<ExitCode> {
    let database = config::Database::load(&Environment::process())?;
    open(&database.path).await?.close().await;
    println!("{} is up to date", database.path.display());
    Ok(ExitCode::SUCCESS)
}

/// Runs `porter import-d1`: imports `file` into `DATABASE_URL` and prints the report.
///
/// # Errors
/// An error when the configuration, the file or the database is unsuitable; the message names the remedy.
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

/// Re-encrypts under the current root secret what is stored under a previous one.
async fn rotate(db: &Db, vault: &Vault) -> anyhow::Result<()> {
    let (resealed, closed) = stored_secrets::reseal(db, vault).await.context("the stored secrets")?;
    if closed > 0 {
        tracing::warn!(closed, resealed, "some stored secrets cannot be decrypted with any root secret");
    } else {
        tracing::info!(
            resealed,
            "every stored secret is under PORTER_SECRET_ENCRYPTION_KEY; PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS can go \
             once no task from before this start runs"
        );
    }
    Ok(())
}

/// The lock on the database.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started may briefly have a copy.
        self.0.unlock().ok();
    }
}

/// Locks the database for this process.
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

/// Returns the path of a file or folder next to the database.
fn beside(database: &Path, what: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

fn health(db: &Db, environment: &Environment, runner: RunnerKind) -> Health {
    let set = |name: &str| environment.get(name).is_some_and(|value| !value.trim().is_empty());
    let named = config::VARIABLES.iter().filter(|variable| !variable.name.contains('<'));
    // Without the other variables nothing starts; some of them also have an older name.
    let needed = named.clone().filter(|variable| variable.need == Need::ForGithub);
    let environment = named.map(|variable| (variable.name.to_owned(), set(variable.name))).collect();
    let missing = needed.map(|variable| variable.name.to_owned()).filter(|name| !set(name)).collect();
    let runner = match runner {
        RunnerKind::Fly => "fly",
        RunnerKind::Local => "local",
    };
    Health::new(db.clone(), environment, missing, runner)
}
