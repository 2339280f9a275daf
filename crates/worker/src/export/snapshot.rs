//! The state of one folder, or of one commit, as a tree that can be published: what the agent's own git would
//! have committed there, less what must not or cannot be published.

use std::collections::BTreeSet;
use std::path::Path;

use domain::report::Remark;

use super::super::checkout;
use super::super::git::{self, Git};
use super::agents_git::AgentsGit;
use super::index::{self, Change, Entries, Entry, GITLINK, Index};
use super::remarks::{left_out, remark};
use super::{Error, Scope, folder, rules, unchanged};

/// How often git may stop at a file that it cannot store.
const MAX_UNSTORABLE_FILES: usize = 50;

/// A tree, and the commit that it is to be committed on.
pub struct Snapshot {
    /// The repository that holds it, as the agent's user; its index is the tree's.
    pub git: Git,
    /// The tree.
    pub tree: String,
    /// What it was staged on: the agent's last commit, or the base.
    pub parent: String,
    /// Every file of it.
    pub entries: Entries,
    /// What a person should know about it.
    pub remarks: Vec<Remark>,
    /// The paths that the agent's index has with a conflict.
    pub unmerged: BTreeSet<Vec<u8>>,
    /// The paths whose conflict the agent has declared resolved.
    pub resolved: Vec<Vec<u8>>,
    /// Something that is left out is in the agent's commits, so they cannot be published as they are.
    pub history_holds_left_out: bool,
}

/// Takes the state of the folder `tree`. `agents` is its repository, when it answered.
///
/// # Errors
/// [`Error`] when git cannot make a tree of it.
pub async fn of_folder(
    scope: &Scope<'_>,
    tree: &Path,
    agents: Option<&AgentsGit>,
) -> Result<Snapshot, Error> {
    folder::remove_special_files(scope, tree).await?;
    let base = scope.base();
    let (git, git_dir) = repository(scope, tree, agents).await?;
    let mut remarks = Vec::new();
    let head = agents.and_then(|agents| agents.head.as_deref());
    let parent = parent(&git, base, head, &mut remarks).await;

    let before = match agents {
        Some(agents) => take_index(scope, &git, &git_dir, agents, &parent).await?,
        None => fresh_index(&git, base).await?,
    };
    // Conversions are judged by what was there before anything is staged.
    folder::copy(scope, &git_dir.join("index"), &git_dir.join("index-before")).await;
    let resolved = git.run(&["ls-files", "--resolve-undo", "-z"]).await.unwrap_or_default();
    let resolved = resolved.split(|byte| *byte == 0);
    let resolved =
        resolved.filter_map(|line| line.splitn(2, |byte| *byte == b'\t').nth(1).map(<[u8]>::to_vec));
    let resolved: BTreeSet<Vec<u8>> = resolved.collect();

    let base_entries = index::of_tree(&git, base).await?;
    let excluded = prepare(scope, tree, &git, &before, &base_entries, &mut remarks).await?;
    add(scope, tree, &git, &git_dir, excluded, &mut remarks).await?;
    unchanged::restore(scope, tree, &git, &git_dir, &before.entries).await?;
    let unmerged = before.unmerged;
    finish(git, parent, base, base_entries, remarks, unmerged, resolved.into_iter().collect()).await
}

/// Takes the state of `commit`, and of `untracked`, a tree of further files (as a stash has one).
///
/// # Errors
/// [`Error`] when git cannot make a tree of it.
pub async fn of_commit(
    scope: &Scope<'_>,
    agents: &AgentsGit,
    commit: &str,
    parent_commit: &str,
    untracked: Option<&str>,
) -> Result<Snapshot, Error> {
    let base = scope.base();
    let (git, _) = repository(scope, &agents.tree, Some(agents)).await?;
    let mut remarks = Vec::new();
    let parent = parent(&git, base, Some(parent_commit), &mut remarks).await;
    git.run(&["read-tree", commit]).await?;
    if let Some(tree) = untracked {
        let more = index::of_tree(&git, tree).await?;
        let more: Vec<_> = more.into_iter().map(|(path, entry)| (path, Some(entry))).collect();
        index::edit(&git, &more).await?;
    }
    let base_entries = index::of_tree(&git, base).await?;
    finish(git, parent, base, base_entries, remarks, BTreeSet::new(), Vec::new()).await
}

/// A repository for the agent's user with a configuration that the agent never saw. It borrows the base's
/// objects, and those of the agent's repository.
async fn repository(
    scope: &Scope<'_>,
    tree: &Path,
    agents: Option<&AgentsGit>,
) -> Result<(Git, std::path::PathBuf), Error> {
    let Scope { checkout, settings } = scope;
    let git_dir = tempfile::Builder::new().prefix("export-").tempdir_in(&checkout.root)?.keep();
    Git::of_worker(settings, &git_dir).run(&["init", "--quiet", "--bare", "--template="]).await?;
    checkout::borrow_objects(&git_dir, &checkout.base_git, &checkout.base)?;
    std::fs::create_dir(git_dir.join("info"))?;
    std::fs::create_dir(git_dir.join("unchanged"))?;
    checkout::hand_over(&git_dir, &settings.runs_as)?;
    let mut git = Git::of_agent(settings, &git_dir, tree);
    if let Some(agents) = agents {
        git = git.with_variable("GIT_ALTERNATE_OBJECT_DIRECTORIES", &agents.objects);
        git = git.with_config("core.fileMode", agents.file_mode.to_string());
        git = git.with_config("core.sparseCheckout", agents.sparse.to_string());
        let user_excludes = git_dir.join("user-excludes");
        for (from, to) in agents.excludes.iter().zip([git_dir.join("info/exclude"), user_excludes.clone()]) {
            folder::copy(scope, from, &to).await;
        }
        git = git.with_config("core.excludesFile", user_excludes.to_string_lossy());
    }
    Ok((git, git_dir))
}

/// The agent's last commit where it builds on the base; else the base.
async fn parent(git: &Git, base: &str, head: Option<&str>, remarks: &mut Vec<Remark>) -> String {
    let Some(head) = head else { return base.to_owned() };
    if git.run(&["merge-base", "--is-ancestor", base, head]).await.is_ok() {
        return head.to_owned();
    }
    let text = "The agent's commits do not build on the base branch; they became one.";
    remarks.push(remark("history_rewritten", text));
    base.to_owned()
}

/// The agent's index as it is: what is staged, what git is told to pass over, and the times by which git knows
/// that a file was not touched. Where it cannot be used, that of `parent`.
async fn take_index(
    scope: &Scope<'_>,
    git: &Git,
    git_dir: &Path,
    agents: &AgentsGit,
    parent: &str,
) -> Result<Index, Error> {
    let index = git_dir.join("index");
    let mut taken = folder::copy(scope, &agents.index, &index).await;
    // A split index is in two files.
    for name in folder::names_in(scope, &agents.git_dir).await {
        if name.starts_with("sharedindex.") {
            taken &= folder::copy(scope, &agents.git_dir.join(&name), &git_dir.join(&name)).await;
        }
    }
    match index::read(git).await {
        Ok(read) if taken => Ok(read),
        _ => {
            folder::remove(scope, &index).await?;
            fresh_index(git, parent).await
        }
    }
}

async fn fresh_index(git: &Git, commit: &str) -> Result<Index, Error> {
    git.run(&["read-tree", commit]).await?;
    index::read(git).await
}

/// Settles what lies in the folder besides plain files, and gives the paths that are not to be added.
async fn prepare(
    scope: &Scope<'_>,
    tree: &Path,
    git: &Git,
    before: &Index,
    base: &Entries,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<Vec<u8>>, Error> {
    let survey = folder::survey(scope, tree).await?;
    let mut excluded = Vec::new();
    let mut edits: Vec<(Vec<u8>, Option<Entry>)> = Vec::new();
    let with_repository: BTreeSet<&Vec<u8>> = survey.repositories.iter().map(|(folder, _)| folder).collect();

    for (path, _) in before.entries.iter().filter(|(_, entry)| entry.mode == GITLINK) {
        if with_repository.contains(path) {
            edits.extend(rules::moved_submodule(git, tree, path, before, remarks).await);
            excluded.push(path.clone());
        } else if folder::holds_files(scope, tree, path).await.unwrap_or(false) {
            // Plain files have taken the place of the submodule.
            edits.push((path.clone(), None));
        }
        // An empty folder is a submodule that was not fetched; none at all is one that was removed.
    }

    let mut nested = Vec::new();
    for (path, is_folder) in &survey.repositories {
        if before.entries.get(path).is_some_and(|entry| entry.mode == GITLINK) {
            continue;
        }
        let tracked = index::has_below(&before.entries, path);
        if tracked || (*is_folder && !rules::has_commit(git, tree, path).await) {
            // Files of this repository, or a repository that does not hold anything yet.
            folder::forget_repository(scope, tree, path).await?;
        } else {
            nested.push(path.clone());
        }
    }
    let ignored = rules::ignored(git, &nested).await;
    nested.retain(|path| !ignored.contains(path));
    if !nested.is_empty() {
        let reason = "a repository within the repository cannot be part of it";
        remarks.push(left_out("nested_repository", &nested, reason));
    }
    excluded.append(&mut nested);

    let mut dependencies: Vec<Vec<u8>> = survey.dependencies;
    dependencies.retain(|folder| !index::has_below(base, folder));
    // What is ignored is not added anyway; where it is tracked, the agent has insisted.
    let ignored = rules::ignored(git, &dependencies).await;
    dependencies.retain(|folder| !ignored.contains(folder));
    for folder in &dependencies {
        edits.extend(index::below(&before.entries, folder).map(|(path, _)| (path.clone(), None)));
    }
    if !dependencies.is_empty() {
        let reason = "installed dependencies and caches are not part of a change";
        remarks.push(left_out("dependencies", &dependencies, reason));
    }
    excluded.append(&mut dependencies);

    let mut large = survey.large;
    large.retain(|path| !within_any(&excluded, path));
    let ignored = rules::ignored(git, &large).await;
    large.retain(|path| before.entries.contains_key(path) || !ignored.contains(path));
    for path in &large {
        if before.entries.contains_key(path) {
            edits.push((path.clone(), base.get(path).cloned()));
        }
    }
    if !large.is_empty() {
        remarks.push(left_out("too_large", &large, rules::TOO_LARGE));
    }
    excluded.append(&mut large);

    index::edit(git, &edits).await?;
    Ok(excluded)
}

fn within_any(folders: &[Vec<u8>], path: &[u8]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder) && path.get(folder.len()) == Some(&b'/'))
}

/// Puts the folder's files into the index: deletions too, ignored files not. Links stay links. A file that
/// cannot be read or stored is left as it was.
async fn add(
    scope: &Scope<'_>,
    tree: &Path,
    git: &Git,
    git_dir: &Path,
    mut excluded: Vec<Vec<u8>>,
    remarks: &mut Vec<Remark>,
) -> Result<(), Error> {
    let arguments =
        ["add", "--all", "--sparse", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul"];
    let mut unstorable: Vec<(Vec<u8>, &str, String)> = Vec::new();
    let complaints = loop {
        let mut paths = b":/\0".to_vec();
        for path in &excluded {
            paths.extend([b":(top,exclude,literal)", path.as_slice(), b"\0"].concat());
        }
        let added = git.output(&arguments, &paths).await?;
        if matches!(added.status.code(), Some(0 | 1)) {
            break added.stderr;
        }
        let complaint = String::from_utf8_lossy(&added.stderr).into_owned();
        let fatal = complaint.lines().find_map(|line| line.strip_prefix("fatal: ")).unwrap_or_default();
        let found = if complaint.contains(rules::DISK_FULL_SIGN) {
            // The largest file is the likeliest that there is no room for; git does not say which it was.
            folder::remove_unfinished_objects(scope, git_dir).await?;
            let largest = rules::largest_change(scope, tree, git, &excluded).await?;
            largest.map(|path| (path, "disk_full", rules::DISK_FULL.to_owned()))
        } else {
            let path = quoted(fatal).map(|path| path.as_bytes().to_vec());
            path.map(|path| (path, "not_storable", format!("git cannot store it ({fatal})")))
        };
        match found.filter(|(path, ..)| !excluded.contains(path) && unstorable.len() < MAX_UNSTORABLE_FILES) {
            Some(found) => {
                excluded.push(found.0.clone());
                unstorable.push(found);
            }
            None => return Err(git::succeeded(&arguments, added).err().map_or(Error::Nonsense, Error::Git)),
        }
    };
    for (path, code, reason) in unstorable {
        remarks.push(left_out(code, &[path], &reason));
    }
    remarks.extend(rules::complaints(&String::from_utf8_lossy(&complaints)));
    Ok(())
}

/// What stands between the first and the last apostrophe.
pub fn quoted(line: &str) -> Option<&str> {
    let rest = line.split_once('\'')?.1;
    rest.rsplit_once('\'').map(|(path, _)| path)
}

/// Takes out of the index what must not be published, and writes the tree.
async fn finish(
    git: Git,
    parent: String,
    base: &str,
    base_entries: Entries,
    mut remarks: Vec<Remark>,
    unmerged: BTreeSet<Vec<u8>>,
    resolved: Vec<Vec<u8>>,
) -> Result<Snapshot, Error> {
    let staged = index::read(&git).await?.entries;
    let changes = index::changes(&base_entries, &staged);
    let edits = rules::restored(&git, &changes, &base_entries, &staged, &mut remarks).await?;
    index::edit(&git, &edits).await?;
    let entries = if edits.is_empty() { staged } else { index::read(&git).await?.entries };
    let tree = super::object(git.line(&["write-tree"]).await?)?;
    let history_holds_left_out = parent != base && {
        let in_parent = index::of_tree(&git, &parent).await?;
        let published = index::changes(&base_entries, &in_parent);
        published.iter().any(|change: &Change<'_>| {
            let left_out = remarks.iter().any(|remark| rules::is_left_out(remark, change.path));
            left_out && entries.get(change.path) == base_entries.get(change.path)
        })
    };
    Ok(Snapshot { git, tree, parent, entries, remarks, unmerged, resolved, history_holds_left_out })
}
