//! Takes the agent's work over as data and pushes it. Nothing here reads the agent's folder.
//!
//! The repository it is pushed from is made after the agent is dead, so not even an agent that ran as the
//! worker's own user could have prepared it; it borrows the base's objects and gets the rest as a pack,
//! which git checks object by object. `refusal` reads the server's answer, `reduced` makes what it may accept.

pub mod bundle;
pub mod reduced;
pub mod refusal;

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::checkout::{self, Checkout};
use super::export::{self, Work};
use super::git::{self, Git};
use super::settings::Settings;
use refusal::Verdict;

/// A pack above this is no change to a repository. Bytes.
const MAX_PACK_BYTES: &str = "2147483648";

/// What git checks in every object of the pack. A `.gitmodules` that the base has, or the server accepts, is
/// not refused here: the worker never reads one.
const CHECKS: &str = "--strict=gitmodulesUrl=warn,gitmodulesPath=warn,gitmodulesName=warn,gitmodulesUpdate=warn,\
    gitmodulesParse=warn,gitmodulesMissing=warn,gitmodulesBlob=warn,gitmodulesLarge=warn,gitmodulesSymlink=warn";

/// Pauses before the further tries of a push when the server or the connection failed.
const RETRY_DELAYS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// Pauses before the further tries when the server did not accept the token: it may not know it yet.
const TOKEN_RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// Why the work is not on the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent's objects are broken or missing: its history cannot be taken over.
    #[error("the agent's commits could not be taken over: {0}")]
    Objects(String),
    /// Somebody else pushed to the branch.
    #[error("the branch could not be pushed: somebody else changed {0} while the agent worked")]
    Moved(String),
    /// The server refuses the branch as it is.
    #[error("the branch could not be pushed: {}", git::tail(.0.as_bytes()))]
    Refused(String),
    /// The server could not be reached, failed, or did not accept the token.
    #[error("the branch could not be pushed: {}", git::tail(.0.as_bytes()))]
    Failed(String),
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
    let limit = format!("--max-input-size={MAX_PACK_BYTES}");
    let indexing = git.command(&["index-pack", "--stdin", CHECKS, &limit]).stdin(pack).spawn()?;
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
/// earlier attempt left there. Tries again while the server fails; `log` gets everything it writes.
///
/// # Errors
/// [`Error::Moved`], [`Error::Refused`] or [`Error::Failed`], with git's and the server's text.
pub async fn push(
    git: &Git,
    checkout: &Checkout,
    token: &str,
    branch: &str,
    tip: &str,
    log: impl Fn(&str),
) -> Result<(), Error> {
    let remote = git.clone().with_token(&checkout.url, token);
    let before = checkout.branch_before.as_deref().unwrap_or_default();
    let lease = format!("--force-with-lease=refs/heads/{branch}:{before}");
    let refspec = format!("{tip}:refs/heads/{branch}");
    let arguments =
        ["push", "--quiet", "--no-verify", "--no-follow-tags", &lease, "--", checkout.url.as_str(), &refspec];
    let (mut delays, mut token_delays) = (RETRY_DELAYS.into_iter(), TOKEN_RETRY_DELAYS.into_iter());
    loop {
        let text = match remote.output(&arguments, &[]).await {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        for line in refusal::remote_lines(&text) {
            log(&format!("remote: {line}"));
        }
        // The connection may have broken after the server had taken it.
        if let Ok(Some(there)) = checkout::remote_branch(&remote, &checkout.url, branch).await
            && there == tip
        {
            return Ok(());
        }
        let delay = match refusal::verdict(&text) {
            Verdict::Moved => return Err(Error::Moved(branch.to_owned())),
            Verdict::Refused => return Err(Error::Refused(text)),
            Verdict::NotAccepted => token_delays.next(),
            Verdict::Failed => delays.next(),
        };
        let Some(delay) = delay else { return Err(Error::Failed(text)) };
        log("The push failed; it is tried again.");
        tokio::time::sleep(delay).await;
    }
}
