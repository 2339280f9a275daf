//! Brings the repository into the machine: the worker fetches one commit of the base branch into a
//! repository of its own (`base.git`), and the agent gets a second one (`repo`) that borrows its objects.
//!
//! The worker's never becomes the agent's: when root, the agent cannot write to it. The token is only in the
//! environment of the one git process that needs it; neither repository ever holds it.

use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::assignment::Assignment;
use domain::branch::is_branch_name;

use super::git::{self, Git};
use super::identity::Identity;
use super::settings::{RunsAs, Settings};

/// Pauses before the further tries of a fetch.
const RETRY_DELAYS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// The repository in the machine.
pub struct Checkout {
    /// The attempt's folder; only the worker writes to it.
    pub root: PathBuf,
    /// Where the repository is fetched from and pushed to.
    pub url: url::Url,
    /// The worker's repository, with the base's objects.
    pub base_git: PathBuf,
    /// The commit the branch starts from.
    pub base: String,
    /// The agent's working folder.
    pub tree: PathBuf,
    /// The agent's home.
    pub home: PathBuf,
    /// What the task's branch pointed to on the server before the agent began, from an earlier attempt.
    pub branch_before: Option<String>,
}

/// Why there is no checkout.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The assignment cannot be carried out as it is.
    #[error("{0}")]
    Refused(String),
    /// The server did not give the base branch.
    #[error("the repository could not be fetched: {0}")]
    Fetch(String),
    /// Something in this machine went wrong.
    #[error("the working folder could not be made")]
    Machine(#[from] std::io::Error),
    /// Git could not set up the folder.
    #[error("the working folder could not be filled: {0}")]
    Git(#[from] git::Error),
}

/// Makes the attempt's folders below `root` (an empty folder of the worker's) and checks the base branch out.
///
/// # Errors
/// [`Error`]; nothing was left running.
pub async fn make(
    root: &Path,
    assignment: &Assignment,
    identity: &Identity,
    settings: &Settings,
) -> Result<Checkout, Error> {
    let url = repository_url(&assignment.repo_url)?;
    for (variable, name) in [("BRANCH", &assignment.branch), ("BASE_BRANCH", &assignment.base_branch)] {
        if !is_branch_name(name) {
            return Err(Error::Refused(format!(
                "{variable} is {name:?}, which cannot be the name of a branch"
            )));
        }
    }
    if assignment.branch == assignment.base_branch {
        return Err(Error::Refused(format!("BRANCH and BASE_BRANCH are both {:?}", assignment.branch)));
    }
    // Readable for everybody on the way to the agent's folders, whatever the worker's umask is.
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755))?;
    let base_git = root.join("base.git");
    let local = Git::of_worker(settings, &base_git);
    local.run(&["init", "--quiet", "--bare", "--template=", "--shared=0644"]).await?;
    let remote = local.clone().with_token(&url, &assignment.github_token);
    let branch_before = remote_branch(&remote, &url, &assignment.branch).await.map_err(Error::Fetch)?;
    let base = fetch(&remote, &url, assignment).await?;

    let checkout = Checkout {
        tree: root.join("repo"),
        home: root.join("home"),
        root: root.to_owned(),
        url,
        base_git,
        base,
        branch_before,
    };
    make_home(&checkout.home, identity, settings)?;
    fill(&checkout, assignment, settings).await?;
    Ok(checkout)
}

/// What `branch` points to on the server; None when it is not there. Tried again when the server or the
/// connection fails.
///
/// # Errors
/// What git said, for a person.
pub async fn remote_branch(remote: &Git, url: &url::Url, branch: &str) -> Result<Option<String>, String> {
    let name = format!("refs/heads/{branch}");
    let listing = with_retries(remote, &["ls-remote", "--quiet", "--", url.as_str(), &name]).await?;
    // The pattern also matches `refs/heads/other/refs/heads/name`.
    Ok(listing
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .find_map(|(id, full)| (full == name && git::is_object_id(id)).then(|| id.to_owned())))
}

async fn fetch(remote: &Git, url: &url::Url, assignment: &Assignment) -> Result<String, Error> {
    let branch = &assignment.base_branch;
    let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
    let arguments = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
        "--",
        url.as_str(),
        &refspec,
    ];
    with_retries(remote, &arguments).await.map_err(|message| {
        if message.contains("couldn't find remote ref") {
            let repository = &assignment.repo_full_name;
            Error::Fetch(format!(
                "{repository} has no branch {branch:?} (an empty repository has none at all)"
            ))
        } else {
            Error::Fetch(message)
        }
    })?;
    Ok(remote.line(&["rev-parse", "--verify", &format!("refs/heads/{branch}^{{commit}}")]).await?)
}

/// Runs a git command that talks to the server, again after a pause when the failure may pass.
async fn with_retries(remote: &Git, arguments: &[&str]) -> Result<String, String> {
    let mut delays = RETRY_DELAYS.into_iter();
    loop {
        let message = match remote.line(arguments).await {
            Ok(text) => return Ok(text),
            Err(git::Error::Failed { message, .. }) => message,
            Err(other) => other.to_string(),
        };
        match delays.next().filter(|_| may_pass(&message)) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(message),
        }
    }
}

/// Whether git's complaint is about something that may be over in a moment: not about a name, a right or a
/// rule.
pub fn may_pass(message: &str) -> bool {
    const FINAL: [&str; 9] = [
        "couldn't find remote ref",
        "not found",
        "Authentication failed",
        "could not read Username",
        "error: 401",
        "error: 403",
        "error: 404",
        "[rejected]",
        "[remote rejected]",
    ];
    !FINAL.iter().any(|sign| message.contains(sign))
}

fn repository_url(text: &str) -> Result<url::Url, Error> {
    let url =
        url::Url::parse(text).map_err(|error| Error::Refused(format!("REPO_URL is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Refused("REPO_URL must begin with https:// or http://".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Refused("REPO_URL must not carry a credential; GITHUB_TOKEN does".to_owned()));
    }
    Ok(url)
}

/// The agent's home: empty but for the name its commits bear.
fn make_home(home: &Path, identity: &Identity, settings: &Settings) -> Result<(), Error> {
    std::fs::create_dir(home)?;
    std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o700))?;
    std::fs::write(home.join(".gitconfig"), identity.configuration())?;
    Ok(hand_over(home, &settings.runs_as)?)
}

/// The agent's repository: made by the worker, handed over, and only then filled, by the agent's user.
async fn fill(checkout: &Checkout, assignment: &Assignment, settings: &Settings) -> Result<(), Error> {
    let git_dir = checkout.tree.join(".git");
    std::fs::create_dir(&checkout.tree)?;
    std::fs::set_permissions(&checkout.tree, std::fs::Permissions::from_mode(0o755))?;
    let mine = Git::of_worker(settings, &git_dir);
    let (base, base_branch) = (checkout.base.as_str(), &assignment.base_branch);
    let tracking = format!("refs/remotes/origin/{base_branch}");
    mine.run(&["init", "--quiet", "--template="]).await?;
    borrow_objects(&git_dir, &checkout.base_git, base)?;
    std::fs::create_dir_all(git_dir.join("info"))?;
    std::fs::write(git_dir.join("info/exclude"), "# Paths that git ignores in this clone only.\n")?;
    for arguments in [
        vec!["config", "remote.origin.url", checkout.url.as_str()],
        vec!["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"],
        vec!["update-ref", &format!("refs/heads/{base_branch}"), base],
        vec!["update-ref", &tracking, base],
        vec!["symbolic-ref", "refs/remotes/origin/HEAD", &tracking],
    ] {
        mine.run(&arguments).await?;
    }
    hand_over(&checkout.tree, &settings.runs_as)?;
    let theirs = Git::of_agent(settings, &git_dir, &checkout.tree);
    theirs.run(&["checkout", "--quiet", "--no-recurse-submodules", "-B", &assignment.branch, base]).await?;
    settle_index(&theirs, &git_dir.join("index")).await
}

/// Where attributes make git store files in another form than it has them, it takes them for changed, and
/// `git add` would record them, unless they are older than the index by a second (git compares whole seconds:
/// "racy git"). So the index is written again in the next second, before the agent starts.
async fn settle_index(theirs: &Git, index: &Path) -> Result<(), Error> {
    if theirs.output(&["diff-files", "--quiet"], &[]).await?.status.success() {
        return Ok(());
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let content = std::fs::read(index)?;
    Ok(std::fs::write(index, content)?)
}

/// Lets the repository `git_dir` use the objects of `lender`, whose only commit is `base`, without its
/// parents.
///
/// # Errors
/// The system's.
pub fn borrow_objects(git_dir: &Path, lender: &Path, base: &str) -> Result<(), std::io::Error> {
    let info = git_dir.join("objects/info");
    std::fs::create_dir_all(&info)?;
    std::fs::write(info.join("alternates"), format!("{}\n", lender.join("objects").display()))?;
    // A base without parents is no shallow one, but to say so does no harm.
    std::fs::write(git_dir.join("shallow"), format!("{base}\n"))
}

/// Gives a folder that the worker made, and everything in it, to the agent's user: from the inside out, so
/// that the agent can change nothing on the way.
///
/// # Errors
/// The system's.
pub fn hand_over(path: &Path, to: &RunsAs) -> Result<(), std::io::Error> {
    let RunsAs::User { uid, gid } = to else { return Ok(()) };
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            hand_over(&entry?.path(), to)?;
        }
    }
    lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_http_address_is_cloned_from() {
        for text in
            ["file:///etc", "ext::sh -c id", "git@github.com:a/b", "https://user:x@github.com/a/b", "-c"]
        {
            assert!(repository_url(text).is_err(), "{text} was taken");
        }
        assert!(repository_url("https://github.com/octo/hello.git").is_ok());
    }

    #[test]
    fn a_refusal_is_not_tried_again_but_a_broken_connection_is() {
        assert!(may_pass(
            "fatal: unable to access 'https://github.com/': Could not resolve host: github.com"
        ));
        assert!(may_pass("error: RPC failed; HTTP 502"));
        assert!(!may_pass("remote: Repository not found.\nfatal: repository 'https://x/' not found"));
        assert!(!may_pass("fatal: Authentication failed for 'https://x/'"));
    }
}
