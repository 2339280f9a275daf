//! What a person, or a test, sees: comments, labels, reactions, pull requests, and the log of what was asked.
//!
//! The reads of [`GithubState`] serve predicates of [`StandIn::wait_until`]; those of [`StandIn`] are the same, from outside.
//! Repositories are named `owner/name`; a thing that does not exist reads as nothing.

use std::time::Duration;

use super::actions::find;
use super::auth::IssuedToken;
use super::git::Git;
use super::middleware::Request;
use super::state::{Comment, GithubState, Issue, Reaction};
use super::webhook::Delivery;
use super::{Error, StandIn};

/// A pull request as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number, shared with issues.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text; empty when it has none.
    pub body: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// The branch to be merged.
    pub head: String,
    /// The branch to be merged into.
    pub base: String,
    /// Whether it is still open.
    pub open: bool,
    /// Login of who opened it.
    pub author: String,
    /// Who was asked for a review.
    pub reviewers: Vec<String>,
    /// Who it is assigned to.
    pub assignees: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
}

impl GithubState {
    fn issue(&self, repository: &str, number: u64) -> Option<&Issue> {
        find(self, repository).ok()?.issues.get(&number)
    }

    /// The comments of an issue or pull request, oldest first.
    pub fn comments(&self, repository: &str, number: u64) -> Vec<Comment> {
        self.issue(repository, number).map(|issue| issue.comments.clone()).unwrap_or_default()
    }

    /// The labels of an issue or pull request, in the order they were put on.
    pub fn labels(&self, repository: &str, number: u64) -> Vec<String> {
        self.issue(repository, number).map(|issue| issue.labels.clone()).unwrap_or_default()
    }

    /// Whether an issue or pull request is open; false when there is none.
    pub fn is_open(&self, repository: &str, number: u64) -> bool {
        self.issue(repository, number).is_some_and(|issue| issue.open)
    }

    /// The reactions under a comment.
    pub fn reactions(&self, repository: &str, comment: u64) -> Vec<Reaction> {
        let found = find(self, repository).ok().and_then(|repository| repository.find_comment(comment));
        found.map(|(_, comment)| comment.reactions.clone()).unwrap_or_default()
    }

    /// The number of issues that were ever opened; pull requests do not count.
    pub fn issue_count(&self, repository: &str) -> usize {
        let issues = find(self, repository).map(|r| r.issues.values().filter(|i| i.pull.is_none()).count());
        issues.unwrap_or_default()
    }

    /// The pull requests, open and closed, oldest first.
    pub fn pull_requests(&self, repository: &str) -> Vec<Pull> {
        let Ok(repository) = find(self, repository) else { return Vec::new() };
        let pulls = repository.issues.values().filter_map(|issue| {
            let part = issue.pull.clone()?;
            Some(Pull {
                number: issue.number,
                title: issue.title.clone(),
                body: issue.body.clone().unwrap_or_default(),
                draft: part.draft,
                head: part.head,
                base: part.base,
                open: issue.open,
                author: issue.author.clone(),
                reviewers: part.reviewers,
                assignees: issue.assignees.clone(),
                labels: issue.labels.clone(),
            })
        });
        pulls.collect()
    }

    /// Every request that came in over the wire, oldest first.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Every attempt to deliver a webhook, oldest first.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Calls that no client of GitHub should make: unknown paths, fields, parameters, types.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl StandIn {
    /// What `read` finds in the state now.
    pub fn read<T>(&self, read: impl FnOnce(&GithubState) -> T) -> T {
        read(&self.shared.state())
    }

    /// [`GithubState::comments`] now.
    pub fn comments(&self, repository: &str, number: u64) -> Vec<Comment> {
        self.read(|state| state.comments(repository, number))
    }

    /// [`GithubState::labels`] now.
    pub fn labels(&self, repository: &str, number: u64) -> Vec<String> {
        self.read(|state| state.labels(repository, number))
    }

    /// [`GithubState::reactions`] now.
    pub fn reactions(&self, repository: &str, comment: u64) -> Vec<Reaction> {
        self.read(|state| state.reactions(repository, comment))
    }

    /// [`GithubState::pull_requests`] now.
    pub fn pull_requests(&self, repository: &str) -> Vec<Pull> {
        self.read(|state| state.pull_requests(repository))
    }

    /// [`GithubState::requests`] until now.
    pub fn requests(&self) -> Vec<Request> {
        self.read(|state| state.requests.clone())
    }

    /// [`GithubState::deliveries`] until now.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.read(|state| state.deliveries.clone())
    }

    /// [`GithubState::violations`] until now.
    pub fn violations(&self) -> Vec<String> {
        self.read(|state| state.violations.clone())
    }

    /// Every installation token that was ever issued, oldest first.
    pub fn issued_tokens(&self) -> Vec<IssuedToken> {
        let now = self.shared.clock.now();
        self.read(|state| state.tokens.issued(now))
    }

    /// The body of the latest delivery of this GUID.
    pub fn payload(&self, guid: &str) -> Option<Vec<u8>> {
        let find = |state: &GithubState| {
            state.deliveries.iter().rev().find(|d| d.guid == guid).map(|d| d.body.clone())
        };
        self.read(find)
    }

    /// The shortest real time between the starts of two writing calls under this path prefix; nothing while
    /// there were fewer than two.
    pub fn shortest_mutation_interval(&self, path_prefix: &str) -> Option<Duration> {
        self.read(|state| {
            let times: Vec<_> = state
                .requests
                .iter()
                .filter(|request| request.is_mutation() && request.path.starts_with(path_prefix))
                .map(|request| request.elapsed)
                .collect();
            times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min()
        })
    }

    /// Where a pull request leads: the patch from its merge base to its head.
    ///
    /// # Errors
    /// [`Error::Unknown`] without such a pull request or its branches, [`Error::Git`].
    pub async fn diff(&self, repository: &str, number: u64) -> Result<String, Error> {
        let unknown = || Error::Unknown(format!("pull request {repository}#{number}"));
        let (git, issue) = self.read(|state| {
            let found = find(state, repository)?;
            let issue = found.issues.get(&number).filter(|issue| issue.pull.is_some()).ok_or_else(unknown)?;
            Ok::<_, Error>((found.git.clone(), issue.clone()))
        })?;
        Self::diff_of(&git, &issue).await
    }

    /// The patch of a pull request.
    pub(super) async fn diff_of(git: &Git, issue: &Issue) -> Result<String, Error> {
        let part = issue.pull.as_ref().ok_or_else(|| Error::Unknown("pull request".to_owned()))?;
        let unknown = |branch: &str| Error::Unknown(format!("branch {branch}"));
        let base = git.find_branch(&part.base).await?.ok_or_else(|| unknown(&part.base))?;
        let head = git.find_branch(&part.head).await?.ok_or_else(|| unknown(&part.head))?;
        let fork = git.find_merge_base(&base, &head).await?.unwrap_or(base);
        Ok(git.diff(&fork, &head).await?)
    }

    /// The commit that a branch stands at; nothing when there is no such branch.
    ///
    /// # Errors
    /// [`Error::Unknown`] without the repository, [`Error::Git`].
    pub async fn find_branch(&self, repository: &str, branch: &str) -> Result<Option<String>, Error> {
        let git = self.read(|state| find(state, repository).map(|found| found.git.clone()))?;
        Ok(git.find_branch(branch).await?)
    }

    /// The messages of the commits that a branch has and `base` has not, oldest first.
    ///
    /// # Errors
    /// [`Error::Unknown`] without the repository, [`Error::Git`] without the branches.
    pub async fn commit_messages(
        &self,
        repository: &str,
        base: &str,
        branch: &str,
    ) -> Result<Vec<String>, Error> {
        let git = self.read(|state| find(state, repository).map(|found| found.git.clone()))?;
        let commits = git.commits(&format!("refs/heads/{base}..refs/heads/{branch}"), None).await?;
        Ok(commits.into_iter().map(|commit| commit.message).collect())
    }

    /// Waits until `holds` is true of the state; asked again after every change, never in between.
    ///
    /// # Errors
    /// [`Error::Timeout`] when that did not happen within `limit` of real time.
    pub async fn wait_until(
        &self,
        holds: impl Fn(&GithubState) -> bool,
        limit: Duration,
    ) -> Result<(), Error> {
        let mut changes = self.shared.changes.subscribe();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if holds(&self.shared.state()) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.map_err(|_| Error::Timeout(limit))
    }
}
