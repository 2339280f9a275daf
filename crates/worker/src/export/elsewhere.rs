//! Work of the agent's that is not what it has checked out: on another branch, in a worktree, in the stash. It
//! is published when nothing else is, and named otherwise.

use std::path::PathBuf;

use domain::report::Remark;

use super::super::git::Git;
use super::agents_git::{AgentsGit, Reference};
use super::remarks::{readable, remark};
use super::snapshot::{self, Snapshot};
use super::{Error, Scope};

/// The most worktrees that are looked into.
const MAX_WORKTREES: usize = 8;

/// One such place.
pub struct Place {
    kind: Kind,
    /// What a person calls it.
    pub name: String,
}

enum Kind {
    Worktree(PathBuf),
    Branch(Reference),
    Stash(Reference),
}

/// The places where work may be that `main`, the state of what is checked out, does not hold; the likeliest
/// first.
pub async fn places(scope: &Scope<'_>, agents: &AgentsGit, main: &Snapshot) -> Vec<Place> {
    let mut places = Vec::new();
    let mut checked_out = Vec::new();
    for folder in agents.worktrees().await.into_iter().take(MAX_WORKTREES) {
        // One that holds the whole workspace is not one of the agent's.
        if scope.checkout.root.starts_with(&folder) {
            continue;
        }
        let Some(own) = AgentsGit::ask(scope, &folder).await else { continue };
        checked_out.extend(own.head);
        let shown = folder.strip_prefix(&agents.tree).unwrap_or(&folder);
        let name = format!("the worktree {}", readable(shown.as_os_str().as_encoded_bytes()));
        places.push(Place { kind: Kind::Worktree(folder), name });
    }
    let references = agents.references().await;
    let remote = references.iter().filter(|reference| reference.name.starts_with("refs/remotes/"));
    let mut known: Vec<&str> = remote.map(|reference| reference.commit.as_str()).collect();
    known.extend([scope.base(), main.parent.as_str()]);
    known.extend(agents.head.as_deref());
    for reference in &references {
        if !holds_commits(&main.git, &reference.commit, &known).await {
            continue;
        }
        if let Some(branch) = reference.name.strip_prefix("refs/heads/") {
            // The worktree has its commits, and perhaps more.
            if !checked_out.contains(&reference.commit) {
                let name = format!("the branch {}", readable(branch.as_bytes()));
                places.push(Place { kind: Kind::Branch(reference.clone()), name });
            }
        } else if reference.name == "refs/stash" {
            places.push(Place { kind: Kind::Stash(reference.clone()), name: "the stash".to_owned() });
        }
    }
    places
}

/// Whether `commit` has anything that none of `known` has.
async fn holds_commits(git: &Git, commit: &str, known: &[&str]) -> bool {
    let mut arguments = vec!["rev-list", "--max-count=1", "--ignore-missing", commit, "--not"];
    arguments.extend(known);
    git.line(&arguments).await.is_ok_and(|found| !found.is_empty())
}

/// The state of a place.
///
/// # Errors
/// [`Error`] when git cannot make a tree of it.
pub async fn snapshot(scope: &Scope<'_>, agents: &AgentsGit, place: &Place) -> Result<Snapshot, Error> {
    match &place.kind {
        Kind::Worktree(folder) => {
            let own = AgentsGit::ask(scope, folder).await;
            snapshot::of_folder(scope, folder, own.as_ref()).await
        }
        Kind::Branch(Reference { commit, .. }) => {
            snapshot::of_commit(scope, agents, commit, commit, None).await
        }
        Kind::Stash(Reference { commit, .. }) => {
            // Its parents: what it was made on, the index, and, with `--include-untracked`, untracked files.
            let untracked = format!("{commit}^3");
            let commits = agents.parents(commit).await;
            let untracked = (commits > 2).then_some(untracked);
            snapshot::of_commit(scope, agents, commit, &format!("{commit}^1"), untracked.as_deref()).await
        }
    }
}

/// Names the places whose work is not published.
pub fn left_behind(names: &[String]) -> Remark {
    let text = format!("Work that is not on the checked-out branch was left out: {}.", names.join(", "));
    remark("work_elsewhere", text)
}
