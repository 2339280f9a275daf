//! The environment of all tests here: a GitHub with people, organizations and repositories, a Fly with one app,
//! workers on its machines, and a Porter in which the people have signed in.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use crypto::vault::Vault;
use db::Db;
use domain::clock::Clock;
use domain::ids::UserId;
use porter::accounts::sign_in;
use secrecy::{ExposeSecret, SecretString};
use standin::{Delivery, File, Options, Permission, StandIn};
use tempfile::TempDir;

use super::LIMIT;
use super::machines::{Conduct, Machines};
use super::porter::{Binary, Process, eventually};
use super::verdict::{self, Request, has_ended};
use crate::fake_fly::FakeFly;
use crate::testkit::plan::free_port;

/// The maximum time until everything has settled.
const TEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The number of tasks that run at once, whatever the number of people: the default limit of eight people. With the
/// default limit of five, one person's 200 tasks take two and a half minutes without any fault, because a worker takes
/// four seconds on average (every fifth dies, which is noticed only after ten seconds).
const AT_ONCE: u32 = 40;

const ROOT: &str = "the root secret of these tests";
const APP: &str = "porter-workers";
const FLY_TOKEN: &str = "fm2_lJPECAAAAAAAsecret";

/// The number of people, organizations, and repositories of each organization.
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
    /// Creates one person, one repository and one issue.
    pub async fn small(conduct: Conduct) -> (Self, Request) {
        let stage = Self::set(0, Size { people: 1, organizations: 1, repositories: 1 }).await;
        stage.machines.all(conduct);
        let asked = stage.ask_about("Greet everybody", conduct).await;
        (stage, asked)
    }

    /// Opens another issue, by the first person in the first repository.
    pub async fn ask_about(&self, title: &str, conduct: Conduct) -> Request {
        let repository = self.repositories[0].clone();
        let issue = self.issue(&repository, &self.people[0], title).await;
        Request { repository, issue, conduct }
    }

    /// Comments as the first person to start the mock agent.
    pub async fn speak(&self, asked: &Request) -> Delivery {
        let said =
            self.github.comment(&asked.repository, asked.issue, &self.people[0], "@porter mock please");
        said.await.expect("a comment")
    }

    /// Waits until every issue shows a terminal status, no job is pending and no machine exists.
    pub async fn settle(&self, porter: &Process, asked: &[Request]) {
        let began = Instant::now();
        let mut told = Instant::now();
        loop {
            // The stand-in counts calls against the rate limit like GitHub; only the injected faults should matter.
            self.github.set_rate_limit(5000, TimeDelta::hours(1));
            let open: Vec<&Request> =
                self.github.read(|kit| asked.iter().filter(|asked| !has_ended(kit, asked)).collect());
            let (pending, living) = (porter.pending().await, self.fly.living().len());
            if open.is_empty() && pending == Some(0) && living == 0 {
                return;
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                let waited = began.elapsed();
                eprintln!(
                    "{waited:5.1?}: {} have not ended, {pending:?} jobs, {living} machines",
                    open.len()
                );
            }
            assert!(
                began.elapsed() < TEST_TIMEOUT,
                "not settled: {pending:?} jobs are pending, {living} machines exist; not ended: {open:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops Porter and checks the final state.
    pub async fn close(&self, mut porter: Process, asked: &[Request]) {
        self.github.clear_faults();
        let mut complaints = verdict::complaints(self, asked).await;
        let (_, clean) = porter.end().await;
        assert!(clean, "expected exit code 0 after SIGTERM");
        let (left, counts) = verdict::remains(self).await;
        complaints.extend(left);
        let tasks = counts.values().sum::<i64>();
        if usize::try_from(tasks) != Ok(asked.len()) {
            complaints.push(format!("expected {} tasks, seen {counts:?}", asked.len()));
        }
        assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
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
        let porter = binary(&github, &fly, &folder, size.people);
        let stage = Self { github, fly, machines, porter, repositories, people, folder: Some(folder) };
        stage.sign_in().await;
        stage.github.set_webhook_url(format!("{}/api/webhooks/github", stage.porter.url));
        stage
    }

    /// Waits until Porter has recorded a working machine.
    pub async fn works(&self) {
        let db = Db::open(&self.database()).await.expect("the database");
        let known = async || {
            let mut connection = db.read().await.expect("a connection");
            let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM tasks WHERE phase = 'working'");
            count.fetch_one(&mut *connection).await.expect("a number") > 0
        };
        eventually("a machine works", LIMIT, known).await;
        db.close().await;
    }

    pub fn database(&self) -> PathBuf {
        self.folder.as_ref().expect("a folder").path().join("porter.db")
    }

    /// Opens an issue of this author, with a label that is not Porter's.
    pub async fn issue(&self, repository: &str, author: &str, title: &str) -> u64 {
        let body = "It should greet everybody, not only the world.";
        let issue = self.github.open_issue(repository, author, title, body).await.expect("an issue");
        self.github.add_label(repository, issue, "help wanted").expect("the issue");
        issue
    }

    async fn sign_in(&self) {
        let db = Db::open(&self.database()).await.expect("a database");
        db.migrate().await.expect("tables");
        let vault = Vault::new(SecretString::from(ROOT), Vec::new());
        for (login, id) in self.people.iter().zip(1001..) {
            let token = self.github.sign_in(login).expect("an account").access;
            sign_in::record(&db, &vault, UserId::new(id), login, &token, Clock::system().now())
                .await
                .expect("a sign-in");
        }
        db.close().await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.folder.take().map(TempDir::keep);
            eprintln!("Porter's files are in {}", kept.unwrap_or_default().display());
        }
    }
}

fn binary(github: &StandIn, fly: &FakeFly, folder: &TempDir, people: u32) -> Binary {
    let app = github.app();
    let (port, url) = free_port();
    let secret = |secret: &SecretString| secret.expose_secret().to_owned();
    let environment = [
        ("PATH", "/usr/bin:/bin".to_owned()),
        ("PUBLIC_APP_URL", url.clone()),
        ("BIND_ADDR", format!("127.0.0.1:{port}")),
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
        ("PORTER_MAX_CONCURRENT_TASKS_PER_USER", (AT_ONCE / people).max(5).to_string()),
        ("PORTER_GITHUB_MUTATION_INTERVAL_MS", "0".to_owned()),
        ("RUST_LOG", "porter=info,warn".to_owned()),
        ("LOG_FORMAT", "json".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Binary::new(folder.path(), url, environment)
}
