//! What lies in the agent's folder besides files: nested repositories, installed dependencies, large files,
//! pipes. Found with `find`, which runs as the agent's user, so nothing of the worker's follows a link there.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::super::git;
use super::{Error, Scope};

/// GitHub refuses a push that contains a larger file (bytes).
pub const MAX_FILE: u64 = 100 * 1024 * 1024;

/// The same for `find`, in MiB.
const LARGER_THAN_MAX_FILE: &str = "+100M";

/// Copying a file of git's takes no longer, unless it is a pipe that nobody writes to.
const COPY_TIMEOUT: Duration = Duration::from_secs(20);

/// Folders with these names hold what a package manager or an interpreter has put there.
const DEPENDENCY_FOLDERS: [&str; 7] =
    ["node_modules", "bower_components", "jspm_packages", "__pypackages__", "__pycache__", ".tox", ".nox"];

/// A file with such a name marks its folder as a virtual environment, or as a cache (`CACHEDIR.TAG`,
/// <https://bford.info/cachedir/>).
const MARKERS: [&str; 2] = ["pyvenv.cfg", "CACHEDIR.TAG"];

/// What was found, as paths relative to the folder.
#[derive(Debug, Default)]
pub struct Survey {
    /// Folders with a `.git` of their own; true when that is a folder and not a file.
    pub repositories: Vec<(Vec<u8>, bool)>,
    /// Folders of installed dependencies and caches; none lies in another.
    pub dependencies: Vec<Vec<u8>>,
    /// Files over [`MAX_FILE`].
    pub large: Vec<Vec<u8>>,
}

/// Looks through `tree`.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn survey(scope: &Scope<'_>, tree: &Path) -> Result<Survey, Error> {
    let mut expression: Vec<&str> =
        vec!["-mindepth", "1", "(", "-path", "./.git", "-prune", ")", "-o", "(", "-name", ".git"];
    expression.extend(["-printf", "g%y%p\\0", "-prune", ")", "-o", "(", "-type", "d", "("]);
    for (index, name) in DEPENDENCY_FOLDERS.iter().enumerate() {
        expression.extend(if index > 0 { &["-o", "-name"][..] } else { &["-name"] });
        expression.push(name);
    }
    expression.extend([")", "-printf", "d-%p\\0", ")", "-o", "(", "-type", "f", "("]);
    for (index, name) in MARKERS.iter().enumerate() {
        expression.extend(if index > 0 { &["-o", "-name"][..] } else { &["-name"] });
        expression.push(name);
    }
    expression.extend([")", "-printf", "d-%h\\0", ")", "-o", "(", "-type", "f"]);
    expression.extend(["-size", LARGER_THAN_MAX_FILE, "-printf", "l-%p\\0", ")"]);
    let output = find(scope, tree, &expression).await?;

    let mut survey = Survey::default();
    let mut dependencies = BTreeSet::new();
    for entry in output.split(|byte| *byte == 0) {
        let [kind, detail, b'.', b'/', path @ ..] = entry else { continue };
        match kind {
            b'g' => {
                if let Some(folder) = path.strip_suffix(b"/.git") {
                    survey.repositories.push((folder.to_owned(), *detail == b'd'));
                }
            }
            b'd' => drop(dependencies.insert(path.to_owned())),
            _ => survey.large.push(path.to_owned()),
        }
    }
    for folder in dependencies {
        let within = |outer: &Vec<u8>| folder.starts_with(outer) && folder.get(outer.len()) == Some(&b'/');
        if !survey.dependencies.iter().any(within) {
            survey.dependencies.push(folder);
        }
    }
    Ok(survey)
}

/// Removes pipes, sockets and devices: git records none, and to open a pipe is to wait for ever. Links among
/// the objects go as well: they could lead to a pipe, and git makes none.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn remove_special_files(scope: &Scope<'_>, tree: &Path) -> Result<(), Error> {
    let special = ["!", "(", "-type", "f", "-o", "-type", "d", "-o", "-type", "l", ")", "-delete"];
    find(scope, tree, &special).await?;
    let links = ["-path", "./.git/objects/*", "-type", "l", "-delete"];
    find(scope, tree, &links).await?;
    Ok(())
}

/// Removes the `.git` of a folder in `tree`, so that its files are files like others.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn forget_repository(scope: &Scope<'_>, tree: &Path, folder: &[u8]) -> Result<(), Error> {
    let start = OsString::from_vec([b"./", folder, b"/.git"].concat());
    find_in(scope, tree, &start, &["-delete"]).await?;
    Ok(())
}

/// Removes what git leaves behind of objects that it could not write to the end.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn remove_unfinished_objects(scope: &Scope<'_>, git_dir: &Path) -> Result<(), Error> {
    find_in(scope, git_dir, OsStr::new("objects"), &["-name", "tmp_*", "-type", "f", "-delete"]).await?;
    Ok(())
}

/// Every file in `tree`, with its size in bytes before its path.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn sizes(scope: &Scope<'_>, tree: &Path) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let arguments = ["-path", "./.git", "-prune", "-o", "-type", "f", "-printf", "%s %P\\0"];
    let listing = find(scope, tree, &arguments).await?;
    let files = listing.split(|byte| *byte == 0).filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        let size = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
        Some((size, line[space + 1..].to_vec()))
    });
    Ok(files.collect())
}

/// Removes a file.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn remove(scope: &Scope<'_>, file: &Path) -> Result<(), Error> {
    find_in(scope, Path::new("/"), file.as_os_str(), &["-delete"]).await?;
    Ok(())
}

/// Whether there is anything in a folder of `tree`.
///
/// # Errors
/// [`Error`] when `find` cannot be run or takes too long.
pub async fn holds_files(scope: &Scope<'_>, tree: &Path, folder: &[u8]) -> Result<bool, Error> {
    let start = OsString::from_vec([b"./", folder].concat());
    Ok(!find_in(scope, tree, &start, &["-mindepth", "1", "-printf", "x", "-quit"]).await?.is_empty())
}

/// The names of what lies in `folder` itself.
pub async fn names_in(scope: &Scope<'_>, folder: &Path) -> Vec<String> {
    let arguments = ["-mindepth", "1", "-maxdepth", "1", "-printf", "%f\\n"];
    let listing = find(scope, folder, &arguments).await.unwrap_or_default();
    String::from_utf8_lossy(&listing).lines().map(str::to_owned).collect()
}

/// Copies a file as the agent's user, with its time, which git compares; false when that did not work.
pub async fn copy(scope: &Scope<'_>, from: &Path, to: &Path) -> bool {
    let mut command = as_agent(scope, &scope.settings.cp);
    command.current_dir("/").arg("-p").arg("--").arg(from).arg(to);
    let output = git::finish(&mut command, &[], COPY_TIMEOUT).await;
    output.ok().flatten().is_some_and(|output| output.status.success())
}

async fn find(scope: &Scope<'_>, tree: &Path, expression: &[&str]) -> Result<Vec<u8>, Error> {
    find_in(scope, tree, OsStr::new("."), expression).await
}

async fn find_in(
    scope: &Scope<'_>,
    tree: &Path,
    start: &OsStr,
    expression: &[&str],
) -> Result<Vec<u8>, Error> {
    let mut command = as_agent(scope, &scope.settings.find);
    command.current_dir(tree).arg(start).args(expression);
    // Its exit code only says that some folder could not be entered; git will not get into that either.
    let output = git::finish(&mut command, &[], git::AGENT_LIMIT).await?;
    Ok(output.ok_or_else(|| git::Error::TimedOut("find".to_owned()))?.stdout)
}

fn as_agent(scope: &Scope<'_>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", &scope.settings.path).env("LC_ALL", "C").kill_on_drop(true);
    git::drop_to(&mut command, &scope.settings.runs_as);
    command
}
