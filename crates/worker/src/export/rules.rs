//! What is left out of the published tree, and why: what GitHub refuses, what nobody could fetch, what is not
//! a change.

use std::collections::BTreeSet;
use std::path::Path;

use domain::report::Remark;

use super::super::git::{self, Git};
use super::folder::{self, MAX_FILE};
use super::index::{Change, Entries, Entry, GITLINK, Index};
use super::remarks::{left_out, readable};
use super::snapshot::quoted;
use super::{Error, Scope};

/// Why a large file is left out.
pub const TOO_LARGE: &str = "GitHub takes no file over 100 MiB";

/// Why a file is left out that there is no room for, and what git says then.
pub const DISK_FULL: &str = "the disk is full";
/// See [`DISK_FULL`].
pub const DISK_FULL_SIGN: &str = "No space left on device";

/// The first line of a Git LFS pointer, and the most bytes one has
/// (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const LFS_POINTER: (&[u8], u64) = (b"version https://git-lfs.github.com/spec/v1\n", 1024);

/// Which of the changes must not be published, each with the entry that it goes back to.
///
/// # Errors
/// Git's.
pub async fn restored(
    git: &Git,
    changes: &[Change<'_>],
    base: &Entries,
    staged: &Entries,
    remarks: &mut Vec<Remark>,
) -> Result<Vec<(Vec<u8>, Option<Entry>)>, Error> {
    let mut restored: Vec<&Vec<u8>> = Vec::new();

    let links = changes.iter().filter(|change| change.new.is_some_and(|entry| entry.mode == GITLINK));
    let known = submodule_paths(git, staged).await;
    let stray = links.filter(|change| {
        let before = change.old.is_some_and(|entry| entry.mode == GITLINK);
        !before && !known.contains(change.path)
    });
    let stray: Vec<&Vec<u8>> = stray.map(|change| change.path).collect();
    note(remarks, "nested_repository", &stray, "a repository within the repository cannot be part of it");
    restored.extend(stray);

    let files: Vec<(&Vec<u8>, &Entry)> = changes
        .iter()
        .filter_map(|change| change.new.filter(|entry| entry.is_file()).map(|entry| (change.path, entry)))
        .collect();
    let sizes = sizes(git, &files).await?;
    let large = files.iter().zip(&sizes).filter(|(_, size)| **size > MAX_FILE).map(|((path, _), _)| *path);
    let large: Vec<&Vec<u8>> = large.collect();
    note(remarks, "too_large", &large, TOO_LARGE);
    restored.extend(large);

    let managed = lfs_paths(git, &files).await?;
    let mut raw = Vec::new();
    for ((path, entry), size) in files.iter().zip(&sizes).filter(|((path, _), _)| managed.contains(*path)) {
        let pointer = if *size <= LFS_POINTER.1 { blob(git, &entry.id).await? } else { Vec::new() };
        let fetched = base.values().any(|known| known.id == entry.id);
        if pointer.starts_with(LFS_POINTER.0) && fetched {
            continue;
        }
        restored.push(path);
        // The content that the pointer stands for is no change.
        let old = match base.get(*path) {
            Some(old) => blob(git, &old.id).await?,
            None => Vec::new(),
        };
        if pointed_size(&old) != Some(*size) {
            raw.push(*path);
        }
    }
    note(remarks, "lfs", &raw, "Git LFS keeps the content of such files, and Porter cannot upload to it");

    Ok(restored.into_iter().map(|path| (path.clone(), base.get(path).cloned())).collect())
}

fn note(remarks: &mut Vec<Remark>, code: &str, paths: &[&Vec<u8>], reason: &str) {
    let named = |path: &[u8]| remarks.iter().any(|remark| remark.code == code && is_left_out(remark, path));
    let new: Vec<&[u8]> = paths.iter().map(|path| path.as_slice()).filter(|path| !named(path)).collect();
    if !new.is_empty() {
        remarks.push(left_out(code, &new, reason));
    }
}

/// Whether `remark` says that `path`, or a folder around it, is left out.
pub fn is_left_out(remark: &Remark, path: &[u8]) -> bool {
    let path = readable(path);
    remark.paths.iter().any(|out| {
        path.strip_prefix(out.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// How large each file is, in bytes.
async fn sizes(git: &Git, files: &[(&Vec<u8>, &Entry)]) -> Result<Vec<u64>, Error> {
    let ids: String = files.iter().map(|(_, entry)| format!("{}\n", entry.id)).collect();
    let arguments = ["cat-file", "--batch-check=%(objectsize)"];
    let listing = git::succeeded(&arguments, git.output(&arguments, ids.as_bytes()).await?)?;
    Ok(String::from_utf8_lossy(&listing).lines().map(|size| size.parse().unwrap_or(0)).collect())
}

async fn blob(git: &Git, id: &str) -> Result<Vec<u8>, Error> {
    Ok(git.run(&["cat-file", "blob", id]).await?)
}

/// Those of the files whose content Git LFS keeps, by the attributes in the index.
async fn lfs_paths(git: &Git, files: &[(&Vec<u8>, &Entry)]) -> Result<BTreeSet<Vec<u8>>, Error> {
    let paths: Vec<u8> = files.iter().flat_map(|(path, _)| [path.as_slice(), b"\0"].concat()).collect();
    let arguments = ["check-attr", "--cached", "-z", "--stdin", "filter"];
    let listing = git::succeeded(&arguments, git.output(&arguments, &paths).await?)?;
    let fields: Vec<&[u8]> = listing.split(|byte| *byte == 0).collect();
    Ok(fields.chunks_exact(3).filter(|line| line[2] == b"lfs").map(|line| line[0].to_vec()).collect())
}

/// The `size` line of a Git LFS pointer.
fn pointed_size(pointer: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(pointer.strip_prefix(LFS_POINTER.0)?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("size "))?.trim().parse().ok()
}

/// The paths that `.gitmodules` names. Read line by line: git refuses the whole file for one odd address.
async fn submodule_paths(git: &Git, staged: &Entries) -> BTreeSet<Vec<u8>> {
    let Some(entry) = staged.get(b".gitmodules".as_slice()) else { return BTreeSet::new() };
    let text = blob(git, &entry.id).await.unwrap_or_default();
    let values = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.trim_ascii().strip_prefix(b"path")?.trim_ascii_start().strip_prefix(b"=")?;
        Some(line.trim_ascii().trim_ascii_start().to_vec())
    });
    values
        .map(|path| {
            path.strip_prefix(b"\"").and_then(|p| p.strip_suffix(b"\"")).map_or(path.clone(), <[u8]>::to_vec)
        })
        .collect()
}

/// The new entry of a submodule in whose folder something else is checked out: a commit that its own server
/// has. Nothing when it stays where it is.
pub async fn moved_submodule(
    git: &Git,
    tree: &Path,
    path: &[u8],
    before: &Index,
    remarks: &mut Vec<Remark>,
) -> Option<(Vec<u8>, Option<Entry>)> {
    let entry = before.entries.get(path)?;
    let own = nested(git, tree, path);
    let head = own.line(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await.ok()?;
    if !git::is_object_id(&head) || head == entry.id {
        return None;
    }
    let published = ["for-each-ref", "--count=1", "--contains", &head, "refs/remotes", "refs/tags"];
    if own.line(&published).await.is_ok_and(|found| !found.is_empty()) {
        return Some((path.to_owned(), Some(Entry { mode: GITLINK.to_owned(), id: head })));
    }
    let text = format!(
        "{} stays at its commit: what was committed there is not on the submodule's server.",
        readable(path)
    );
    remarks.push(Remark { code: "submodule_commit".to_owned(), text, paths: vec![readable(path)] });
    None
}

/// Whether the repository in the folder `path` has anything checked out.
pub async fn has_commit(git: &Git, tree: &Path, path: &[u8]) -> bool {
    nested(git, tree, path).run(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await.is_ok()
}

fn nested(git: &Git, tree: &Path, path: &[u8]) -> Git {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tree.join(std::ffi::OsStr::from_bytes(path));
    git.clone().with_variable("GIT_DIR", folder.join(".git")).in_folder(&folder)
}

/// Those of the paths that the ignore rules name.
pub async fn ignored(git: &Git, paths: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    if paths.is_empty() {
        return BTreeSet::new();
    }
    let input: Vec<u8> = paths.iter().flat_map(|path| [path.as_slice(), b"\0"].concat()).collect();
    let output = git.output(&["check-ignore", "--no-index", "-z", "--stdin"], &input).await;
    let output = output.map(|output| output.stdout).unwrap_or_default();
    output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect()
}

/// The largest of the files that are to be added, but for those in `excluded`.
///
/// # Errors
/// Git's, and `find`'s.
pub async fn largest_change(
    scope: &Scope<'_>,
    tree: &Path,
    git: &Git,
    excluded: &[Vec<u8>],
) -> Result<Option<Vec<u8>>, Error> {
    let listing = git.run(&["ls-files", "-z", "--modified", "--others", "--exclude-standard"]).await?;
    let changed: BTreeSet<&[u8]> = listing.split(|byte| *byte == 0).collect();
    let files = folder::sizes(scope, tree).await?.into_iter();
    let files = files.filter(|(_, path)| changed.contains(path.as_slice()) && !excluded.contains(path));
    Ok(files.max().map(|(_, path)| path))
}

/// What `git add` complained about, as remarks: one for each reason.
pub fn complaints(stderr: &str) -> Vec<Remark> {
    let mut found: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    let mut cause = "";
    for line in stderr.lines().map(str::trim) {
        let names_a_file = ["unable to index file '", "invalid path '", "could not open directory '"];
        let Some(path) = names_a_file.iter().any(|sign| line.contains(sign)).then(|| quoted(line)).flatten()
        else {
            if line.starts_with("error: ") {
                cause = line.trim_start_matches("error: ");
            }
            continue;
        };
        let why = if line.contains("unable to index file") { cause } else { line };
        let (code, reason) = match why {
            _ if stderr.contains(DISK_FULL_SIGN) && !why.contains("Permission denied") => {
                ("disk_full", DISK_FULL)
            }
            _ if why.contains("Permission denied") => ("unreadable", "it cannot be read (Permission denied)"),
            _ if why.contains("invalid path") => ("odd_name", "git does not take such a name"),
            _ => ("not_storable", "git cannot store it"),
        };
        match found.iter_mut().find(|(known, ..)| *known == code) {
            Some((.., paths)) if paths.contains(&path) => {}
            Some((.., paths)) => paths.push(path),
            None => found.push((code, reason, vec![path])),
        }
    }
    found.into_iter().map(|(code, reason, paths)| left_out(code, &paths, reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_complains_about_is_told_by_reason() {
        let stderr = "error: open(\"locked\"): Permission denied\nerror: unable to index file 'locked'\n\
            warning: could not open directory 'shut/': Permission denied\nerror: invalid path '.GIT/config'\n\
            hint: something";
        let seen: Vec<String> = complaints(stderr).into_iter().map(|remark| remark.text).collect();
        assert_eq!(
            seen,
            [
                "locked, shut/ were left out: it cannot be read (Permission denied).",
                ".GIT/config was left out: git does not take such a name."
            ]
        );
        let full = "error: unable to create temporary file: No space left on device\n\
            error: big: failed to insert into database\nerror: unable to index file 'big'";
        assert_eq!(complaints(full)[0].text, "big was left out: the disk is full.");
    }

    #[test]
    fn a_pointer_tells_the_size_of_what_it_stands_for() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n";
        assert_eq!(pointed_size(pointer), Some(12345));
        assert_eq!(pointed_size(b"size 12345\n"), None);
    }
}
