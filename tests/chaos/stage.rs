//! What every test here stands on: a GitHub with people, organizations and repositories, a Fly with one app,
//! workers on its machines, and a Porter that knows the people.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use porter::accounts::sign_in;
use porter::clock::Clock;
use porter::crypto::vault::Vault;
use porter::db::Db;
use porter::demo::standin::{File, Options, Permission, StandIn};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;

use super::fake_fly::FakeFly;
use super::machines::Machines;
use super::porter::Binary;

const ROOT: &str = "the root secret of these tests";
const APP: &str = "porter-workers";
const FLY_TOKEN: &str = "fm2_lJPECAAAAAAAsecret";

/// Who and where, how many of each.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub people: u32,
    pub organizations: u32,
    pub repositories: u32,
}

pub struct Stage {
    pub github: StandIn,
    pub fly: FakeFly,
    pub machines: Machines,
    pub porter: Binary,
    /// `owner/name` of each repository.
    pub repositories: Vec<String>,
    /// Logins.
    pub people: Vec<String>,
    folder: Option<TempDir>,
}

impl Stage {
    /// One person, one repository.
    pub async fn small() -> Self {
        Self::set(0, Size { people: 1, organizations: 1, repositories: 1 }).await
    }

    pub async fn set(seed: u64, size: Size) -> Self {
        let folder = tempfile::Builder::new().prefix("porter-chaos-").tempdir().expect("a folder");
        let scratch = Some(folder.path().join("github"));
        let github = StandIn::start(Options { scratch, ..Options::new() }).await.expect("a GitHub");
        let fly = FakeFly::start().await;
        fly.add_app(APP, "personal", FLY_TOKEN);
        let people: Vec<String> = (0..size.people).map(|number| format!("person-{number}")).collect();
        for (login, id) in people.iter().zip(1001..) {
            github.add_user(login, id);
        }
        let mut repositories = Vec::new();
        for organization in 0..size.organizations {
            let owner = format!("org-{organization}");
            for number in 0..size.repositories {
                let name = format!("repo-{number}");
                let files = [File::text("README.md", "# Read me\n")];
                github.add_repository(&owner, &name, &files, "main").await.expect("a repository");
                let full_name = format!("{owner}/{name}");
                for login in &people {
                    github.grant(&full_name, login, Permission::Write).expect("a repository");
                }
                repositories.push(full_name);
            }
            github.install(&owner).await.expect("an installation");
        }
        let machines = Machines::run(seed, &github, &fly);
        let porter = binary(&github, &fly, &folder);
        let stage = Self { github, fly, machines, porter, repositories, people, folder: Some(folder) };
        stage.sign_in().await;
        stage.github.set_webhook_url(format!("{}/api/webhooks/github", stage.porter.url));
        stage
    }

    pub fn database(&self) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join("porter.db")
    }

    /// An issue, before Porter listens.
    pub async fn issue(&self, repository: &str, author: &str, title: &str) -> u64 {
        let body = "It should greet everybody, not only the world.";
        self.github.open_issue(repository, author, title, body).await.expect("an issue")
    }

    async fn sign_in(&self) {
        let db = Db::open(&self.database()).await.expect("a database");
        db.migrate().await.expect("tables");
        let vault = Vault::new(SecretString::from(ROOT), Vec::new());
        for (login, id) in self.people.iter().zip(1001..) {
            let token = self.github.sign_in(login).expect("an account").access;
            sign_in::record(&db, &vault, id, login, &token, Clock::system().now()).await.expect("a sign-in");
        }
        db.close().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.folder.take().map(TempDir::keep);
            eprintln!("what Porter left is in {}", kept.unwrap_or_default().display());
        }
    }
}

fn binary(github: &StandIn, fly: &FakeFly, folder: &TempDir) -> Binary {
    let app = github.app();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let url = format!("http://{address}");
    let secret = |secret: &SecretString| secret.expose_secret().to_owned();
    let environment = [
        ("PATH", "/usr/bin:/bin".to_owned()),
        ("PUBLIC_APP_URL", url.clone()),
        ("BIND_ADDR", address),
        ("DATABASE_URL", format!("sqlite://{}", folder.path().join("porter.db").display())),
        ("WEBHOOK_SECRET", secret(&app.webhook_secret)),
        ("PORTER_SECRET_ENCRYPTION_KEY", ROOT.to_owned()),
        ("GITHUB_APP_ID", app.id.to_string()),
        ("GITHUB_APP_PRIVATE_KEY", secret(&app.private_key_pem)),
        ("GITHUB_APP_SLUG", app.slug),
        ("GITHUB_CLIENT_ID", app.client_id),
        ("GITHUB_CLIENT_SECRET", secret(&app.client_secret)),
        ("GITHUB_API_URL", github.api_url()),
        ("GITHUB_WEB_URL", github.web_url()),
        ("FLY_API_BASE_URL", fly.url().to_string()),
        ("PORTER_SHARED_FLY_TOKEN", FLY_TOKEN.to_owned()),
        ("PORTER_SHARED_FLY_APP", APP.to_owned()),
        ("PORTER_ENABLE_MOCK_AGENT", "true".to_owned()),
        ("PORTER_GITHUB_MUTATION_INTERVAL_MS", "0".to_owned()),
        ("RUST_LOG", "porter=info,warn".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Binary::new(folder.path(), url, environment)
}
