//! Files that git would record anew although nobody changed them: where attributes (line ends, encodings) were
//! added without converting the files, what git would store differs from what it has stored. They are known
//! by their bytes: what git itself would write into the folder for the recorded object.

use std::path::Path;

use super::super::git::{self, Git};
use super::index::{self, Entries, Entry};
use super::{Error, Scope};

/// Puts every file that was staged without having been changed back to its entry in `before`.
///
/// # Errors
/// [`Error`] when git cannot edit the index. That a file cannot be compared is none: it counts as changed.
pub async fn restore(
    scope: &Scope<'_>,
    tree: &Path,
    git: &Git,
    git_dir: &Path,
    before: &Entries,
) -> Result<(), Error> {
    let after = index::read(git).await?.entries;
    let changes = index::changes(before, &after);
    let rewritten = changes.iter().filter_map(|change| {
        let (old, new) = (change.old?, change.new?);
        (old.is_file() && new.is_file() && old.id != new.id).then_some((change.path, old, new))
    });
    let rewritten: Vec<(&Vec<u8>, &Entry, &Entry)> = rewritten.collect();
    if rewritten.is_empty() {
        return Ok(());
    }
    // Written with the index and the attributes as they were before anything was staged.
    let untouched = git_dir.join("unchanged");
    let earlier =
        git.clone().in_folder(&untouched).with_variable("GIT_INDEX_FILE", git_dir.join("index-before"));
    let paths: Vec<u8> = rewritten.iter().flat_map(|(path, ..)| [path.as_slice(), b"\0"].concat()).collect();
    earlier.output(&["checkout-index", "--quiet", "--force", "-z", "--stdin"], &paths).await?;
    let (was, is) =
        (hashes(&earlier, &rewritten).await?, hashes(&git.clone().in_folder(tree), &rewritten).await?);
    let same = rewritten.iter().zip(was.iter().zip(&is)).filter(|(_, (was, is))| was == is);
    let edits: Vec<_> = same
        .map(|((path, old, new), _)| {
            ((*path).clone(), Some(Entry { mode: new.mode.clone(), id: old.id.clone() }))
        })
        .collect();
    tracing::debug!(files = edits.len(), workspace = %scope.checkout.root.display(), "files without a change");
    index::edit(git, &edits).await
}

/// The names that the files' bytes would have as objects; as many as could be read, in order.
async fn hashes(git: &Git, files: &[(&Vec<u8>, &Entry, &Entry)]) -> Result<Vec<String>, git::Error> {
    let paths: Vec<u8> =
        files.iter().flat_map(|(path, ..)| [c_quoted(path), b"\n".to_vec()].concat()).collect();
    let output = git.output(&["hash-object", "--no-filters", "--stdin-paths"], &paths).await?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// A path as git reads it from a line: quoted like a string in C.
fn c_quoted(path: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in path {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            0x20..=0x7e => text.push(*byte),
            _ => text.extend(format!("\\{byte:03o}").bytes()),
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_so_that_it_stays_one_line() {
        assert_eq!(c_quoted(b"a b\"\\\n\xff"), b"\"a b\\\"\\\\\\012\\377\"");
    }
}
