//! Takes the agent's work over as data and pushes it. Nothing here reads the agent's folder.
//!
//! The repository it is pushed from is made after the agent is dead, so not even an agent that ran as the
//! worker's own user could have prepared it; it borrows the base's objects and gets the rest as a pack,
//! which git checks object by object.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::checkout::{self, Checkout};
use super::export::{self, Work};
use super::git::{self, Git};
use super::settings::Settings;

/// A pack above this is no change to a repository. Bytes.
const LARGEST_PACK: &str = "2147483648";

/// How long the push rests before each further try.
const RESTS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// Why the work is not on the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent's objects are broken or missing: its history cannot be taken over.
    #[error("the agent's commits could not be taken over: {0}")]
    Objects(String),
    /// The server did not take the branch.
    #[error("the branch could not be pushed: {0}")]
    Push(String),
    /// Something in this machine went wrong.
    #[error("the branch could not be prepared")]
    Machine(#[from] std::io::Error),
    /// Git could not do what it was asked.
    #[error("the branch could not be prepared: {0}")]
    Git(#[from] git::Error),
}

/// Brings `work` into a new repository of the worker's.
///
/// # Errors
/// [`Error::Objects`] when the agent's own history is at fault, so that a flat commit may still do.
pub async fn take_over(work: &Work, checkout: &Checkout, settings: &Settings) -> Result<Git, Error> {
    let folder = tempfile::Builder::new().prefix("publish-").tempdir_in(&checkout.root)?.keep();
    let git = Git::of_worker(settings, &folder);
    git.run(&["init", "--quiet", "--bare", "--template="]).await?;
    checkout::borrow_objects(&folder, &checkout.base_git, &checkout.base)?;

    let mut packing = export::pack_command(work).stdin(Stdio::piped()).spawn()?;
    let (Some(mut input), Some(pack)) = (packing.stdin.take(), packing.stdout.take()) else {
        return Err(Error::Objects("no pack came".to_owned()));
    };
    let pack: Stdio = pack.try_into()?;
    let limit = format!("--max-input-size={LARGEST_PACK}");
    let indexing = git.command(&["index-pack", "--stdin", "--strict", &limit]).stdin(pack).spawn()?;
    let both = async {
        input.write_all(export::pack_input(work, &checkout.base).as_bytes()).await.ok();
        drop(input);
        tokio::join!(packing.wait_with_output(), indexing.wait_with_output())
    };
    let (packed, indexed) = tokio::time::timeout(git::AGENT_LIMIT, both)
        .await
        .map_err(|_| Error::Objects("this took too long".to_owned()))?;
    for output in [packed?, indexed?] {
        if !output.status.success() {
            return Err(Error::Objects(git::tail(&output.stderr)));
        }
    }
    // What the agent's side said about the commit is believed only now that its objects are here.
    let tip = format!("{}^{{commit}}", work.tip);
    let check = git.run(&["merge-base", "--is-ancestor", &checkout.base, &tip]).await;
    check.map_err(|_| Error::Objects("the commit does not build on the base branch".to_owned()))?;
    Ok(git)
}

/// Pushes `tip` from the repository `git` as `branch`, and nothing else: in the place of exactly what an
/// earlier attempt left there.
///
/// # Errors
/// [`Error::Push`] with the server's words.
pub async fn push(git: &Git, checkout: &Checkout, token: &str, branch: &str, tip: &str) -> Result<(), Error> {
    let remote = git.clone().with_token(&checkout.url, token);
    let before = checkout.branch_before.as_deref().unwrap_or_default();
    let lease = format!("--force-with-lease=refs/heads/{branch}:{before}");
    let refspec = format!("{tip}:refs/heads/{branch}");
    let arguments =
        ["push", "--quiet", "--no-verify", "--no-follow-tags", &lease, "--", checkout.url.as_str(), &refspec];
    let mut rests = RESTS.into_iter();
    loop {
        let message = match remote.run(&arguments).await {
            Ok(_) => return Ok(()),
            Err(git::Error::Failed { message, .. }) => message,
            Err(other) => other.to_string(),
        };
        // The line may have been lost after the server had taken it.
        if let Ok(Some(there)) = checkout::remote_branch(&remote, &checkout.url, branch).await
            && there == tip
        {
            return Ok(());
        }
        match rests.next().filter(|_| checkout::may_pass(&message)) {
            Some(rest) => tokio::time::sleep(rest).await,
            None if message.contains("stale info") => {
                let message = format!("somebody else changed {branch} while the agent worked");
                return Err(Error::Push(message));
            }
            None => return Err(Error::Push(message)),
        }
    }
}
