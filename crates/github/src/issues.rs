//! Issues, and the comments, reactions, labels and assignees that pull requests share with them.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::ids::{CommentId, IssueNumber, RepositoryName};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::State;
use super::error::{Error, Kind};
use super::installation::Installation;
use super::request::Request;

/// An issue, or a pull request read through the issues API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueInfo {
    /// The title.
    pub title: String,
    /// The body in Markdown; empty if there is none.
    pub body: String,
    /// Open or closed.
    pub state: State,
    /// The URL of its page.
    pub html_url: String,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
}

#[derive(Deserialize)]
struct IssueBody {
    number: IssueNumber,
    #[serde(default)]
    title: String,
    #[serde(default)]
    body: Option<String>,
    state: State,
    #[serde(default)]
    html_url: String,
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
}

/// A newly created issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedIssue {
    /// Its number in the repository.
    pub number: IssueNumber,
    /// The URL of its page.
    pub html_url: String,
}

/// A comment on an issue or a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// GitHub's id.
    pub id: CommentId,
    /// The text in Markdown.
    pub body: String,
    /// The author's login: `<slug>[bot]` for the App, `ghost` for a deleted account.
    pub author: String,
    /// The time of creation.
    pub created_at: DateTime<Utc>,
    /// The URL of the comment on its page.
    pub html_url: String,
}

#[derive(Deserialize)]
struct CommentBody {
    id: CommentId,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    user: Option<UserBody>,
    created_at: DateTime<Utc>,
    #[serde(default)]
    html_url: String,
}

#[derive(Deserialize)]
struct UserBody {
    login: String,
}

#[derive(Deserialize)]
struct LabelBody {
    name: String,
}

fn names(labels: Vec<LabelBody>) -> Vec<String> {
    labels.into_iter().map(|label| label.name).collect()
}

#[derive(Deserialize)]
struct AssigneesBody {
    #[serde(default)]
    assignees: Vec<UserBody>,
}

impl From<CommentBody> for Comment {
    fn from(body: CommentBody) -> Self {
        Self {
            id: body.id,
            body: body.body.unwrap_or_default(),
            author: body.user.map_or_else(|| "ghost".into(), |user| user.login),
            created_at: body.created_at,
            html_url: body.html_url,
        }
    }
}

impl Installation {
    /// Returns an issue or pull request by number: `GET /repos/{owner}/{repo}/issues/{issue_number}`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Gone`] if it does not exist.
    pub async fn issue(&self, repo: &RepositoryName, number: IssueNumber) -> Result<IssueInfo, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}";
        let body: IssueBody = self.load(&Request::get(route, &[&repo.owner, &repo.name, &number])?).await?;
        Ok(IssueInfo {
            title: body.title,
            body: body.body.unwrap_or_default(),
            state: body.state,
            html_url: body.html_url,
            is_pull_request: body.pull_request.is_some(),
        })
    }

    /// Creates an issue: `POST /repos/{owner}/{repo}/issues`.
    ///
    /// # Errors
    /// [`Kind::Gone`] if issues are disabled in the repository.
    pub async fn create_issue(
        &self,
        repo: &RepositoryName,
        title: &str,
        body: &str,
    ) -> Result<CreatedIssue, Error> {
        let route = "/repos/{owner}/{repo}/issues";
        let request =
            Request::post(route, &[&repo.owner, &repo.name], json!({"title": title, "body": body}))?;
        let IssueBody { number, html_url, .. } = self.load(&request).await?;
        Ok(CreatedIssue { number, html_url })
    }

    /// Adds a reaction (`eyes`, `rocket`, …) to a comment: `POST …/issues/comments/{comment_id}/reactions`. Has
    /// no effect if the reaction already exists.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the comment was deleted.
    pub async fn react(
        &self,
        repo: &RepositoryName,
        comment_id: CommentId,
        content: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions";
        let request =
            Request::post(route, &[&repo.owner, &repo.name, &comment_id], json!({"content": content}))?;
        self.send(&request).await.map(drop)
    }

    /// Returns the comments created or edited since an instant, oldest first:
    /// `GET /repos/{owner}/{repo}/issues/{issue_number}/comments`, all pages.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Gone`] if the issue does not exist.
    pub async fn list_comments_since(
        &self,
        repo: &RepositoryName,
        issue: IssueNumber,
        since: DateTime<Utc>,
    ) -> Result<Vec<Comment>, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let request = Request::get(route, &[&repo.owner, &repo.name, &issue])?.query("since", since);
        let bodies: Vec<CommentBody> = self.list(request).await?;
        let mut comments: Vec<Comment> = bodies.into_iter().map(Comment::from).collect();
        comments.sort_by_key(|comment| (comment.created_at, comment.id));
        Ok(comments)
    }

    /// Creates a comment: `POST /repos/{owner}/{repo}/issues/{issue_number}/comments`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the body is too long, [`Kind::Forbidden`] if the issue is locked.
    pub async fn create_comment(
        &self,
        repo: &RepositoryName,
        issue: IssueNumber,
        body: &str,
    ) -> Result<Comment, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
        let request = Request::post(route, &[&repo.owner, &repo.name, &issue], json!({"body": body}))?;
        Ok(self.load::<CommentBody>(&request).await?.into())
    }

    /// Replaces the body of a comment: `PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the comment was deleted.
    pub async fn edit_comment(
        &self,
        repo: &RepositoryName,
        comment_id: CommentId,
        body: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
        let request = Request::new(Method::PATCH, route, &[&repo.owner, &repo.name, &comment_id])?;
        self.send(&Request { body: Some(json!({"body": body})), ..request }).await.map(drop)
    }

    /// Returns the names of an issue's labels: `GET /repos/{owner}/{repo}/issues/{issue_number}/labels`, all pages.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Gone`] if the issue does not exist.
    pub async fn list_labels(&self, repo: &RepositoryName, issue: IssueNumber) -> Result<Vec<String>, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
        let labels: Vec<LabelBody> =
            self.list(Request::get(route, &[&repo.owner, &repo.name, &issue])?).await?;
        Ok(names(labels))
    }

    /// Adds labels and returns all labels of the issue: `POST /repos/{owner}/{repo}/issues/{issue_number}/labels`.
    /// GitHub keeps existing labels and creates those that the repository lacks.
    pub async fn add_labels(
        &self,
        repo: &RepositoryName,
        issue: IssueNumber,
        labels: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<String>, Error> {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
        let request = Request::post(route, &[&repo.owner, &repo.name, &issue], json!({"labels": labels}))?;
        let labels: Vec<LabelBody> = self.load(&request).await?;
        Ok(names(labels))
    }

    /// Removes a label: `DELETE /repos/{owner}/{repo}/issues/{issue_number}/labels/{name}`. Succeeds if the issue
    /// does not have the label (404).
    pub async fn remove_label(
        &self,
        repo: &RepositoryName,
        issue: IssueNumber,
        label: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}";
        let request = Request::new(Method::DELETE, route, &[&repo.owner, &repo.name, &issue, &label])?;
        match self.send(&request).await {
            Ok(_) | Err(Error { kind: Kind::NotFound, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Assigns an issue or pull request: `POST /repos/{owner}/{repo}/issues/{issue_number}/assignees`. Returns
    /// whether the person is assigned: GitHub ignores people who cannot be assigned and reports no error.
    pub async fn add_assignee(
        &self,
        repo: &RepositoryName,
        issue: IssueNumber,
        login: &str,
    ) -> Result<bool, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/assignees";
        let request =
            Request::post(route, &[&repo.owner, &repo.name, &issue], json!({"assignees": [login]}))?;
        let AssigneesBody { assignees } = self.load(&request).await?;
        Ok(assignees.iter().any(|user| user.login.eq_ignore_ascii_case(login)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::super::fake::{Fake, reply, start};
    use super::*;

    /// Starts a fake that gives every repository call the same response.
    async fn answering(status: u16, body: serde_json::Value) -> Fake {
        Fake::start(move |seen| seen.path.starts_with("/repos").then(|| reply(status, body.clone()))).await
    }

    #[tokio::test]
    async fn a_missing_issue_body_is_read_as_empty() {
        let fake = answering(
            200,
            json!({"number": 4, "title": "Broken", "body": null, "state": "open", "html_url": "https://x/4"}),
        )
        .await;
        let seen = fake
            .installation()
            .issue(&RepositoryName::new("acme", "web"), IssueNumber::new(4))
            .await
            .expect("an issue");
        let wanted = IssueInfo {
            title: "Broken".into(),
            body: String::new(),
            state: State::Open,
            html_url: "https://x/4".into(),
            is_pull_request: false,
        };
        assert_eq!(seen, wanted);
    }

    #[tokio::test]
    async fn a_pull_request_read_as_an_issue_is_recognized() {
        let fake =
            answering(200, json!({"number": 4, "state": "closed", "pull_request": {"url": "x"}})).await;
        let seen = fake
            .installation()
            .issue(&RepositoryName::new("acme", "web"), IssueNumber::new(4))
            .await
            .expect("an issue");
        assert_eq!((seen.is_pull_request, seen.state), (true, State::Closed));
    }

    #[tokio::test]
    async fn a_deleted_issue_is_gone() {
        let fake = answering(410, json!({"message": "This issue was deleted"})).await;
        let seen = fake.installation().issue(&RepositoryName::new("acme", "web"), IssueNumber::new(4)).await;
        assert!(matches!(seen, Err(Error { kind: Kind::Gone, .. })), "{seen:?}");
    }

    #[tokio::test]
    async fn an_issue_is_created_with_title_and_body() {
        let fake = answering(201, json!({"number": 8, "state": "open", "html_url": "https://x/8"})).await;
        let seen = fake
            .installation()
            .create_issue(&RepositoryName::new("acme", "web"), "Title", "Body")
            .await
            .expect("an issue");
        assert_eq!(seen, CreatedIssue { number: IssueNumber::new(8), html_url: "https://x/8".into() });
        assert_eq!(fake.calls()[0].body, json!({"title": "Title", "body": "Body"}));
    }

    #[tokio::test]
    async fn a_reaction_may_be_new_or_exist_already() {
        let status = AtomicU16::new(200);
        let fake = Fake::start(move |seen| {
            let status = || status.fetch_add(1, Ordering::SeqCst);
            seen.path.starts_with("/repos").then(|| reply(status(), json!({"id": 1, "content": "eyes"})))
        })
        .await;
        let installation = fake.installation();
        for _ in 0..2 {
            installation
                .react(&RepositoryName::new("acme", "web"), CommentId::new(31), "eyes")
                .await
                .expect("a reaction");
        }
        assert_eq!(fake.lines()[0], "POST /repos/acme/web/issues/comments/31/reactions");
        assert_eq!(fake.calls()[1].body, json!({"content": "eyes"}));
    }

    #[tokio::test]
    async fn comments_are_sorted_oldest_first() {
        let fake = answering(
            200,
            json!([
                {"id": 3, "body": "c", "user": {"login": "porter[bot]"}, "created_at": "2027-01-15T09:00:00Z"},
                {"id": 2, "body": "b", "user": null, "created_at": "2027-01-15T08:00:00Z"},
                {"id": 1, "created_at": "2027-01-15T08:00:00Z"},
            ]),
        )
        .await;
        let seen = fake
            .installation()
            .list_comments_since(&RepositoryName::new("acme", "web"), IssueNumber::new(4), start())
            .await
            .expect("comments");
        let seen: Vec<_> = seen.iter().map(|c| (c.id.get(), c.author.as_str(), c.body.as_str())).collect();
        assert_eq!(seen, [(1, "ghost", ""), (2, "ghost", "b"), (3, "porter[bot]", "c")]);
        assert_eq!(
            fake.lines(),
            ["GET /repos/acme/web/issues/4/comments?since=2027-01-15T08%3A00%3A00Z&per_page=100"]
        );
    }

    #[tokio::test]
    async fn a_comment_is_edited_in_place() {
        let fake = answering(200, json!({"id": 31, "created_at": "2027-01-15T08:00:00Z"})).await;
        fake.installation()
            .edit_comment(&RepositoryName::new("acme", "web"), CommentId::new(31), "new")
            .await
            .expect("an edit");
        assert_eq!(fake.lines(), ["PATCH /repos/acme/web/issues/comments/31"]);
        assert_eq!(fake.calls()[0].body, json!({"body": "new"}));
    }

    #[tokio::test]
    async fn labels_are_added_together_and_removed_one_by_one() {
        let fake = Fake::start(|seen| match seen.method.as_str() {
            "POST" if seen.path.starts_with("/repos") => {
                Some(reply(200, json!([{"name": "bug"}, {"name": "porter:task"}])))
            }
            "DELETE" => Some(reply(404, json!({"message": "Label does not exist"}))),
            _ => None,
        })
        .await;
        let installation = fake.installation();
        let there = installation
            .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(4), &["porter:task"])
            .await
            .expect("added");
        assert_eq!(there, ["bug", "porter:task"]);
        installation
            .remove_label(&RepositoryName::new("acme", "web"), IssueNumber::new(4), "porter:queued")
            .await
            .expect("a missing label");
        assert_eq!(
            fake.lines(),
            [
                "POST /repos/acme/web/issues/4/labels",
                "DELETE /repos/acme/web/issues/4/labels/porter%3Aqueued",
            ]
        );
        assert_eq!(fake.calls()[0].body, json!({"labels": ["porter:task"]}));
    }

    #[tokio::test]
    async fn an_assignee_that_github_ignores_is_reported() {
        let fake = answering(201, json!({"number": 4, "assignees": [{"login": "Ana"}]})).await;
        let installation = fake.installation();
        assert!(
            installation
                .add_assignee(&RepositoryName::new("acme", "web"), IssueNumber::new(4), "ana")
                .await
                .expect("an answer")
        );
        assert!(
            !installation
                .add_assignee(&RepositoryName::new("acme", "web"), IssueNumber::new(4), "bob")
                .await
                .expect("an answer")
        );
        assert_eq!(fake.calls()[1].body, json!({"assignees": ["bob"]}));
    }
}
