//! What the agent left behind, as one pack of objects: its own commits as they are, and one more for what
//! it did not commit.
//!
//! Everything here that reads the agent's files runs as the agent's user, without any secret, so whatever
//! the agent prepared (links, filters, odd files, a replaced `.git`) meets nobody it could betray. The
//! worker's side takes the result as data; see `publish`.

use std::process::Output;
use std::time::Duration;

use tokio::process::Command;

use super::checkout::{self, Checkout};
use super::git::{self, Git};
use super::settings::Settings;

/// GitHub refuses a push that contains a larger file (MiB).
const LARGEST_FILE: &str = "+100M";

/// How long the agent's repository may take to say what is checked out.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found.
pub struct Work {
    /// The commit to push.
    pub tip: String,
    /// Reads the objects between the base and `tip`, as the agent's user.
    pub git: Git,
    /// What a person should know about it.
    pub remarks: Vec<String>,
}

/// How to describe the commit for what the agent left uncommitted.
pub struct Description<'a> {
    /// `Name` and address of the author.
    pub author: (&'a str, &'a str),
    /// The whole message.
    pub message: &'a str,
    /// Make a last commit even when the agent committed everything: its message says how it ended.
    pub always: bool,
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
    #[error("git answered nonsense")]
    Nonsense,
}

/// Makes a commit of everything in the agent's folder. Nothing when its files equal the base's.
///
/// With `keep_history` the agent's own commits stay where they descend from the base; without, and where
/// they do not, all of it becomes one commit on top of the base.
///
/// # Errors
/// [`Error`], after which `keep_history: false` may still succeed.
pub async fn collect(
    checkout: &Checkout,
    settings: &Settings,
    description: &Description<'_>,
    keep_history: bool,
) -> Result<Option<Work>, Error> {
    // To open a pipe would be to wait for ever; git cannot record one anyway.
    let special =
        ["!", "(", "-type", "f", "-o", "-type", "d", "-o", "-type", "l", ")", "-exec", "rm", "-f", "{}", "+"];
    find(checkout, settings, &[], &special).await?;
    let mut git = repository(checkout, settings, keep_history).await?;
    let mut remarks = Vec::new();
    let base = checkout.base.as_str();
    let head = if keep_history { agents_head(checkout, settings).await } else { None };
    let head = head.map(|(head, objects)| {
        git = git.clone().with_variable("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        head
    });
    let parent = match head {
        Some(head) if descends(&git, base, &head).await => head,
        Some(_) => {
            remarks.push("The agent's commits do not build on the base branch; they became one.".to_owned());
            base.to_owned()
        }
        None => base.to_owned(),
    };
    git.run(&["read-tree", &parent]).await?;
    remarks.extend(stage(&git, checkout, settings).await?);

    let tree = object(git.line(&["write-tree"]).await?)?;
    if tree == git.line(&["rev-parse", &format!("{base}^{{tree}}")]).await? {
        return Ok(None);
    }
    let unchanged = tree == git.line(&["rev-parse", &format!("{parent}^{{tree}}")]).await?;
    let tip = if unchanged && !description.always && parent != base {
        parent
    } else {
        commit(&git, &tree, &parent, description).await?
    };
    Ok(Some(Work { tip, git, remarks }))
}

/// A repository for the agent's user with a configuration that the agent never saw. It borrows the base's
/// objects.
async fn repository(checkout: &Checkout, settings: &Settings, keep_history: bool) -> Result<Git, Error> {
    let git_dir = checkout.root.join(if keep_history { "export.git" } else { "export-flat.git" });
    Git::of_worker(settings, &git_dir).run(&["init", "--quiet", "--bare", "--template="]).await?;
    checkout::borrow_objects(&git_dir, &checkout.base_git, &checkout.base)?;
    checkout::hand_over(&git_dir, &settings.runs_as)?;
    Ok(Git::of_agent(settings, &git_dir, &checkout.tree))
}

/// What the agent has checked out, and where its objects lie. The one question that is asked under the
/// agent's own configuration; what it answers is data, and when it does not answer, its history is lost.
async fn agents_head(checkout: &Checkout, settings: &Settings) -> Option<(String, String)> {
    let git = Git::of_agent(settings, &checkout.tree.join(".git"), &checkout.tree).with_limit(PATIENCE);
    let question = ["rev-parse", "--path-format=absolute", "--git-path", "objects", "HEAD^{commit}"];
    let answer = git.line(&question).await.ok()?;
    let (objects, head) = answer.rsplit_once('\n')?;
    git::is_object_id(head).then(|| (head.to_owned(), objects.to_owned()))
}

async fn descends(git: &Git, base: &str, head: &str) -> bool {
    git.run(&["merge-base", "--is-ancestor", base, head]).await.is_ok()
}

/// Puts the folder's files into the index: deletions too, ignored files not. Links stay links.
async fn stage(git: &Git, checkout: &Checkout, settings: &Settings) -> Result<Vec<String>, Error> {
    let mut remarks = Vec::new();
    let mut skipped = submodules(git).await?;
    let submodules = skipped.clone();
    skipped.push(b".git".to_vec());
    // A repository within the repository would be recorded as a submodule that nobody can fetch: its files
    // are what counts. True submodules stay at the commit they were at.
    let nested = ["-iname", ".git", "-prune", "-exec", "rm", "-rf", "{}", "+"];
    find(checkout, settings, &skipped, &nested).await?;
    let large = ["-type", "f", "-size", LARGEST_FILE, "-print0"];
    let large = find(checkout, settings, &skipped, &large).await?.stdout;
    let large: Vec<&[u8]> = large.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    for path in &large {
        let name = String::from_utf8_lossy(path);
        remarks.push(format!("{name} was left out: GitHub takes no file over 100 MiB."));
    }
    let mut paths = b":/\0".to_vec();
    let left_out = submodules.iter().map(Vec::as_slice).chain(large.iter().map(|path| &path[2..]));
    for path in left_out {
        paths.extend([b":(top,exclude,literal)", path, b"\0"].concat());
    }
    let arguments = ["add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul"];
    let added = git.output(&arguments, &paths).await?;
    match added.status.code() {
        Some(0) => {}
        // Some files could not be read; the others are in.
        Some(1) => remarks.push(format!("Some files were left out:\n{}", git::tail(&added.stderr))),
        _ => drop(git::succeeded(&arguments, added)?),
    }
    Ok(remarks)
}

async fn submodules(git: &Git) -> Result<Vec<Vec<u8>>, Error> {
    let listing = git.run(&["ls-files", "--stage", "-z"]).await?;
    let links = listing.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"160000 "));
    Ok(links.filter_map(|entry| entry.splitn(2, |byte| *byte == b'\t').nth(1).map(<[u8]>::to_vec)).collect())
}

/// Runs `find` in the agent's folder as the agent's user, passing over `skipped`.
async fn find(
    checkout: &Checkout,
    settings: &Settings,
    skipped: &[Vec<u8>],
    expression: &[&str],
) -> Result<Output, Error> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut command = Command::new(&settings.find);
    command
        .env_clear()
        .env("PATH", &settings.path)
        .env("LC_ALL", "C")
        .current_dir(&checkout.tree)
        .kill_on_drop(true);
    command.arg(".");
    for path in skipped {
        let pattern = [b"./".to_vec(), path.iter().flat_map(|byte| escaped(*byte)).collect()].concat();
        command.arg("-path").arg(std::ffi::OsString::from_vec(pattern)).args(["-prune", "-o"]);
    }
    command.args(expression);
    git::drop_to(&mut command, &settings.runs_as);
    // Its exit code only says that some folder could not be entered; git will not get into that either.
    let output = git::finish(&mut command, &[], git::AGENT_LIMIT).await?;
    output.ok_or_else(|| git::Error::TimedOut("find".to_owned()).into())
}

fn escaped(byte: u8) -> Vec<u8> {
    if b"*?[\\".contains(&byte) { vec![b'\\', byte] } else { vec![byte] }
}

async fn commit(git: &Git, tree: &str, parent: &str, description: &Description<'_>) -> Result<String, Error> {
    let (name, email) = description.author;
    let git = git
        .clone()
        .with_variable("GIT_AUTHOR_NAME", name)
        .with_variable("GIT_AUTHOR_EMAIL", email)
        .with_variable("GIT_COMMITTER_NAME", "Porter")
        .with_variable("GIT_COMMITTER_EMAIL", "porter@porter.invalid");
    let arguments = ["commit-tree", tree, "-p", parent, "-F", "-"];
    let output = git.output(&arguments, description.message.as_bytes()).await?;
    let written = git::succeeded(&arguments, output)?;
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
