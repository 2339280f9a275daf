//! What the agent's own repository says about itself: asked under the agent's own configuration, as the
//! agent's user, and taken as data. When it does not answer, it is as if it said nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::git::{self, Git};
use super::Scope;

/// How long the agent's repository may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The most entries of the reflog that are read.
const MAX_REFLOG: &str = "500";

/// A repository of the agent's, or a worktree of one, that answered.
pub struct AgentsGit {
    git: Git,
    /// The folder with the files.
    pub tree: PathBuf,
    /// What is checked out; absent on a branch without a commit.
    pub head: Option<String>,
    /// Its git folder (of the worktree, when it is one).
    pub git_dir: PathBuf,
    /// Where its objects lie.
    pub objects: PathBuf,
    /// Its index.
    pub index: PathBuf,
    /// The files with ignore rules that are not part of the repository, its own and the user's.
    pub excludes: [PathBuf; 2],
    /// `core.fileMode`: whether a changed execute bit is a change.
    pub file_mode: bool,
    /// `core.sparseCheckout`: a file that is not there may be left out on purpose.
    pub sparse: bool,
}

/// A branch, or the stash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its full name.
    pub name: String,
    /// The commit.
    pub commit: String,
}

impl AgentsGit {
    /// Asks the repository whose files are in `tree`; nothing when it does not answer.
    pub async fn ask(scope: &Scope<'_>, tree: &Path) -> Option<Self> {
        let home = &scope.checkout.home;
        let git = Git::of_agent(scope.settings, &tree.join(".git"), tree).with_limit(ANSWER_TIMEOUT);
        let paths = ["--git-path", "objects", "--git-path", "index", "--git-path", "info/exclude"];
        let question = [&["rev-parse", "--path-format=absolute", "--absolute-git-dir"][..], &paths].concat();
        let answer = git.line(&question).await.ok()?;
        let lines: Vec<&str> = answer.lines().collect();
        let [git_dir, objects, index, exclude] = lines[..] else { return None };

        let at_home = git
            .clone()
            .with_variable("HOME", home)
            .with_variable("GIT_CONFIG_GLOBAL", home.join(".gitconfig"));
        let names = r"^core\.(filemode|excludesfile|sparsecheckout)$";
        let listing = at_home.run(&["config", "--show-scope", "-z", "--get-regexp", names]).await;
        let listing = listing.unwrap_or_default();
        let own = |name: &str| configured(&listing, name);
        let user_excludes = own("core.excludesfile").map(|path| match path.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => tree.join(path),
        });
        let head = git.line(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await.ok();
        Some(Self {
            tree: tree.to_owned(),
            head: head.filter(|head| git::is_object_id(head)),
            git_dir: git_dir.into(),
            objects: objects.into(),
            index: index.into(),
            excludes: [exclude.into(), user_excludes.unwrap_or_else(|| home.join(".config/git/ignore"))],
            file_mode: own("core.filemode").is_none_or(|value| value != "false"),
            sparse: own("core.sparsecheckout").is_some_and(|value| value == "true"),
            git,
        })
    }

    /// Its branches, its remote branches and the newest stash.
    pub async fn references(&self) -> Vec<Reference> {
        let places = ["refs/heads", "refs/remotes", "refs/stash"];
        let command = ["for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)"];
        let listing = self.git.line(&[&command[..], &places].concat()).await.unwrap_or_default();
        let references = listing.lines().filter_map(|line| line.split_once(' '));
        references
            .filter(|(commit, _)| git::is_object_id(commit))
            .map(|(commit, name)| Reference { name: name.to_owned(), commit: commit.to_owned() })
            .collect()
    }

    /// The folders of its other worktrees that are still there, with what is checked out in each.
    pub async fn worktrees(&self) -> Vec<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let listing = self.git.run(&["worktree", "list", "--porcelain", "-z"]).await.unwrap_or_default();
        let folders = listing.split(|byte| *byte == 0).filter_map(|line| line.strip_prefix(b"worktree "));
        folders
            .map(|folder| Path::new(std::ffi::OsStr::from_bytes(folder)).to_owned())
            .filter(|folder| *folder != self.tree)
            .collect()
    }

    /// How many parents a commit has; none when it cannot be read.
    pub async fn parents(&self, commit: &str) -> usize {
        let line =
            self.git.line(&["rev-list", "--parents", "--max-count=1", commit]).await.unwrap_or_default();
        line.split(' ').count().saturating_sub(1)
    }

    /// What the reflog says was done, newest first.
    pub async fn reflog(&self) -> Vec<String> {
        let arguments = ["log", "--walk-reflogs", "--format=%gs", "-n", MAX_REFLOG, "HEAD"];
        self.git.line(&arguments).await.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// The last value of `name` in `git config --show-scope -z --get-regexp` that the worker did not set itself.
fn configured(listing: &[u8], name: &str) -> Option<String> {
    let fields: Vec<&[u8]> = listing.split(|byte| *byte == 0).collect();
    let mut values = fields.chunks_exact(2).filter(|pair| pair[0] != b"command").filter_map(|pair| {
        let text = String::from_utf8_lossy(pair[1]).into_owned();
        let (key, value) = text.split_once('\n').unwrap_or((&text, "true"));
        (key == name).then(|| value.to_owned())
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_worker_sets_itself_is_not_the_agents_configuration() {
        let listing = b"global\0core.excludesfile\n~/x\0local\0core.filemode\nfalse\0command\0core.excludesfile\n/dev/null\0";
        assert_eq!(configured(listing, "core.excludesfile").as_deref(), Some("~/x"));
        assert_eq!(configured(listing, "core.filemode").as_deref(), Some("false"));
        assert_eq!(configured(listing, "core.sparsecheckout"), None);
    }
}
