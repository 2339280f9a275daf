//! A GitHub server on loopback: git repositories over smart HTTP, the REST calls that Porter makes, signed
//! webhooks and HTML pages.
//!
//! `porter demo` and the integration tests use the same code. It is stricter than GitHub (`strict.rs`): a
//! call that Porter must not make is recorded as a violation. It contains nothing of Porter; the behaviour is
//! documented at <https://docs.github.com/rest>.
//!
//! `state.rs` holds the state as plain values. `setup.rs` and `actions.rs` change it on behalf of people,
//! `routes/` and `git_http.rs` on behalf of the App, and `reads.rs` reads it for tests. Every change wakes
//! the callers of [`StandIn::wait_until`]. `faults.rs` makes requests fail on demand.

mod actions;
mod auth;
mod faults;
mod git;
mod git_http;
mod listener;
mod markdown;
mod middleware;
mod pages;
mod payloads;
mod reads;
mod routes;
pub mod sample;
mod setup;
mod sign_in;
mod state;
mod strict;
mod webhook;

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
pub use self::git::{Error as GitError, File};
pub use self::middleware::Request;
pub use self::reads::Pull;
pub use self::sign_in::UserTokens;
use self::state::{Account, AppFacts};
pub use self::state::{AccountKind, Comment, GithubState, Permission, Reaction, RepositoryId};
pub use self::webhook::{Delivery, Signature};
use domain::clock::Clock;

/// The options of [`StandIn::start`].
#[derive(Debug)]
pub struct Options {
    /// The clock for token expiry, JWT checks and all dates.
    pub clock: Clock,
    /// The receiver of webhooks; can be set later with [`StandIn::set_webhook_url`].
    pub webhook_url: Option<String>,
    /// The folder for the repositories; by default a temporary folder that is deleted with the stand-in.
    pub scratch: Option<PathBuf>,
    /// Whether the App receives webhooks about its own comments and labels, as it does from GitHub.
    pub echo: bool,
}

impl Options {
    /// The system's clock, a temporary folder, and webhooks about the App's own actions.
    pub fn new() -> Self {
        Self { clock: Clock::system(), webhook_url: None, scratch: None, echo: true }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// The identity and the secrets of a GitHub App.
#[derive(Clone, Debug)]
pub struct AppCredentials {
    /// The App's id.
    pub id: u64,
    /// Its name in URLs; its own account is `<slug>[bot]`.
    pub slug: String,
    /// Its OAuth client id, which is also a valid issuer of JWTs.
    pub client_id: String,
    /// Its OAuth client secret.
    pub client_secret: SecretString,
    /// Its private key, PKCS #8 in PEM.
    pub private_key_pem: SecretString,
    /// The secret that signs its webhooks.
    pub webhook_secret: SecretString,
}

/// A failure of the stand-in itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no repository, issue or comment of that name.
    #[error("there is no {0} on the stand-in")]
    Unknown(String),
    /// git failed.
    #[error("a repository could not be read or changed")]
    Git(#[from] GitError),
    /// The listener or the scratch folder could not be created.
    #[error("the stand-in could not be started")]
    Io(#[from] std::io::Error),
    /// The cryptographic library failed to create a key, token or signature.
    #[error("the cryptographic library failed")]
    Key,
    /// The HTTP client that sends webhooks could not be built.
    #[error("the webhook client could not be built")]
    Client(#[from] reqwest::Error),
    /// The condition of [`StandIn::wait_until`] did not become true in time.
    #[error("the condition did not become true within {0:?}")]
    Timeout(std::time::Duration),
}

/// The state that handlers, actions and reads share.
struct Shared {
    state: Mutex<GithubState>,
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
    /// Locks the state. The guard is never held across an await.
    fn state(&self) -> MutexGuard<'_, GithubState> {
        // A predicate that panics only reads, so the values of a poisoned lock are consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the tasks that wait for a change of the state.
    fn changed(&self) {
        self.changes.send_replace(());
    }

    fn violation(&self, what: String) {
        self.state().violations.push(what);
    }
}

/// A running server. Cheap to clone; the server stops when the last clone is dropped.
#[derive(Clone)]
pub struct StandIn {
    shared: Arc<Shared>,
    _server: Arc<Server>,
}

/// Stops the server when dropped.
struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl StandIn {
    /// Starts the server on a free port of loopback. The App is registered, but not installed.
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
            state: Mutex::new(GithubState::new(base_url, options.webhook_url, options.clock.now())),
            changes: watch::Sender::new(()),
            clock: options.clock,
            started: Instant::now(),
            scratch,
            key: auth::AppKey::load()?,
            webhook_secret: auth::opaque(30)?.into(),
            client_secret: auth::opaque(30)?.into(),
            // GitHub does not follow redirects of a webhook receiver.
            http: tls::client().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?,
            echo: options.echo,
            _folder: folder,
        });
        let router = routes::router(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<listener::ConnectionCloser>();
        let server =
            tokio::spawn(async move { axum::serve(listener::ClosableListener(listener), service).await });
        Ok(Self { shared, _server: Arc::new(Server(server.abort_handle())) })
    }

    /// The base URL of the REST API, for `GITHUB_API_URL`. `<base>/api/v3` works as well, as on GitHub
    /// Enterprise Server.
    pub fn api_url(&self) -> String {
        self.shared.state().base_url.clone()
    }

    /// The base URL of pages and of git, for `GITHUB_WEB_URL`.
    pub fn web_url(&self) -> String {
        self.shared.state().base_url.clone()
    }

    /// The credentials that Porter needs to act as the App.
    pub fn app(&self) -> AppCredentials {
        let state = self.shared.state();
        AppCredentials {
            id: state.app.id,
            slug: state.app.slug.clone(),
            client_id: state.app.client_id.clone(),
            client_secret: self.shared.client_secret.clone(),
            private_key_pem: self.shared.key.private_pem.clone(),
            webhook_secret: self.shared.webhook_secret.clone(),
        }
    }
}

impl GithubState {
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
            rate: middleware::RateLimit::new(now),
            last_id: 2_000_000_000,
        }
    }
}
