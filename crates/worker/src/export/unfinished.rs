//! Whether the agent left something half done: a merge, a rebase, a cherry-pick or a bisect under way, or the
//! conflict markers of one in its files. Such work is never a success.

use std::collections::BTreeSet;

use super::super::git::{self, Git};
use super::agents_git::AgentsGit;
use super::index::{Change, Entries};
use super::remarks::listed;
use super::snapshot::Snapshot;
use super::{Error, Scope, folder, index};

/// What git keeps in its folder while something is under way (`wt_status_get_state` in git's wt-status.c).
const OPERATIONS: [(&str, &str); 8] = [
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("sequencer", "cherry-pick"),
    ("BISECT_START", "bisect"),
    ("BISECT_LOG", "bisect"),
];

/// Reflog entries of commands that can leave conflict markers begin with one of these, perhaps after
/// `commit (`.
const CONFLICTING_COMMANDS: [&str; 6] = ["merge", "rebase", "cherry-pick", "revert", "pull", "am:"];

/// The longest file that is looked through for conflict markers, in bytes.
const MAX_SEARCHED_FILE: usize = 4 * 1024 * 1024;

/// What is unfinished, in a sentence that names the files; nothing when all is done.
///
/// # Errors
/// [`Error`] when git cannot read what it has staged.
pub async fn find(scope: &Scope<'_>, agents: &AgentsGit, main: &Snapshot) -> Result<Option<String>, Error> {
    let names = folder::names_in(scope, &agents.git_dir).await;
    let operation = OPERATIONS.iter().find(|(file, _)| names.iter().any(|name| name == file));
    let mut files: BTreeSet<Vec<u8>> = main.unmerged.clone();
    if operation.is_some() || has_merged(scope, agents, main).await {
        files.extend(marked(scope, main).await?);
    }
    let files: Vec<Vec<u8>> = files.into_iter().collect();
    let named = listed(&files).1;
    Ok(match (operation, files.is_empty()) {
        (Some((_, operation)), true) => Some(format!("The agent left an unfinished {operation}.")),
        (Some((_, operation)), false) => {
            Some(format!("The agent left an unfinished {operation}. Files with conflicts: {named}."))
        }
        (None, false) => Some(format!("The agent left an unfinished merge. Files with conflicts: {named}.")),
        (None, true) => None,
    })
}

/// Whether the agent has run anything that can leave conflict markers. A file with such markers is otherwise
/// meant to hold them: a test's input, or documentation.
async fn has_merged(scope: &Scope<'_>, agents: &AgentsGit, main: &Snapshot) -> bool {
    if !main.unmerged.is_empty() || !main.resolved.is_empty() {
        return true;
    }
    let merges = ["rev-list", "--merges", "--max-count=1", &main.parent, "--not", scope.base()];
    if main.git.line(&merges).await.is_ok_and(|found| !found.is_empty()) {
        return true;
    }
    if agents.references().await.iter().any(|reference| reference.name == "refs/stash") {
        return true;
    }
    let command = |entry: &String| {
        let commit = entry.strip_prefix("commit (").unwrap_or(entry);
        CONFLICTING_COMMANDS.iter().any(|sign| commit.starts_with(sign))
    };
    agents.reflog().await.iter().any(command)
}

/// The changed files that hold more conflicts than they did.
async fn marked(scope: &Scope<'_>, main: &Snapshot) -> Result<Vec<Vec<u8>>, Error> {
    let base: Entries = index::of_tree(&main.git, scope.base()).await?;
    let search = ["grep", "--cached", "-I", "-l", "-z", "-e", "^<<<<<<< "];
    let found = main.git.output(&search, &[]).await?.stdout;
    let candidates: BTreeSet<&[u8]> = found.split(|byte| *byte == 0).collect();
    let mut marked = Vec::new();
    for Change { path, old, new } in index::changes(&base, &main.entries) {
        let Some(new) = new.filter(|entry| entry.is_file() && candidates.contains(path.as_slice())) else {
            continue;
        };
        let now = conflicts(&main.git, &new.id).await?;
        if now == 0 {
            continue;
        }
        let before = match old.filter(|entry| entry.is_file()) {
            Some(old) => conflicts(&main.git, &old.id).await?,
            None => 0,
        };
        if now > before {
            marked.push(path.clone());
        }
    }
    Ok(marked)
}

async fn conflicts(git: &Git, id: &str) -> Result<usize, git::Error> {
    let content = git.run(&["cat-file", "blob", id]).await?;
    Ok(if content.len() > MAX_SEARCHED_FILE { 0 } else { count_conflicts(&content) })
}

/// How many complete sets of conflict markers there are, each at the start of its line.
fn count_conflicts(content: &[u8]) -> usize {
    let (mut count, mut next) = (0, 0);
    for line in content.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match next {
            _ if line.starts_with(b"<<<<<<< ") => next = 1,
            1 if line == b"=======" => next = 2,
            2 if line.starts_with(b">>>>>>> ") => {
                count += 1;
                next = 0;
            }
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_set_of_markers_is_a_conflict() {
        let conflict = b"a\n<<<<<<< HEAD\nb\n=======\r\nc\n>>>>>>> other\n";
        assert_eq!(count_conflicts(conflict), 1);
        assert_eq!(count_conflicts(&[conflict.as_slice(), conflict].concat()), 2);
        assert_eq!(count_conflicts(b"Title\n=======\n<<<<<<< x\n>>>>>>> y\n"), 0);
        assert_eq!(count_conflicts(b"  <<<<<<< HEAD\n=======\n>>>>>>> other\n"), 0);
    }
}
