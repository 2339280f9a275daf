//! Brings the agent's work to the server, within one deadline: with the agent's history first, for a share of
//! the time, then as one commit; what the server refuses is left out and named. What cannot be pushed at all
//! goes to Porter as a git bundle.
//!
//! Called by `attempt`, once the agent and all its processes are dead.

use std::time::Duration;

use tokio::time::Instant;

use domain::assignment::Assignment;
use domain::errors::error_chain;
use domain::prompt;
use domain::report::Remark;

use super::checkout::Checkout;
use super::cleanup;
use super::export::remarks::{left_out, remark};
use super::export::{self, Collected, Description, Sources, Work};
use super::git::Git;
use super::identity::Identity;
use super::publish::{self, bundle, reduced, refusal};
use super::reporter::{Reporter, Stop};
use super::settings::Settings;
use super::text::one_line;

/// The share of the time that the agent's history may take before only its files count.
const HISTORY_SHARE: f64 = 0.4;

/// How long the rest may take once a stop was heard.
const STOPPED_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a push is made smaller because the server refuses some files.
const MAX_REDUCTIONS: usize = 8;

/// The most bytes of a refused change that are shown as text.
const MAX_SHOWN_CHANGE_BYTES: usize = 8 * 1024;

/// Workflows are shown as text when they are refused: whoever may change them can apply that by hand.
const WORKFLOWS: &[u8] = b".github/workflows/";

/// What the publication needs to know.
pub struct Publication<'a> {
    /// The attempt.
    pub assignment: &'a Assignment,
    /// Where the agent worked.
    pub checkout: &'a Checkout,
    /// The worker's settings.
    pub settings: &'a Settings,
    /// Hears what happens.
    pub reporter: &'a Reporter,
    /// Whose commits they are.
    pub identity: &'a Identity,
    /// The agent's name for people.
    pub agent_name: &'a str,
    /// Its id.
    pub agent_id: &'a str,
    /// Why the agent failed, when it did.
    pub failure: Option<&'a str>,
    /// The attempt was stopped before: then no further stop is waited for.
    pub stopped_before: bool,
}

/// How it went.
#[derive(Default)]
pub struct Published {
    /// The pushed commit; none when nothing was changed.
    pub commit: Option<String>,
    /// What the agent left half done.
    pub unfinished: Option<String>,
    /// What a person should know.
    pub remarks: Vec<Remark>,
    /// Why nothing was pushed although there is something: a word for programs, and a sentence.
    pub failure: Option<(&'static str, String)>,
    /// A stop that was heard meanwhile.
    pub stopped: Option<Stop>,
}

/// The work in a repository of the worker's.
struct Prepared {
    git: Git,
    tip: String,
}

impl Publication<'_> {
    /// Does all of it.
    pub async fn publish(&self) -> Published {
        let mut published = Published::default();
        let limit = self.settings.publish_limit;
        let deadline = Instant::now() + limit;
        match self.prepare(limit, deadline, &mut published).await {
            Ok(Some(prepared)) => self.push(&prepared, deadline, &mut published).await,
            Ok(None) => {}
            Err(message) => published.failure = Some(("not_collected", message)),
        }
        published
    }

    /// Collects the work and takes it over; gives none when there is none.
    async fn prepare(
        &self,
        limit: Duration,
        deadline: Instant,
        published: &mut Published,
    ) -> Result<Option<Prepared>, String> {
        let history = async {
            let until = Instant::now() + limit.mul_f64(HISTORY_SHARE);
            match tokio::time::timeout_at(until, self.collect(Sources::Repository)).await {
                Ok(collected) => collected,
                Err(_) => Err("the agent's repository took too long to answer".to_owned()),
            }
        };
        let mut deadline = deadline;
        let mut result = tokio::select! {
            result = history => result,
            reason = self.stop() => {
                published.stopped = Some(reason);
                deadline = deadline.min(Instant::now() + STOPPED_TIMEOUT);
                Err("the attempt was stopped".to_owned())
            }
        };
        if let Err(reason) = &result {
            self.reporter.line(&format!("{reason}; trying with one commit of all changes"));
            // They may have taken the last room on the disk.
            cleanup::remove_scratch(&self.checkout.root, self.settings).await;
            result = match tokio::time::timeout_at(deadline, self.collect(Sources::Files)).await {
                Ok(collected) => collected,
                Err(_) => Err("collecting the changes took too long".to_owned()),
            };
        }
        let (collected, prepared) = result?;
        published.unfinished = collected.unfinished;
        published.remarks = collected.remarks;
        Ok(prepared)
    }

    async fn collect(&self, sources: Sources) -> Result<(Collected, Option<Prepared>), String> {
        let message = |unfinished: Option<&str>| self.message(unfinished);
        let description =
            Description { identity: self.identity, message: &message, always: self.failure.is_some() };
        let collected = export::collect(self.checkout, self.settings, &description, sources).await;
        let mut collected = collected.map_err(|error| error_chain(&error))?;
        let prepared = match collected.work.take() {
            Some(work) => Some(self.take_over(&work).await?),
            None => None,
        };
        Ok((collected, prepared))
    }

    async fn take_over(&self, work: &Work) -> Result<Prepared, String> {
        let git = publish::take_over(work, self.checkout, self.settings).await;
        Ok(Prepared { git: git.map_err(|error| error_chain(&error))?, tip: work.tip.clone() })
    }

    async fn stop(&self) -> Stop {
        if self.stopped_before {
            return std::future::pending().await;
        }
        self.reporter.stopped().await
    }

    /// Pushes it, smaller each time that the server refuses it.
    async fn push(&self, prepared: &Prepared, deadline: Instant, published: &mut Published) {
        self.reporter.step(&format!("Pushing {}", self.assignment.branch), 95);
        let pushed =
            tokio::time::timeout_at(deadline, self.push_reduced(prepared, &mut published.remarks)).await;
        let failure = match pushed {
            Ok(Ok(commit)) => {
                published.commit = Some(commit);
                return;
            }
            Ok(Err(failure)) => failure,
            Err(_) => ("push_failed", "the branch could not be pushed: this took too long".to_owned()),
        };
        published.failure = Some(failure);
        published.remarks.extend(self.save_bundle(prepared).await);
    }

    async fn push_reduced(
        &self,
        prepared: &Prepared,
        remarks: &mut Vec<Remark>,
    ) -> Result<String, (&'static str, String)> {
        let Prepared { git, tip } = prepared;
        let base = self.checkout.base.as_str();
        let message = self.message(None);
        let mut commit = tip.clone();
        let mut is_flat = false;
        let mut refused: Vec<Vec<u8>> = Vec::new();
        for _ in 0..MAX_REDUCTIONS {
            let Assignment { github_token, branch, .. } = self.assignment;
            let log = |line: &str| self.reporter.line(line);
            let error = match publish::push(git, self.checkout, github_token, branch, &commit, log).await {
                Ok(()) => return Ok(commit),
                Err(error) => error,
            };
            let publish::Error::Refused(text) = &error else {
                let reason =
                    if matches!(error, publish::Error::Moved(_)) { "branch_moved" } else { "push_failed" };
                return Err((reason, error_chain(&error)));
            };
            let failed = |_| ("push_refused", error_chain(&error));
            let reason = refusal::reason(text);
            if !is_flat {
                is_flat = true;
                let flat = reduced::flat(git, base, &commit, self.identity, &message).await;
                if let Some(flat) = flat.map_err(failed)? {
                    let text =
                        format!("The agent's commits became one, because the server refused them: {reason}.");
                    remarks.push(remark("history_refused", text));
                    commit = flat;
                    continue;
                }
            }
            let changed = reduced::changed(git, base, &commit).await.map_err(failed)?;
            let paths = refusal::named_paths(text, &changed);
            if paths.is_empty() {
                return Err(("push_refused", error_chain(&error)));
            }
            remarks.push(self.refused(git, &commit, &paths, &reason).await);
            refused.extend(paths);
            let rest = reduced::without(git, base, &commit, &refused, self.identity, &message).await;
            match rest.map_err(failed)? {
                Some(rest) => commit = rest,
                None => return Err(("push_refused", error_chain(&error))),
            }
        }
        Err((
            "push_refused",
            "the branch could not be pushed: the server refused it again and again".to_owned(),
        ))
    }

    /// Names refused files; a workflow's change is shown, too.
    async fn refused(&self, git: &Git, commit: &str, paths: &[Vec<u8>], reason: &str) -> Remark {
        let mut remark = left_out("refused", paths, &format!("the server refused this: {reason}"));
        for path in paths.iter().filter(|path| path.starts_with(WORKFLOWS)) {
            let change = reduced::difference(git, &self.checkout.base, commit, path).await;
            let room = MAX_SHOWN_CHANGE_BYTES.saturating_sub(remark.text.len());
            let end = change.floor_char_boundary(room);
            remark.text = format!("{}\n\n{}", remark.text, &change[..end]);
        }
        remark
    }

    /// Hands Porter what could not be pushed. Gives a remark when that did not work.
    async fn save_bundle(&self, prepared: &Prepared) -> Option<Remark> {
        let url = self.assignment.bundle_url.as_deref()?;
        let not_saved = |reason: String| {
            Some(remark("bundle_not_saved", format!("The work could not be kept as a bundle: {reason}.")))
        };
        let Prepared { git, tip } = prepared;
        let bytes = match bundle::of(git, &self.checkout.base, tip, &self.assignment.branch).await {
            Ok(bytes) if bytes.len() > bundle::MAX_BUNDLE_BYTES => {
                return not_saved(format!("it has {} MiB, and 20 are kept", bytes.len().div_ceil(1 << 20)));
            }
            Ok(bytes) => bytes,
            Err(error) => return not_saved(error_chain(&error)),
        };
        match self.reporter.put_bundle(url, bytes).await {
            Ok(()) => Some(remark("bundle_saved", "The work is kept as a git bundle.")),
            Err(reason) => not_saved(reason),
        }
    }

    /// The message of the commit for what the agent left uncommitted.
    fn message(&self, unfinished: Option<&str>) -> String {
        let Assignment { task_id, issue_number, requester, .. } = self.assignment;
        let title = prompt::title(&self.assignment.prompt)
            .map_or_else(|| format!("Work on issue {issue_number}"), |title| one_line(title, 100));
        let by = format!(
            "By {} for issue {issue_number}, at the request of a person, through Porter.",
            self.agent_name
        );
        let failure = self.failure.or(unfinished);
        let (subject, body) = match failure {
            None => (title, by),
            Some(failure) => (
                format!("Unfinished: {title}"),
                format!("{by}\n\nUnfinished: {}", one_line(&self.reporter.clean(failure), 500)),
            ),
        };
        let mut trailers = vec![
            format!("Porter-Task: {}", one_line(task_id, 100)),
            format!("Porter-Agent: {}", self.agent_id),
        ];
        if failure.is_some() {
            trailers.push("Porter-Result: unfinished".to_owned());
        }
        trailers
            .extend(requester.as_deref().map(|person| format!("Co-authored-by: {}", one_line(person, 300))));
        format!("{}\n\n{body}\n\n{}\n", one_line(&subject, 100), trailers.join("\n"))
    }
}
