//! Actions of people: they open issues and write comments, and GitHub sends the App a signed webhook.
//!
//! Repositories are named `owner/name`. An action that sends a webhook waits for the receiver's response.

use serde_json::json;

use super::payloads;
use super::state::{GithubState, Repository, RepositoryId};
use super::webhook::{Delivery, Outgoing, Signature};
use super::{Error, StandIn};

impl StandIn {
    /// Opens an issue, sends `issues.opened` and returns the issue's number.
    pub async fn open_issue(
        &self,
        repository: &str,
        author: &str,
        title: &str,
        body: &str,
    ) -> Result<u64, Error> {
        let now = self.shared.clock.now();
        let number = self.with(repository, |state, found| {
            state
                .add_issue(found.id, author, (title, Some(body.to_owned())), None, now)
                .ok_or_else(|| Error::Unknown(repository.to_owned()))
        })?;
        self.send_event(self.issue_event(repository, number, "opened", author)?).await?;
        Ok(number)
    }

    /// Changes an issue's title and text, and sends `issues.edited`.
    pub async fn edit_issue(
        &self,
        repository: &str,
        number: u64,
        by: &str,
        title: &str,
        body: &str,
    ) -> Result<(), Error> {
        self.change_issue(repository, number, |issue| {
            title.clone_into(&mut issue.title);
            issue.body = Some(body.to_owned());
        })?;
        self.send_event(self.issue_event(repository, number, "edited", by)?).await
    }

    /// Closes an issue and sends `issues.closed`. A pull request is closed without a webhook, because the App
    /// is subscribed to issues only.
    pub async fn close_issue(
        &self,
        repository: &str,
        number: u64,
        by: &str,
    ) -> Result<Option<Delivery>, Error> {
        let now = self.shared.clock.now();
        let is_pull = self.change_issue(repository, number, |issue| {
            issue.open = false;
            issue.closed_at = Some(now);
            issue.pull.is_some()
        })?;
        if is_pull {
            return Ok(None);
        }
        let outgoing = self.issue_event(repository, number, "closed", by)?;
        self.shared.send(outgoing, Signature::Valid).await.map(Some)
    }

    /// Adds a label to an issue, without a webhook.
    pub fn add_label(&self, repository: &str, number: u64, label: &str) -> Result<(), Error> {
        self.with(repository, |state, found| {
            state
                .add_labels(found.id, number, &[label.to_owned()])
                .ok_or_else(|| Error::Unknown(format!("{repository}#{number}")))
        })
    }

    /// Comments on an issue or pull request and sends `issue_comment.created`.
    pub async fn comment(
        &self,
        repository: &str,
        number: u64,
        author: &str,
        body: &str,
    ) -> Result<Delivery, Error> {
        let outgoing = self.write_comment(repository, number, author, body)?;
        self.shared.send(outgoing, Signature::Valid).await
    }

    /// Writes several comments, then sends their webhooks concurrently.
    pub async fn comment_at_once(
        &self,
        repository: &str,
        comments: &[(u64, &str, &str)],
    ) -> Result<Vec<Delivery>, Error> {
        let mut sending = Vec::new();
        for (number, author, body) in comments {
            let outgoing = self.write_comment(repository, *number, author, body)?;
            sending.push(self.shared.send(outgoing, Signature::Valid));
        }
        futures_util::future::try_join_all(sending).await
    }

    /// Changes a comment and sends `issue_comment.edited`.
    pub async fn edit_comment(
        &self,
        repository: &str,
        comment: u64,
        by: &str,
        body: &str,
    ) -> Result<Delivery, Error> {
        let now = self.shared.clock.now();
        let outgoing = self.with(repository, |state, found| {
            let found_comment =
                state.repository_mut(found.id).and_then(|repository| repository.find_comment_mut(comment));
            found_comment.ok_or_else(|| Error::Unknown(format!("comment {comment}")))?.edit(body, now);
            comment_event(state, &found.full_name(), comment, "edited", by)
        })?;
        self.shared.send(outgoing, Signature::Valid).await
    }

    /// Deletes a comment, without a webhook.
    pub fn delete_comment(&self, repository: &str, comment: u64) -> Result<(), Error> {
        self.with(repository, |state, found| {
            for issue in state.repository_mut(found.id).into_iter().flat_map(|r| r.issues.values_mut()) {
                issue.comments.retain(|held| held.id != comment);
            }
            Ok(())
        })
    }

    fn write_comment(
        &self,
        repository: &str,
        number: u64,
        author: &str,
        body: &str,
    ) -> Result<Outgoing, Error> {
        let now = self.shared.clock.now();
        self.with(repository, |state, found| {
            let id = state
                .add_comment((found.id, number), author, body, now)
                .ok_or_else(|| Error::Unknown(format!("{repository}#{number}")))?;
            comment_event(state, &found.full_name(), id, "created", author)
        })
    }

    fn change_issue<T>(
        &self,
        repository: &str,
        number: u64,
        change: impl FnOnce(&mut super::state::Issue) -> T,
    ) -> Result<T, Error> {
        let now = self.shared.clock.now();
        self.with(repository, |state, found| {
            let issue = state.repository_mut(found.id).and_then(|held| held.issues.get_mut(&number));
            let issue = issue.ok_or_else(|| Error::Unknown(format!("{repository}#{number}")))?;
            issue.updated_at = now;
            Ok(change(issue))
        })
    }

    fn issue_event(&self, repository: &str, number: u64, action: &str, by: &str) -> Result<Outgoing, Error> {
        self.with(repository, |state, found| {
            issue_event(state, found.id, number, action, by)
                .ok_or_else(|| Error::Unknown(format!("{repository}#{number}")))
        })
    }

    pub(super) async fn send_event(&self, outgoing: Outgoing) -> Result<(), Error> {
        self.shared.send(outgoing, Signature::Valid).await.map(drop)
    }

    /// Runs `act` on the state and a copy of the repository of this name, then wakes waiting tasks.
    pub(super) fn with<T>(
        &self,
        repository: &str,
        act: impl FnOnce(&mut GithubState, &Repository) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = {
            let mut state = self.shared.state();
            let found = find(&state, repository)?.clone();
            act(&mut state, &found)
        };
        self.shared.changed();
        result
    }
}

/// The repository `owner/name`.
pub(super) fn find<'w>(state: &'w GithubState, full_name: &str) -> Result<&'w Repository, Error> {
    full_name
        .split_once('/')
        .and_then(|(owner, name)| state.find_repository(owner, name))
        .ok_or_else(|| Error::Unknown(full_name.to_owned()))
}

/// The webhook about a comment.
pub(super) fn comment_event(
    state: &GithubState,
    repository: &str,
    comment: u64,
    action: &str,
    sender: &str,
) -> Result<Outgoing, Error> {
    let repository = find(state, repository)?;
    let (issue, comment) =
        repository.find_comment(comment).ok_or_else(|| Error::Unknown(format!("comment {comment}")))?;
    let mut subject = json!({
        "issue": payloads::issue(state, repository, issue),
        "comment": payloads::comment(state, repository, issue, comment),
    });
    if action == "edited" {
        subject["changes"] = json!({ "body": { "from": comment.edits.last() } });
    }
    Ok(Outgoing::about(state, repository, ("issue_comment", action), sender, subject))
}

/// The webhook about an issue.
pub(super) fn issue_event(
    state: &GithubState,
    repository: RepositoryId,
    number: u64,
    action: &str,
    sender: &str,
) -> Option<Outgoing> {
    let repository = state.repository(repository)?;
    let subject = json!({ "issue": payloads::issue(state, repository, repository.issues.get(&number)?) });
    Some(Outgoing::about(state, repository, ("issues", action), sender, subject))
}
