//! The real binary on a database with signed-in people, and its resource usage according to the kernel.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use crypto::vault::Vault;
use db::Db;
use domain::clock::Clock;
use porter::accounts::sign_in;
use secrecy::SecretString;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::payload::{FIRST_PERSON, PEOPLE, SECRET, login};

const ROOT: &str = "the bench's root of encryption at rest";
/// The App's key; its signatures are never checked.
const PRIVATE_KEY: &str = include_str!("../../crates/standin/src/app-key.pem");
/// A URL at which no server listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A running `porter serve`.
pub struct Server {
    child: Child,
    database: PathBuf,
    pub address: SocketAddr,
}

/// The resource usage of the server since its start.
pub struct Usage {
    pub cpu: Duration,
    /// Bytes written to disk.
    pub written: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    pub highest: u64,
}

impl Server {
    /// Signs people in and starts the binary in `folder`; its log is written to a file there.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let database = folder.join("porter.db");
        sign_in_everyone(&database).await?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let child = Command::new(env!("CARGO_BIN_EXE_porter"))
            .arg("serve")
            .current_dir(folder)
            .env_clear()
            .envs([
                ("PUBLIC_APP_URL", format!("http://{address}").as_str()),
                ("BIND_ADDR", &address.to_string()),
                ("DATABASE_URL", &format!("sqlite://{}", database.display())),
                ("PORTER_SECRET_ENCRYPTION_KEY", ROOT),
                ("WEBHOOK_SECRET", SECRET),
                ("GITHUB_APP_ID", "1"),
                ("GITHUB_APP_PRIVATE_KEY", PRIVATE_KEY),
                ("GITHUB_APP_SLUG", "porter-bench"),
                ("GITHUB_CLIENT_ID", "Iv1.bench"),
                ("GITHUB_CLIENT_SECRET", "the bench's client secret"),
                ("GITHUB_API_URL", NOWHERE),
                ("GITHUB_WEB_URL", NOWHERE),
                ("PORTER_RUNNER", "local"),
                ("PORTER_ENABLE_MOCK_AGENT", "true"),
            ])
            .stderr(File::create(folder.join("porter.log"))?)
            .spawn()?;
        let mut server = Self { child, database, address };
        while tokio::net::TcpStream::connect(address).await.is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("porter ended with {status}: {}", fs::read_to_string(folder.join("porter.log"))?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.child.id()));
        let (status, io, stat) = (read("status")?, read("io")?, read("stat")?);
        // After the name in parentheses, the 12th and 13th fields are user and system time in clock ticks.
        let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum();
        Ok(Usage {
            cpu: Duration::from_millis(ticks * 10),
            written: number(&io, "write_bytes:")?,
            resident: number(&status, "VmRSS:")? * 1024,
            highest: number(&status, "VmHWM:")? * 1024,
        })
    }

    /// Returns the size in bytes of the database, or of the file next to it with this suffix.
    pub fn file_size(&self, ending: &str) -> anyhow::Result<u64> {
        Ok(fs::metadata(format!("{}{ending}", self.database.display()))?.len())
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns the numbers of tasks and deliveries in the database; called after the server has exited.
    pub async fn count(&self) -> anyhow::Result<(u64, u64)> {
        let mut connection = SqliteConnectOptions::new().filename(&self.database).connect().await?;
        let sound: String = sqlx::query_scalar("PRAGMA quick_check").fetch_one(&mut connection).await?;
        ensure!(sound == "ok", "the database is damaged: {sound}");
        Ok(sqlx::query_as("SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM deliveries)")
            .fetch_one(&mut connection)
            .await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server has already exited, unless a measurement failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the number after `name` in a file of `/proc`.
fn number(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    Ok(number.with_context(|| format!("/proc has no {name}"))?.parse()?)
}

async fn sign_in_everyone(database: &Path) -> anyhow::Result<()> {
    let db = Db::open(database).await?;
    db.migrate().await?;
    let vault = Vault::new(SecretString::from(ROOT), Vec::new());
    let now = Clock::system().now();
    for person in FIRST_PERSON..FIRST_PERSON + PEOPLE {
        let token = SecretString::from("gho_bench");
        sign_in::record(&db, &vault, i64::try_from(person)?.into(), &login(person), &token, now).await?;
    }
    db.close().await;
    Ok(())
}
