//! Runs git so that nothing in a repository can make it run anything else: no hooks, no filters, no
//! configuration but the one given here, no prompts, no protocol but HTTP.
//!
//! A [`Git`] belongs either to the worker or to the agent's user. The worker's never has a folder that the
//! agent could write to as its repository or work tree, and only the worker's is ever given a credential.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::settings::{RunsAs, Settings};

/// Longer than this no transfer may take; one that stands still is given up sooner.
pub const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Longer than this nothing may take that reads the agent's files.
pub const AGENT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Given on the command's own level, where it wins over any file.
const CONFIG: [(&str, &str); 20] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.sshCommand", "false"),
    ("core.autocrlf", "false"),
    // Names that other systems would take for `.git`: GitHub refuses them as well.
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("commit.gpgSign", "false"),
    ("credential.helper", ""),
    ("diff.external", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("push.gpgSign", "false"),
    // A transfer below 1 kB/s for a minute is dead.
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "60"),
];

/// Why a git command gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started, or its input not be written.
    #[error("git could not be run")]
    Start(#[from] std::io::Error),
    /// It ended with an error.
    #[error("`git {command}` failed: {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// The end of what it wrote to standard error.
        message: String,
    },
    /// It took longer than it may.
    #[error("`git {0}` took too long")]
    TimedOut(String),
}

/// Git for one repository, as one user. Holds a credential once it was given one: no `Debug`.
#[derive(Clone)]
pub struct Git {
    program: PathBuf,
    runs_as: RunsAs,
    path: String,
    folder: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
    config: Vec<(&'static str, String)>,
    credential: Option<(String, String)>,
    limit: Duration,
}

impl Git {
    /// The worker's git, for the repository `git_dir`.
    pub fn of_worker(settings: &Settings, git_dir: &Path) -> Self {
        Self {
            program: settings.git.clone(),
            runs_as: RunsAs::Same,
            path: settings.path.clone(),
            folder: PathBuf::from("/"),
            variables: vec![("GIT_DIR", git_dir.to_owned())],
            config: Vec::new(),
            credential: None,
            limit: LIMIT,
        }
    }

    /// Git run by the agent's user, who has no secrets, for the repository `git_dir` with its files in `tree`.
    pub fn of_agent(settings: &Settings, git_dir: &Path, tree: &Path) -> Self {
        let mut git = Self::of_worker(settings, git_dir);
        git.runs_as = settings.runs_as.clone();
        git.folder = tree.to_owned();
        git.limit = AGENT_LIMIT;
        git.variables.push(("GIT_WORK_TREE", tree.to_owned()));
        git
    }

    /// Sets one more variable of git's environment.
    pub fn with_variable(mut self, name: &'static str, value: impl Into<PathBuf>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Sets one more configuration value, on the command's own level.
    pub fn with_config(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.config.push((name, value.into()));
        self
    }

    /// Works in `folder`, with its files there.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self.with_variable("GIT_WORK_TREE", folder)
    }

    /// Gives up after `limit`.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Lets it reach the server of `url` with an installation token, without writing it anywhere: it goes
    /// through the environment (not the arguments) as the header that GitHub documents for such tokens.
    pub fn with_token(mut self, url: &url::Url, token: &str) -> Self {
        let server = url.origin().ascii_serialization();
        let basic = STANDARD.encode(format!("x-access-token:{token}"));
        self.credential =
            Some((format!("http.{server}/.extraHeader"), format!("Authorization: Basic {basic}")));
        self
    }

    /// The command `git ARGUMENTS`, not yet started; it dies with its handle.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        let protocols = if self.credential.is_some() { "http:https" } else { "none" };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let credential = self.credential.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = self.config.iter().map(|(name, value)| (*name, value.as_str()));
        let config: Vec<(&str, &str)> = CONFIG.into_iter().chain(own).chain(credential).collect();
        command.env("GIT_CONFIG_COUNT", config.len().to_string());
        for (index, (name, value)) in config.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{index}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        drop_to(&mut command, &self.runs_as);
        command
    }

    /// Runs `git ARGUMENTS` and gives what it wrote to standard output.
    ///
    /// # Errors
    /// [`Error`] when it could not run, failed, or took too long.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Vec<u8>, Error> {
        let output = self.output(arguments, &[]).await?;
        succeeded(arguments, output)
    }

    /// Like [`Git::run`], for output that is one line of text.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub async fn line<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.run(arguments).await?).trim_end().to_owned())
    }

    /// Runs `git ARGUMENTS` on `input`, whatever its exit code.
    ///
    /// # Errors
    /// [`Error`] when it could not run or took too long.
    pub async fn output<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Output, Error> {
        let mut command = self.command(arguments);
        finish(&mut command, input, self.limit).await?.ok_or_else(|| Error::TimedOut(subcommand(arguments)))
    }
}

/// Makes `command` run as the agent's user: no other group, nothing of root's.
pub fn drop_to(command: &mut Command, runs_as: &RunsAs) {
    if let RunsAs::User { uid, gid } = runs_as {
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
}

/// Runs `command` on `input` to its end; nothing when it took longer than `limit`.
///
/// # Errors
/// The system's, when it could not be started.
pub async fn finish(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
) -> Result<Option<Output>, std::io::Error> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that does not want its input closes it early; its exit code tells what happened.
            stdin.write_all(input).await.ok();
        }
    };
    let both = async { tokio::join!(write, child.wait_with_output()).1 };
    tokio::time::timeout(limit, both).await.ok().transpose()
}

/// What the command wrote, if it succeeded.
///
/// # Errors
/// [`Error::Failed`] with the end of its standard error.
pub fn succeeded<S: AsRef<OsStr>>(arguments: &[S], output: Output) -> Result<Vec<u8>, Error> {
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed { command: subcommand(arguments), message: tail(&output.stderr) })
    }
}

fn subcommand<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    arguments.first().map(|word| word.as_ref().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The last lines of what a program complained about.
pub fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    if last.is_empty() { "it did not say why".to_owned() } else { last }
}

/// Whether `text` is the full name of an object.
pub fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_complaint_is_kept() {
        let long = (1..=20).map(|n| format!("line {n}\n")).collect::<String>();
        assert!(tail(long.as_bytes()).starts_with("line 13") && tail(long.as_bytes()).ends_with("line 20"));
        assert_eq!(tail(b"\n"), "it did not say why");
    }
}
