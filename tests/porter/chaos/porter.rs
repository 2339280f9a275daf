//! The real binary as a process that can be killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How Porter is started, again and again, on the same database and port.
#[derive(Clone)]
pub struct Binary {
    pub url: String,
    pub log: PathBuf,
    environment: Vec<(String, String)>,
    /// A shell's word before the program, for limits of the process.
    pub before: String,
}

/// One life of it. Killed when dropped.
pub struct Process {
    child: Child,
    url: String,
}

impl Binary {
    pub fn new(folder: &Path, url: String, environment: Vec<(String, String)>) -> Self {
        Self { url, log: folder.join("porter.log"), environment, before: String::new() }
    }

    /// Starts it, and does not wait for anything.
    pub fn start(&self) -> Process {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let program = env!("CARGO_BIN_EXE_porter");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} exec \"$0\" serve", self.before), program]);
        let child = command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.log.parent().expect("a folder"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log)
            .spawn()
            .expect("Porter starts");
        Process { child, url: self.url.clone() }
    }

    /// Starts it, and waits until it takes requests.
    pub async fn start_ready(&self) -> Process {
        let process = self.start();
        process.ready().await;
        process
    }
}

impl Process {
    /// SIGKILL, now.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// SIGTERM; gives how long the end took, and whether it was a clean one.
    pub async fn end(&mut self) -> (Duration, bool) {
        let began = Instant::now();
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("a process to end");
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return (began.elapsed(), status.success());
            }
            assert!(began.elapsed() < Duration::from_secs(15), "Porter does not end after SIGTERM");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.url);
        let answers = async || get(&url).await.is_ok_and(|answer| answer.status().is_success());
        eventually("Porter is ready", Duration::from_secs(60), answers).await;
    }

    /// How many jobs are owed; nothing while Porter does not say.
    pub async fn owed(&self) -> Option<i64> {
        let answer = get(&format!("{}/api/startup/check", self.url)).await.ok()?;
        let body: Value = answer.json().await.ok()?;
        body["engine"]["jobs"]["owed"].as_i64()
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone, perhaps; a test that failed must leave nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
pub async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    tls::client().build()?.get(url).send().await
}

/// Waits for something that another process does.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "within {limit:?} it did not come about that {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
