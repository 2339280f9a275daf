//! What the agent left behind, as one pack of objects: its own commits as they are, and one more for what
//! it did not commit. What counts is what the agent's own git would have committed.
//!
//! Everything here that reads the agent's files runs as the agent's user, without any secret, so whatever
//! the agent prepared (links, filters, odd files, a replaced `.git`) meets nobody it could betray. The
//! worker's side takes the result as data; see `publish`.
//!
//! `agents_git` asks the agent's repository, `folder` looks through its files, `snapshot` (with `index`,
//! `rules`, `unchanged`) makes a tree of them, `unfinished` and `elsewhere` look for what a tree does not show.
//! `publication` calls [`collect`], `publish` takes the pack.

mod agents_git;
mod elsewhere;
mod folder;
pub mod index;
pub mod remarks;
mod rules;
mod snapshot;
mod unchanged;
mod unfinished;

use tokio::process::Command;

use domain::report::Remark;

use super::checkout::Checkout;
use super::git::{self, Git};
use super::identity::Identity;
use super::settings::Settings;
use agents_git::AgentsGit;
use remarks::remark;
use snapshot::Snapshot;

/// A commit that can be pushed.
pub struct Work {
    /// The commit.
    pub tip: String,
    /// Reads the objects between the base and `tip`, as the agent's user.
    pub git: Git,
}

/// What was found.
#[derive(Default)]
pub struct Collected {
    /// Nothing when there is no change.
    pub work: Option<Work>,
    /// What the agent left half done, in a sentence: then the work is no success.
    pub unfinished: Option<String>,
    /// What a person should know about it.
    pub remarks: Vec<Remark>,
}

/// How to describe the commit for what the agent left uncommitted.
pub struct Description<'a> {
    /// Its author and committer.
    pub identity: &'a Identity,
    /// Writes the whole message; it is told what is unfinished.
    pub message: &'a (dyn Fn(Option<&str>) -> String + Sync),
    /// Make a last commit even when the agent committed everything: its message says how it ended.
    pub always: bool,
}

/// Where the agent's work is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// The agent's files and its repository.
    Repository,
    /// Its files alone: its repository is damaged, or was made to hang.
    Files,
}

/// The attempt that everything here is about.
#[derive(Clone, Copy)]
struct Scope<'a> {
    checkout: &'a Checkout,
    settings: &'a Settings,
}

impl Scope<'_> {
    fn base(&self) -> &str {
        &self.checkout.base
    }
}

/// Why the work could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system's fault, or the agent's: the folder is gone.
    #[error("the agent's folder could not be read")]
    Folder(#[from] std::io::Error),
    /// Git could not make a commit of it.
    #[error("the agent's work could not be read: {0}")]
    Git(#[from] git::Error),
    /// Git wrote something else than the name of an object.
    #[error("git did not answer with the name of an object")]
    Nonsense,
}

/// Makes a commit of the agent's work. None when its files equal the base's.
///
/// The agent's own commits stay where they descend from the base and hold nothing that is left out; else all
/// of it becomes one commit on top of the base.
///
/// # Errors
/// [`Error`], after which [`Sources::Files`] may still succeed.
pub async fn collect(
    checkout: &Checkout,
    settings: &Settings,
    description: &Description<'_>,
    sources: Sources,
) -> Result<Collected, Error> {
    let scope = Scope { checkout, settings };
    let agents = match sources {
        Sources::Repository => AgentsGit::ask(&scope, &checkout.tree).await,
        Sources::Files => None,
    };
    let main = snapshot::of_folder(&scope, &checkout.tree, agents.as_ref()).await?;
    let Some(agents) = agents else {
        return publishable(&scope, main, None, Vec::new(), description).await;
    };
    let unfinished = unfinished::find(&scope, &agents, &main).await?;
    let base_tree = main.git.line(&["rev-parse", &format!("{}^{{tree}}", scope.base())]).await?;
    let mut found = (main.tree != base_tree).then_some(());
    let (mut published, mut remarks, mut behind) = (main, Vec::new(), Vec::new());
    for place in elsewhere::places(&scope, &agents, &published).await {
        // What cannot be read there does not keep back the rest.
        let Ok(other) = elsewhere::snapshot(&scope, &agents, &place).await else {
            behind.push(place.name);
            continue;
        };
        if other.tree == base_tree || other.tree == published.tree {
            continue;
        }
        if found.is_some() {
            behind.push(place.name);
            continue;
        }
        found = Some(());
        let text = format!("The work was not on the checked-out branch: it was taken from {}.", place.name);
        remarks.push(remark("work_elsewhere", text));
        remarks.append(&mut published.remarks);
        published = other;
    }
    if !behind.is_empty() {
        remarks.push(elsewhere::left_behind(&behind));
    }
    publishable(&scope, published, unfinished, remarks, description).await
}

/// Commits what a snapshot has, unless that is nothing.
async fn publishable(
    scope: &Scope<'_>,
    snapshot: Snapshot,
    unfinished: Option<String>,
    mut remarks: Vec<Remark>,
    description: &Description<'_>,
) -> Result<Collected, Error> {
    let Snapshot { git, tree, mut parent, remarks: own, history_holds_left_out, .. } = snapshot;
    remarks.extend(own);
    let base = scope.base();
    if tree == git.line(&["rev-parse", &format!("{base}^{{tree}}")]).await? {
        return Ok(Collected { work: None, unfinished, remarks });
    }
    if history_holds_left_out {
        let text = "The agent's commits became one, because they hold what was left out.";
        remarks.push(remark("history_flattened", text));
        base.clone_into(&mut parent);
    }
    let parent_tree = git.line(&["rev-parse", &format!("{parent}^{{tree}}")]).await?;
    let last = description.always || unfinished.is_some();
    let tip = if tree == parent_tree && !last && parent != base {
        git.line(&["rev-parse", "--verify", &format!("{parent}^{{commit}}")]).await?
    } else {
        let message = (description.message)(unfinished.as_deref());
        commit(&git, &tree, &parent, description.identity, &message).await?
    };
    Ok(Collected { work: Some(Work { tip: object(tip)?, git }), unfinished, remarks })
}

/// Makes a commit of `tree` on `parent`.
///
/// # Errors
/// Git's.
pub async fn commit(
    git: &Git,
    tree: &str,
    parent: &str,
    identity: &Identity,
    message: &str,
) -> Result<String, Error> {
    let git = identity.applied_to(git.clone());
    let arguments = ["commit-tree", tree, "-p", parent, "-F", "-"];
    let written = git::succeeded(&arguments, git.output(&arguments, message.as_bytes()).await?)?;
    object(String::from_utf8_lossy(&written).trim().to_owned())
}

fn object(text: String) -> Result<String, Error> {
    if git::is_object_id(&text) { Ok(text) } else { Err(Error::Nonsense) }
}

/// The command that writes the pack of everything from `base` to the work's tip. Reads its standard input:
/// what [`pack_input`] gives.
pub fn pack_command(work: &Work) -> Command {
    work.git.command(&["pack-objects", "--stdout", "--revs", "--quiet"])
}

/// What to tell the command of [`pack_command`].
pub fn pack_input(work: &Work, base: &str) -> String {
    format!("{}\n^{base}\n", work.tip)
}
