//! Reads for people and tests: comments, labels, reactions, pull requests, and the log of requests.
//!
//! The methods of [`GithubState`] are for predicates of [`StandIn::wait_until`]; those of [`StandIn`] read
//! the current state. Repositories are named `owner/name`; for an unknown one the result is empty.

use std::time::Duration;

use super::actions::find;
use super::auth::IssuedToken;
use super::git::Git;
use super::middleware::Request;
use super::state::{Comment, GithubState, Issue, Reaction};
use super::webhook::Delivery;
use super::{Error, StandIn};

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number, shared with issues.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text; empty if it has none.
    pub body: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// The branch with the changes.
    pub head: String,
    /// The target branch.
    pub base: String,
    /// Whether it is still open.
    pub open: bool,
    /// Login of the author.
    pub author: String,
    /// Logins of the requested reviewers.
    pub reviewers: Vec<String>,
    /// Logins of the assignees.
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

    /// The labels of an issue or pull request, in the order in which they were added.
    pub fn labels(&self, repository: &str, number: u64) -> Vec<String> {
        self.issue(repository, number).map(|issue| issue.labels.clone()).unwrap_or_default()
    }

    /// Whether an issue or pull request exists and is open.
    pub fn is_open(&self, repository: &str, number: u64) -> bool {
        self.issue(repository, number).is_some_and(|issue| issue.open)
    }

    /// The reactions to a comment.
    pub fn reactions(&self, repository: &str, comment: u64) -> Vec<Reaction> {
        let found = find(self, repository).ok().and_then(|repository| repository.find_comment(comment));
        found.map(|(_, comment)| comment.reactions.clone()).unwrap_or_default()
    }

    /// The number of issues, open and closed, without pull requests.
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

    /// Every received request, oldest first.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Every attempt to deliver a webhook, oldest first.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Requests with unknown paths, fields, parameters or types.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

impl StandIn {
    /// The result of `read` on the current state.
    pub fn read<T>(&self, read: impl FnOnce(&GithubState) -> T) -> T {
        read(&self.shared.state())
    }

    /// [`GithubState::comments`] of the current state.
    pub fn comments(&self, repository: &str, number: u64) -> Vec<Comment> {
        self.read(|state| state.comments(repository, number))
    }

    /// [`GithubState::labels`] of the current state.
    pub fn labels(&self, repository: &str, number: u64) -> Vec<String> {
        self.read(|state| state.labels(repository, number))
    }

    /// [`GithubState::reactions`] of the current state.
    pub fn reactions(&self, repository: &str, comment: u64) -> Vec<Reaction> {
        self.read(|state| state.reactions(repository, comment))
    }

    /// [`GithubState::pull_requests`] of the current state.
    pub fn pull_requests(&self, repository: &str) -> Vec<Pull> {
        self.read(|state| state.pull_requests(repository))
    }

    /// [`GithubState::requests`] of the current state.
    pub fn requests(&self) -> Vec<Request> {
        self.read(|state| state.requests.clone())
    }

    /// [`GithubState::deliveries`] of the current state.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.read(|state| state.deliveries.clone())
    }

    /// [`GithubState::violations`] of the current state.
    pub fn violations(&self) -> Vec<String> {
        self.read(|state| state.violations.clone())
    }

    /// Every installation token that was issued, oldest first.
    pub fn issued_tokens(&self) -> Vec<IssuedToken> {
        let now = self.shared.clock.now();
        self.read(|state| state.tokens.issued(now))
    }

    /// The body of the latest delivery with this GUID.
    pub fn payload(&self, guid: &str) -> Option<Vec<u8>> {
        let find = |state: &GithubState| {
            state.deliveries.iter().rev().find(|d| d.guid == guid).map(|d| d.body.clone())
        };
        self.read(find)
    }

    /// The shortest real time between the starts of two mutations under this path prefix; `None` if there
    /// were fewer than two.
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

    /// The diff of a pull request, as a patch from its merge base to its head.
    pub async fn diff(&self, repository: &str, number: u64) -> Result<String, Error> {
        let unknown = || Error::Unknown(format!("pull request {repository}#{number}"));
        let (git, issue) = self.read(|state| {
            let found = find(state, repository)?;
            let issue = found.issues.get(&number).filter(|issue| issue.pull.is_some()).ok_or_else(unknown)?;
            Ok::<_, Error>((found.git.clone(), issue.clone()))
        })?;
        Self::diff_of(&git, &issue).await
    }

    /// The diff of a pull request.
    pub(super) async fn diff_of(git: &Git, issue: &Issue) -> Result<String, Error> {
        let part = issue.pull.as_ref().ok_or_else(|| Error::Unknown("pull request".to_owned()))?;
        let unknown = |branch: &str| Error::Unknown(format!("branch {branch}"));
        let base = git.find_branch(&part.base).await?.ok_or_else(|| unknown(&part.base))?;
        let head = git.find_branch(&part.head).await?.ok_or_else(|| unknown(&part.head))?;
        let fork = git.find_merge_base(&base, &head).await?.unwrap_or(base);
        Ok(git.diff(&fork, &head).await?)
    }

    /// The head commit of a branch; `None` if there is no such branch.
    pub async fn find_branch(&self, repository: &str, branch: &str) -> Result<Option<String>, Error> {
        let git = self.read(|state| find(state, repository).map(|found| found.git.clone()))?;
        Ok(git.find_branch(branch).await?)
    }

    /// The messages of the commits on a branch that `base` does not have, oldest first.
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

    /// Waits until `holds` returns true. It is evaluated once at the start and after every change. Fails with
    /// [`Error::Timeout`] after `limit` of real time.
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
