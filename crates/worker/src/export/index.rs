//! Git's index and trees as lists: read and edited through git's own commands.

use std::collections::{BTreeMap, BTreeSet};

use super::super::git::{self, Git};
use super::Error;

/// A path in bytes, relative to the repository's root, to what git records for it.
pub type Entries = BTreeMap<Vec<u8>, Entry>;

/// The mode of a submodule's entry.
pub const GITLINK: &str = "160000";

/// What git records for one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `100644`, `100755`, `120000` or [`GITLINK`].
    pub mode: String,
    /// The object.
    pub id: String,
}

impl Entry {
    /// Whether it is a file with content of its own, executable or not.
    pub fn is_file(&self) -> bool {
        self.mode.starts_with("100")
    }
}

/// What the index holds.
#[derive(Debug, Default)]
pub struct Index {
    /// Every path; one with a conflict has its own side here.
    pub entries: Entries,
    /// The paths with a conflict.
    pub unmerged: BTreeSet<Vec<u8>>,
    /// The paths whose files git is told not to look at (`skip-worktree`).
    pub skipped: Vec<Vec<u8>>,
}

/// Reads the index of `git`.
///
/// # Errors
/// Git's, when it is damaged.
pub async fn read(git: &Git) -> Result<Index, Error> {
    let listing = git.run(&["ls-files", "--stage", "-v", "-z"]).await?;
    let mut index = Index::default();
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let (Some(tag), Some((fields, path))) = (line.first(), split_once(line, b'\t')) else { continue };
        let fields = String::from_utf8_lossy(fields);
        let fields: Vec<&str> = fields.split(' ').collect();
        let [_, mode, id, stage] = fields[..] else { continue };
        if tag.eq_ignore_ascii_case(&b'S') {
            index.skipped.push(path.to_owned());
        }
        let entry = Entry { mode: mode.to_owned(), id: id.to_owned() };
        if stage == "0" || stage == "2" {
            index.entries.insert(path.to_owned(), entry);
        } else {
            index.entries.entry(path.to_owned()).or_insert(entry);
        }
        if stage != "0" {
            index.unmerged.insert(path.to_owned());
        }
    }
    Ok(index)
}

/// Every file of `tree`, in all folders.
///
/// # Errors
/// Git's.
pub async fn of_tree(git: &Git, tree: &str) -> Result<Entries, Error> {
    let listing = git.run(&["ls-tree", "-r", "-z", "--full-tree", tree]).await?;
    let lines = listing.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    Ok(lines
        .filter_map(|line| {
            let (fields, path) = split_once(line, b'\t')?;
            let fields = String::from_utf8_lossy(fields);
            let mut fields = fields.split(' ');
            let entry = Entry { mode: fields.next()?.to_owned(), id: fields.nth(1)?.to_owned() };
            Some((path.to_owned(), entry))
        })
        .collect())
}

/// Puts each path back to the entry it is given with, or takes it out of the index.
///
/// # Errors
/// Git's.
pub async fn edit(git: &Git, edits: &[(Vec<u8>, Option<Entry>)]) -> Result<(), Error> {
    if edits.is_empty() {
        return Ok(());
    }
    let mut input = Vec::new();
    // Removals first: a file may come in the place of a folder, or the other way round.
    for (path, _) in edits.iter().filter(|(_, entry)| entry.is_none()) {
        input.extend([b"0 0000000000000000000000000000000000000000\t", path.as_slice(), b"\0"].concat());
    }
    for (path, entry) in edits {
        if let Some(entry) = entry {
            let fields = format!("{} {}\t", entry.mode, entry.id);
            input.extend([fields.as_bytes(), path, b"\0"].concat());
        }
    }
    let arguments = ["update-index", "-z", "--replace", "--index-info"];
    let output = git.output(&arguments, &input).await?;
    git::succeeded(&arguments, output)?;
    Ok(())
}

/// Whether anything in `entries` lies in `folder`.
pub fn has_below(entries: &Entries, folder: &[u8]) -> bool {
    below(entries, folder).next().is_some()
}

/// What of `entries` lies in `folder`.
pub fn below<'a>(entries: &'a Entries, folder: &[u8]) -> impl Iterator<Item = (&'a Vec<u8>, &'a Entry)> {
    let prefix = [folder, b"/"].concat();
    let from = prefix.clone();
    entries.range(from..).take_while(move |(path, _)| path.starts_with(&prefix))
}

/// The paths whose entries differ, with what they were before and are after.
pub fn changes<'a>(before: &'a Entries, after: &'a Entries) -> Vec<Change<'a>> {
    let mut changes: Vec<Change<'a>> = Vec::new();
    for (path, new) in after {
        let old = before.get(path);
        if old != Some(new) {
            changes.push(Change { path, old, new: Some(new) });
        }
    }
    let gone = before.iter().filter(|(path, _)| !after.contains_key(*path));
    changes.extend(gone.map(|(path, old)| Change { path, old: Some(old), new: None }));
    changes
}

/// One path whose entry differs.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Which.
    pub path: &'a Vec<u8>,
    /// What it was; absent when it is added.
    pub old: Option<&'a Entry>,
    /// What it is; absent when it is removed.
    pub new: Option<&'a Entry>,
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}
