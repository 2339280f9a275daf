//! Bare repositories on disk, read and changed with the program `git`.
//!
//! The stand-in has no model of commits of its own: branch heads, comparisons, files and diffs come from git.
//! `git_http.rs` serves clones and pushes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use chrono::{DateTime, Utc};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A failure of git.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// git could not be started, or a pipe broke.
    #[error("git could not be run")]
    Io(#[from] std::io::Error),
    /// git exited with an error.
    #[error("git {command} failed: {stderr}")]
    Refused {
        /// The subcommand.
        command: String,
        /// What it printed to standard error.
        stderr: String,
    },
}

/// A file to commit.
#[derive(Clone, Debug)]
pub struct File {
    /// Path within the repository.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether the executable bit is set.
    pub executable: bool,
}

impl File {
    /// A text file without the executable bit.
    pub fn text(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into().into_bytes(), executable: false }
    }

    /// The same file with the executable bit.
    pub fn executable(self) -> Self {
        Self { executable: true, ..self }
    }
}

/// Author, time and message of a commit.
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) parents: Vec<String>,
    pub(super) tree: String,
    pub(super) author: String,
    pub(super) email: String,
    pub(super) date: String,
    pub(super) message: String,
}

/// One changed file of a comparison.
pub(super) struct Change {
    pub(super) path: String,
    pub(super) status: &'static str,
    pub(super) additions: u64,
    pub(super) deletions: u64,
}

/// The content of a path at a commit.
pub(super) enum Entry {
    /// A file: blob id and bytes.
    File { sha: String, content: Vec<u8> },
    /// A folder: kind (`blob` or `tree`), id and path of each child.
    Folder(Vec<(String, String, String)>),
}

/// A bare repository.
#[derive(Clone, Debug)]
pub(super) struct Git {
    path: PathBuf,
}

/// A `git` command without the configuration of the user or the system, and without Porter's environment.
pub(super) fn command() -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

impl Git {
    /// Creates an empty bare repository that accepts pushes over HTTP.
    pub(super) async fn create(path: PathBuf, default_branch: &str) -> Result<Self, Error> {
        std::fs::create_dir_all(&path)?;
        let git = Self { path };
        git.run(&["init", "--quiet", "--bare", &format!("--initial-branch={default_branch}"), "."]).await?;
        for (name, value) in [
            ("http.receivepack", "true"),
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            // Background maintenance would outlive the test that caused it.
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ] {
            git.run(&["config", name, value]).await?;
        }
        Ok(git)
    }

    /// Sets the script that git runs before it accepts a push; `None` removes it.
    pub(super) fn set_pre_receive_hook(&self, script: Option<&str>) -> Result<(), Error> {
        use std::os::unix::fs::PermissionsExt;

        let folder = self.path.join("hooks");
        let hook = folder.join("pre-receive");
        match script {
            Some(script) => {
                std::fs::create_dir_all(&folder)?;
                std::fs::write(&hook, script)?;
                std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))?;
            }
            None if hook.exists() => std::fs::remove_file(&hook)?,
            None => {}
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Commits `files` on a branch with the parent commit `parent`, and returns the new commit's id.
    pub(super) async fn commit(
        &self,
        (branch, parent): (&str, Option<&str>),
        files: &[File],
        (author, message): (&str, &str),
        at: DateTime<Utc>,
    ) -> Result<String, Error> {
        let mut script = Vec::new();
        let stamp = at.timestamp();
        script.extend(format!("commit refs/heads/{branch}\n").bytes());
        script.extend(
            format!("committer {author} <{author}@users.noreply.github.com> {stamp} +0000\n").bytes(),
        );
        script.extend(format!("data {}\n{message}\n", message.len()).bytes());
        if let Some(parent) = parent {
            script.extend(
                format!(
                    "from {parent}
"
                )
                .bytes(),
            );
        }
        for file in files {
            let mode = if file.executable { "100755" } else { "100644" };
            script.extend(format!("M {mode} inline {}\ndata {}\n", file.path, file.content.len()).bytes());
            script.extend(&file.content);
            script.push(b'\n');
        }
        self.feed(&["fast-import", "--quiet"], &script).await?;
        Ok(self.run(&["rev-parse", &format!("refs/heads/{branch}")]).await?.trim().to_owned())
    }

    /// Creates a branch at the head of another branch.
    pub(super) async fn branch(&self, branch: &str, from: &str) -> Result<(), Error> {
        self.run(&["branch", "--no-track", "--", branch, from]).await.map(drop)
    }

    /// The head commit of a branch.
    pub(super) async fn find_branch(&self, branch: &str) -> Result<Option<String>, Error> {
        self.find_commit(&format!("refs/heads/{branch}")).await
    }

    /// The id of the commit that a revision names: a branch, a ref or an id.
    pub(super) async fn find_commit(&self, revision: &str) -> Result<Option<String>, Error> {
        // The revision comes from a URL: `--end-of-options` prevents that git reads it as an option.
        if revision.is_empty() || revision.starts_with('-') {
            return Ok(None);
        }
        let commit = format!("{revision}^{{commit}}");
        let found = self.find(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await?;
        Ok(found.map(|sha| sha.trim().to_owned()))
    }

    /// The merge base of two commits.
    pub(super) async fn find_merge_base(&self, one: &str, other: &str) -> Result<Option<String>, Error> {
        Ok(self.find(&["merge-base", one, other]).await?.map(|sha| sha.trim().to_owned()))
    }

    /// The commits of a range such as `a..b`, or the single commit of a revision; oldest first.
    pub(super) async fn commits(&self, range: &str, limit: Option<u32>) -> Result<Vec<Commit>, Error> {
        let limit = limit.map(|limit| format!("--max-count={limit}"));
        let mut arguments =
            vec!["log", "--reverse", "-z", "--format=%H%x1f%P%x1f%T%x1f%an%x1f%ae%x1f%aI%x1f%B"];
        arguments.extend(limit.as_deref());
        arguments.push(range);
        let log = self.run(&arguments).await?;
        Ok(log.split('\0').filter_map(parse_commit).collect())
    }

    /// The files that differ between two commits.
    pub(super) async fn changes(&self, from: &str, to: &str) -> Result<Vec<Change>, Error> {
        let counts = self.run(&["diff", "--no-renames", "--numstat", "-z", from, to]).await?;
        let statuses = self.run(&["diff", "--no-renames", "--name-status", "-z", from, to]).await?;
        let mut letters = statuses.split('\0').step_by(2);
        let changes = counts.split('\0').filter_map(|line| {
            let mut parts = line.splitn(3, '\t');
            let additions = parts.next()?.parse().unwrap_or(0);
            let deletions = parts.next()?.parse().unwrap_or(0);
            let status = match letters.next() {
                Some("A") => "added",
                Some("D") => "removed",
                _ => "modified",
            };
            Some(Change { path: parts.next()?.to_owned(), status, additions, deletions })
        });
        Ok(changes.collect())
    }

    /// The diff between two commits as a patch.
    pub(super) async fn diff(&self, from: &str, to: &str) -> Result<String, Error> {
        self.run(&["diff", from, to]).await
    }

    /// The content of a path at a commit; the empty path is the root folder.
    pub(super) async fn find_entry(&self, commit: &str, path: &str) -> Result<Option<Entry>, Error> {
        let path = path.trim_matches('/');
        let object = format!("{commit}:{path}");
        let Some(kind) = self.find(&["cat-file", "-t", &object]).await? else { return Ok(None) };
        if kind.trim() == "blob" {
            let sha = self.run(&["rev-parse", &object]).await?.trim().to_owned();
            let content = self.output(&["cat-file", "blob", &object]).await?;
            return Ok(Some(Entry::File { sha, content }));
        }
        let listing = self.run(&["ls-tree", "-z", &object]).await?;
        let children = listing.split('\0').filter_map(|line| {
            let (head, name) = line.split_once('\t')?;
            let mut parts = head.split(' ').skip(1);
            let full = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            Some((parts.next()?.to_owned(), parts.next()?.to_owned(), full))
        });
        Ok(Some(Entry::Folder(children.collect())))
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.output(arguments).await?).into_owned())
    }

    /// The output, or `None` if git reports that the object does not exist.
    async fn find(&self, arguments: &[&str]) -> Result<Option<String>, Error> {
        match self.run(arguments).await {
            Ok(output) => Ok(Some(output)),
            Err(Error::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, Error> {
        settle(arguments, command().current_dir(&self.path).args(arguments).output().await?)
    }

    async fn feed(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut child = command().current_dir(&self.path).args(arguments).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await?;
        }
        settle(arguments, child.wait_with_output().await?)
    }
}

fn settle(arguments: &[&str], output: std::process::Output) -> Result<Vec<u8>, Error> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused { command: arguments.first().copied().unwrap_or_default().to_owned(), stderr })
}

fn parse_commit(record: &str) -> Option<Commit> {
    let mut parts = record.splitn(7, '\u{1f}').map(str::to_owned);
    Some(Commit {
        sha: parts.next().filter(|sha| !sha.is_empty())?,
        parents: parts.next()?.split_whitespace().map(str::to_owned).collect(),
        tree: parts.next()?,
        author: parts.next()?,
        email: parts.next()?,
        date: parts.next()?,
        message: parts.next()?.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::clock::Clock;

    #[tokio::test]
    async fn commits_branches_and_diffs_are_those_of_git() {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::create(folder.path().join("a.git"), "main").await.unwrap();
        let now = Clock::system().now();
        assert_eq!(git.find_branch("main").await.unwrap(), None);
        let files = [File::text("run.sh", "true\n").executable(), File::text("docs/a b.md", "one\n")];
        let first = git.commit(("main", None), &files, ("alice", "First"), now).await.unwrap();
        let change = [File::text("docs/a b.md", "two\n")];
        let second =
            git.commit(("main", Some(&first)), &change, ("alice", "Second\n\nWhy."), now).await.unwrap();
        assert_eq!(git.find_branch("main").await.unwrap(), Some(second.clone()));
        let commits = git.commits(&format!("{first}..{second}"), None).await.unwrap();
        assert_eq!(commits.iter().map(|c| c.message.as_str()).collect::<Vec<_>>(), ["Second\n\nWhy."]);
        assert_eq!(commits[0].parents, std::slice::from_ref(&first));
        let changes = git.changes(&first, &second).await.unwrap();
        let seen: Vec<_> =
            changes.iter().map(|c| (c.path.as_str(), c.status, c.additions, c.deletions)).collect();
        assert_eq!(seen, [("docs/a b.md", "modified", 1, 1)]);
        assert!(git.diff(&first, &second).await.unwrap().contains("-one\n+two\n"));
        assert!(git.find_entry(&first, "missing").await.unwrap().is_none());
        match git.find_entry(&first, "").await.unwrap().unwrap() {
            Entry::Folder(children) => {
                let seen: Vec<_> =
                    children.iter().map(|(kind, _, path)| (kind.as_str(), path.as_str())).collect();
                assert_eq!(seen, [("tree", "docs"), ("blob", "run.sh")]);
            }
            Entry::File { .. } => panic!("expected a folder"),
        }
    }
}
