//! The real binary as a process that tests can kill.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// The command that starts Porter, repeatedly, on the same database and port.
#[derive(Clone)]
pub struct Binary {
    pub url: String,
    pub log: PathBuf,
    environment: Vec<(String, String)>,
    /// Shell commands that run before the program, for limits of the process.
    pub before: String,
}

/// One running process. Killed when dropped.
pub struct Process {
    child: Child,
    url: String,
}

impl Binary {
    pub fn new(folder: &Path, url: String, environment: Vec<(String, String)>) -> Self {
        Self { url, log: folder.join("porter.log"), environment, before: String::new() }
    }

    /// Starts Porter without waiting.
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

    /// Starts Porter and waits until it accepts requests.
    pub async fn start_ready(&self) -> Process {
        let process = self.start();
        process.ready().await;
        process
    }
}

impl Process {
    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Sends SIGTERM; returns the time until the exit, and whether the exit code was 0.
    pub async fn end(&mut self) -> (Duration, bool) {
        let began = Instant::now();
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("a process to end");
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return (began.elapsed(), status.success());
            }
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "expected Porter to exit within 15 s of SIGTERM"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.url);
        let answers = async || get(&url).await.is_ok_and(|answer| answer.status().is_success());
        eventually("Porter is ready", Duration::from_secs(60), answers).await;
    }

    /// Returns the number of pending jobs; `None` while Porter does not answer.
    pub async fn pending(&self) -> Option<i64> {
        let answer = get(&format!("{}/api/startup/check", self.url)).await.ok()?;
        let body: Value = answer.json().await.ok()?;
        body["engine"]["jobs"]["pending"].as_i64()
    }

    /// Returns the resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may already have ended; a failed test must not leave it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request on a new connection.
pub async fn get(url: &str) -> reqwest::Result<reqwest::Response> {
    tls::client().build()?.get(url).send().await
}

/// Waits until a condition of another process holds.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "timed out after {limit:?} waiting until {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
