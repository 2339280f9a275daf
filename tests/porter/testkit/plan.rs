//! The initial state of a test's environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crypto::tokens::new_session_id;
use domain::clock::Clock;
use porter::app::Machines;
use porter::config::Environment;
use porter::runner::MachineProvider;
use secrecy::{ExposeSecret, SecretString};
use standin::sample;
use standin::{File, Options, Permission, StandIn};
use tempfile::TempDir;

use crate::fake_fly::FakeFly;

use super::people::{ADA, BOB, CAROL, EVE};
use super::{REPO, Seen, Testkit, logs};

/// The settings of an environment.
pub struct Plan {
    program: PathBuf,
    provider: Option<Arc<dyn MachineProvider>>,
    settings: Vec<(&'static str, String)>,
}

impl Plan {
    /// Machines run the real worker.
    pub fn real() -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_porter")))
    }

    /// Machines run a worker that never reports: the test sends its reports.
    pub fn silent() -> Self {
        Self::of(&program("silent-worker"))
    }

    /// Machines run a worker that never reports and ignores SIGTERM.
    pub fn stubborn() -> Self {
        Self::of(&program("stubborn-worker"))
    }

    /// Machines run a worker that exits at once without a report.
    pub fn hasty() -> Self {
        Self::of(&program("hasty-worker"))
    }

    /// Machines are on the fake Fly; the test sends the workers' reports.
    pub fn fly(fly: &FakeFly) -> Self {
        Self::of(Path::new("/nowhere"))
            .with("PORTER_RUNNER", "fly")
            .with("FLY_API_BASE_URL", fly.url().as_str())
    }

    /// Machines are this provider's; the test speaks in their place.
    pub fn machines(provider: Arc<dyn MachineProvider>) -> Self {
        Self { provider: Some(provider), ..Self::of(Path::new("/nowhere")) }
    }

    fn of(program: &Path) -> Self {
        Self { program: program.to_owned(), provider: None, settings: Vec::new() }
    }

    /// Starts Porter with this variable.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((name, value.into()));
        self
    }

    /// Creates the environment (the sample project, an installation of the App, four people) and starts Porter in it.
    pub async fn start(self) -> Testkit {
        let mut kit = self.prepare().await;
        kit.start_porter().await;
        for person in [ADA, BOB, EVE] {
            kit.sign_in(person).await;
        }
        kit
    }

    /// Creates the environment without starting Porter and without signing anybody in.
    pub async fn prepare(self) -> Testkit {
        logs::capture();
        let clock = Clock::running();
        let folder = TempDir::with_prefix("porter-test-").expect("a folder");
        let (port, url) = free_port();
        let options = Options { clock: clock.clone(), ..Options::new() };
        let github = StandIn::start(options).await.expect("the stand-in starts");
        for person in [ADA, BOB, CAROL, EVE] {
            github.add_user(person.login, person.id.unsigned_abs());
        }
        let files: Vec<File> = sample::files()
            .into_iter()
            .map(|(path, text, executable)| File { executable, ..File::text(path, text) })
            .collect();
        github.add_repository("acme", "greeter", &files, "main").await.expect("a repository");
        for person in [ADA, BOB, CAROL] {
            github.grant(REPO, person.login, Permission::Write).expect("a repository");
        }
        github.grant(REPO, EVE.login, Permission::Read).expect("a repository");
        github.install("acme").await.expect("an installation");
        github.set_webhook_url(format!("{url}/api/webhooks/github"));

        let app = github.app();
        let secret = |secret: &SecretString| secret.expose_secret().to_owned();
        let root = secret(&new_session_id().expect("randomness"));
        let mut environment = Environment::from_iter([
            ("PUBLIC_APP_URL", url.clone()),
            ("BIND_ADDR", format!("127.0.0.1:{port}")),
            ("DATABASE_URL", format!("sqlite://{}", folder.path().join("porter.db").display())),
            ("WEBHOOK_SECRET", secret(&app.webhook_secret)),
            ("PORTER_SECRET_ENCRYPTION_KEY", root.clone()),
            ("GITHUB_APP_ID", app.id.to_string()),
            ("GITHUB_APP_PRIVATE_KEY", secret(&app.private_key_pem)),
            ("GITHUB_APP_SLUG", app.slug.clone()),
            ("GITHUB_CLIENT_ID", app.client_id.clone()),
            ("GITHUB_CLIENT_SECRET", secret(&app.client_secret)),
            ("GITHUB_API_URL", github.api_url()),
            ("GITHUB_WEB_URL", github.web_url()),
            ("PORTER_GITHUB_MUTATION_INTERVAL_MS", "0".to_owned()),
            ("PORTER_RUNNER", "local".to_owned()),
            ("PORTER_ENABLE_MOCK_AGENT", "true".to_owned()),
        ]);
        for (name, value) in &self.settings {
            environment = environment.with(name, value);
        }
        let kit = Testkit {
            github,
            clock,
            folder,
            url,
            environment,
            machines: Machines { worker: Some(self.program), provider: self.provider },
            http: tls::client().no_proxy().pool_max_idle_per_host(0).build().expect("a client"),
            porter: None,
            seen: Seen::default().into(),
            closed: false,
        };
        kit.keep_secret("the webhook secret", app.webhook_secret.expose_secret());
        kit.keep_secret("the client secret", app.client_secret.expose_secret());
        kit.keep_secret("the root secret", &root);
        let line = app.private_key_pem.expose_secret().lines().nth(3).expect("a line of the key").to_owned();
        kit.keep_secret("the App's private key", &line);
        for (name, value) in &self.settings {
            if name.starts_with("PORTER_SHARED_") && *name != "PORTER_SHARED_FLY_APP" {
                kit.keep_secret(name, value);
            }
        }
        kit
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/porter/testkit").join(name)
}

/// Returns a port below the system's ephemeral range, so that it stays free during a restart.
pub fn free_port() -> (u16, String) {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 9_000).expect("a small number");
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return (port, format!("http://127.0.0.1:{port}"));
        }
    }
}
