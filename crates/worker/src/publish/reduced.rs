//! Smaller versions of the work, for a server that refuses it as it is: as one commit, and without some of the
//! files. Made in the worker's own repository, from objects alone.

use super::super::export::{self, index};
use super::super::git::Git;
use super::super::identity::Identity;
use super::refusal::Changed;

/// One commit of all that `tip` changes on `base`; None when it is that already.
///
/// # Errors
/// Git's.
pub async fn flat(
    git: &Git,
    base: &str,
    tip: &str,
    identity: &Identity,
    message: &str,
) -> Result<Option<String>, export::Error> {
    let parents = git.line(&["rev-list", "--parents", "--max-count=1", tip]).await?;
    if parents.split(' ').skip(1).eq([base]) {
        return Ok(None);
    }
    let tree = format!("{tip}^{{tree}}");
    export::commit(git, &tree, base, identity, message).await.map(Some)
}

/// The files that `tip` changes on `base`.
///
/// # Errors
/// Git's.
pub async fn changed(git: &Git, base: &str, tip: &str) -> Result<Vec<Changed>, export::Error> {
    let (before, after) = (index::of_tree(git, base).await?, index::of_tree(git, tip).await?);
    let mut changed = Vec::new();
    for change in index::changes(&before, &after) {
        let id = change.new.map(|entry| entry.id.clone()).unwrap_or_default();
        let size = match change.new.filter(|entry| entry.is_file()) {
            Some(entry) => git.line(&["cat-file", "-s", &entry.id]).await?.parse().unwrap_or(0),
            None => 0,
        };
        changed.push(Changed { path: change.path.clone(), id, size });
    }
    Ok(changed)
}

/// One commit of what `tip` changes on `base`, but for `paths`; None when nothing is left.
///
/// # Errors
/// Git's.
pub async fn without(
    git: &Git,
    base: &str,
    tip: &str,
    paths: &[Vec<u8>],
    identity: &Identity,
    message: &str,
) -> Result<Option<String>, export::Error> {
    let before = index::of_tree(git, base).await?;
    git.run(&["read-tree", tip]).await?;
    let edits: Vec<_> = paths.iter().map(|path| (path.clone(), before.get(path).cloned())).collect();
    index::edit(git, &edits).await?;
    let tree = git.line(&["write-tree"]).await?;
    if tree == git.line(&["rev-parse", &format!("{base}^{{tree}}")]).await? {
        return Ok(None);
    }
    export::commit(git, &tree, base, identity, message).await.map(Some)
}

/// What `tip` changes in `path`, as text.
pub async fn difference(git: &Git, base: &str, tip: &str, path: &[u8]) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let literal = [b":(top,literal)", path].concat();
    let arguments = [base, tip, "--"].map(std::ffi::OsStr::new);
    let mut all = ["diff", "--no-color", "--no-ext-diff", "--no-textconv"].map(std::ffi::OsStr::new).to_vec();
    all.extend(arguments);
    all.push(std::ffi::OsStr::from_bytes(&literal));
    git.run(&all).await.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}
