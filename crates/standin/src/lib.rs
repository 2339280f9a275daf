//! GitHub on loopback: real git repositories behind real smart HTTP, the REST calls that Porter makes, signed
//! webhooks, and pages to look at.
//!
//! `porter demo` shows the product with it, and every integration test runs against it: the very same code.
//! It is strict where GitHub is lenient (`strict.rs`): a call that Porter has no business making is kept as a
//! violation. It knows nothing of Porter; what it plays is documented at <https://docs.github.com/rest>.
//!
//! The world is plain values (`world.rs`). People act on it through verbs (`setup.rs`, `verbs.rs`), the App through
//! the wire (`routes/`, `git_http.rs`), tests look at it through reads (`reads.rs`). Every change wakes those
//! who wait in [`StandIn::wait_until`]; nothing polls. Things go wrong on demand (`faults.rs`).

mod auth;
mod faults;
mod front;
mod git;
mod git_http;
mod markdown;
mod pages;
mod payloads;
mod reads;
mod routes;
pub mod sample;
mod setup;
mod sign_in;
mod strict;
mod verbs;
mod webhook;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub use self::auth::{Access, IssuedToken};
pub use self::faults::{Effect, Fault, Stage};
pub use self::front::Request;
pub use self::git::{Error as GitError, File};
pub use self::reads::Pull;
pub use self::sign_in::UserTokens;
pub use self::webhook::{Delivery, Signature};
use self::world::{Account, AppFacts};
pub use self::world::{AccountKind, Comment, Permission, Reaction, RepositoryId, World};
use domain::clock::Clock;

/// How a stand-in is started.
#[derive(Debug)]
pub struct Options {
    /// By which tokens expire, JWTs are judged and everything is dated.
    pub clock: Clock,
    /// Where webhooks go; can be set later with [`StandIn::set_webhook_url`].
    pub webhook_url: Option<String>,
    /// Where the repositories are kept; a temporary folder that goes with the stand-in, if not said.
    pub scratch: Option<PathBuf>,
    /// Whether the App hears of its own comments and labels, as it does from GitHub.
    pub echo: bool,
}

impl Options {
    /// On the system's clock, in a temporary folder, telling the App of its own deeds.
    pub fn new() -> Self {
        Self { clock: Clock::system(), webhook_url: None, scratch: None, echo: true }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// What the owner of a GitHub App knows about it.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The App's number.
    pub id: u64,
    /// Its name in URLs; its own account is `<slug>[bot]`.
    pub slug: String,
    /// Its OAuth client id, which may also sign JWTs.
    pub client_id: String,
    /// Its OAuth client secret.
    pub client_secret: SecretString,
    /// Its private key, PKCS #8 in PEM.
    pub private_key_pem: SecretString,
    /// What its webhooks are signed with.
    pub webhook_secret: SecretString,
}

/// What went wrong with the stand-in itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No repository, issue, or comment of that name.
    #[error("there is no {0} in this world")]
    Unknown(String),
    /// git failed.
    #[error("a repository could not be read or changed")]
    Git(#[from] GitError),
    /// The listener or the scratch folder could not be made.
    #[error("the stand-in could not be started")]
    Io(#[from] std::io::Error),
    /// No key, token or signature could be made.
    #[error("the cryptographic library refused")]
    Key,
    /// The HTTP client that sends webhooks could not be built.
    #[error("the webhook client could not be built")]
    Client(#[from] reqwest::Error),
    /// [`StandIn::wait_until`] waited in vain.
    #[error("waited {0:?}, and it did not happen")]
    Timeout(std::time::Duration),
}

/// What handlers, verbs and reads share.
struct Shared {
    world: Mutex<World>,
    changes: watch::Sender<()>,
    clock: Clock,
    started: Instant,
    scratch: PathBuf,
    key: auth::AppKey,
    webhook_secret: SecretString,
    client_secret: SecretString,
    http: reqwest::Client,
    echo: bool,
    _folder: Option<TempDir>,
}

impl Shared {
    /// The world, locked. Never held across an await.
    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked in a predicate leaves the values whole.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everyone who waits for the world to change.
    fn changed(&self) {
        self.changes.send_replace(());
    }

    fn violation(&self, what: String) {
        self.world().violations.push(what);
    }
}

/// A running GitHub. Cheap to clone; the server ends with the last clone.
#[derive(Clone)]
pub struct StandIn {
    shared: Arc<Shared>,
    _server: Arc<Server>,
}

/// Ends the server when dropped.
struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl StandIn {
    /// Starts on a free port of loopback, with the App registered and installed nowhere.
    ///
    /// # Errors
    /// [`Error::Io`] without a port or a folder, [`Error::Key`] without a key.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let (scratch, folder) = match options.scratch {
            Some(scratch) => (scratch, None),
            None => {
                let folder = TempDir::with_prefix("porter-github-")?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(base_url, options.webhook_url, options.clock.now())),
            changes: watch::Sender::new(()),
            clock: options.clock,
            started: Instant::now(),
            scratch,
            key: auth::AppKey::load()?,
            webhook_secret: auth::opaque(30)?.into(),
            client_secret: auth::opaque(30)?.into(),
            // Never through a proxy, and never after a redirect: GitHub follows none.
            http: tls::client().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            echo: options.echo,
            _folder: folder,
        });
        let router = routes::router(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<wire::Cut>();
        let server = tokio::spawn(async move { axum::serve(wire::Wire(listener), service).await });
        Ok(Self { shared, _server: Arc::new(Server(server.abort_handle())) })
    }

    /// The base of the REST API, for `GITHUB_API_URL`. `<base>/api/v3` works too, as on GitHub Enterprise Server.
    pub fn api_url(&self) -> String {
        self.shared.world().base_url.clone()
    }

    /// The base of pages and of git, for `GITHUB_WEB_URL`.
    pub fn web_url(&self) -> String {
        self.shared.world().base_url.clone()
    }

    /// What Porter must be given to act as the App.
    pub fn app(&self) -> AppCredentials {
        let world = self.shared.world();
        AppCredentials {
            id: world.app.id,
            slug: world.app.slug.clone(),
            client_id: world.app.client_id.clone(),
            client_secret: self.shared.client_secret.clone(),
            private_key_pem: self.shared.key.private_pem.clone(),
            webhook_secret: self.shared.webhook_secret.clone(),
        }
    }
}

impl World {
    fn new(base_url: String, webhook_url: Option<String>, now: chrono::DateTime<chrono::Utc>) -> Self {
        let permissions = [
            ("contents", Access::Write),
            ("issues", Access::Write),
            ("metadata", Access::Read),
            ("pull_requests", Access::Write),
        ];
        let app = AppFacts {
            id: 1_234_567,
            slug: "porter".to_owned(),
            client_id: "Iv23liPorterStandIn0".to_owned(),
            permissions: permissions.map(|(kind, access)| (kind.to_owned(), access)).into(),
            events: ["issue_comment", "issues"].map(str::to_owned).into(),
            created_at: now,
        };
        let bot = Account { login: app.bot(), id: 7_654_321, kind: AccountKind::Bot };
        Self {
            base_url,
            accounts: BTreeMap::from([(bot.login.clone(), bot)]),
            app,
            repositories: Vec::new(),
            installations: Vec::new(),
            tokens: auth::Tokens::default(),
            sign_ins: sign_in::SignIns::default(),
            manifest_codes: Vec::new(),
            webhook_url,
            deliveries: Vec::new(),
            requests: Vec::new(),
            violations: Vec::new(),
            faults: faults::Faults::default(),
            rate: front::RateLimit::new(now),
            last_id: 2_000_000_000,
        }
    }
}
