//! Issues, and what pull requests share with them: comments, reactions, labels, assignees.

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::State;
use super::error::Error;
use super::installation::Installation;
use super::request::Request;

/// An issue, or a pull request seen as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueInfo {
    /// The title.
    pub title: String,
    /// The body in Markdown; empty when there is none.
    pub body: String,
    /// Open or closed.
    pub state: State,
    /// Its page.
    pub html_url: String,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
}

#[derive(Deserialize)]
struct IssueBody {
    number: i64,
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

/// An issue that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedIssue {
    /// Its number in the repository.
    pub number: i64,
    /// Its page.
    pub html_url: String,
}

/// A comment on an issue or a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comment {
    /// GitHub's id.
    pub id: i64,
    /// The text in Markdown.
    pub body: String,
    /// The login of who wrote it: `<slug>[bot]` for the App, `ghost` for an account that is gone.
    pub author: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Where it stands on its page.
    pub html_url: String,
}

#[derive(Deserialize)]
struct CommentBody {
    id: i64,
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
    /// An issue or pull request by its number: `GET /repos/{owner}/{repo}/issues/{issue_number}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Gone`] when there is none; others as every call.
    pub async fn issue(&self, owner: &str, repo: &str, number: i64) -> Result<IssueInfo, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}";
        let body: IssueBody = self.load(&Request::get(route, &[&owner, &repo, &number])?).await?;
        Ok(IssueInfo {
            title: body.title,
            body: body.body.unwrap_or_default(),
            state: body.state,
            html_url: body.html_url,
            is_pull_request: body.pull_request.is_some(),
        })
    }

    /// Opens an issue: `POST /repos/{owner}/{repo}/issues`.
    ///
    /// # Errors
    /// [`Error::Gone`] when the repository has issues switched off; others as every call.
    pub async fn create_issue(
        &self,
        owner: &str,
        repo: &str,
        title: &str,
        body: &str,
    ) -> Result<CreatedIssue, Error> {
        let route = "/repos/{owner}/{repo}/issues";
        let request = Request::post(route, &[&owner, &repo], json!({"title": title, "body": body}))?;
        let IssueBody { number, html_url, .. } = self.load(&request).await?;
        Ok(CreatedIssue { number, html_url })
    }

    /// Reacts to a comment (`eyes`, `rocket`, …): `POST …/issues/comments/{comment_id}/reactions`. A
    /// reaction that is there already stays the only one.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the comment was deleted; others as every call.
    pub async fn react(&self, owner: &str, repo: &str, comment_id: i64, content: &str) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions";
        let request = Request::post(route, &[&owner, &repo, &comment_id], json!({"content": content}))?;
        self.send(&request).await.map(drop)
    }

    /// The comments that were written or edited since then, oldest first:
    /// `GET /repos/{owner}/{repo}/issues/{issue_number}/comments`, all pages.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Gone`] when there is no such issue; others as every call.
    pub async fn list_comments_since(
        &self,
        owner: &str,
        repo: &str,
        issue: i64,
        since: DateTime<Utc>,
    ) -> Result<Vec<Comment>, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let request = Request::get(route, &[&owner, &repo, &issue])?.query("since", since);
        let bodies: Vec<CommentBody> = self.list(request).await?;
        let mut comments: Vec<Comment> = bodies.into_iter().map(Comment::from).collect();
        comments.sort_by_key(|comment| (comment.created_at, comment.id));
        Ok(comments)
    }

    /// Comments: `POST /repos/{owner}/{repo}/issues/{issue_number}/comments`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the body is too long, [`Error::Forbidden`] when the issue is locked; others as
    /// every call.
    pub async fn create_comment(
        &self,
        owner: &str,
        repo: &str,
        issue: i64,
        body: &str,
    ) -> Result<Comment, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/comments";
        let request = Request::post(route, &[&owner, &repo, &issue], json!({"body": body}))?;
        Ok(self.load::<CommentBody>(&request).await?.into())
    }

    /// Replaces the text of a comment: `PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the comment was deleted; others as every call.
    pub async fn edit_comment(
        &self,
        owner: &str,
        repo: &str,
        comment_id: i64,
        body: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/comments/{comment_id}";
        let request = Request::new(Method::PATCH, route, &[&owner, &repo, &comment_id])?;
        self.send(&Request { body: Some(json!({"body": body})), ..request }).await.map(drop)
    }

    /// The names of an issue's labels: `GET /repos/{owner}/{repo}/issues/{issue_number}/labels`, all pages.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Gone`] when there is no such issue; others as every call.
    pub async fn list_labels(&self, owner: &str, repo: &str, issue: i64) -> Result<Vec<String>, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
        let labels: Vec<LabelBody> = self.list(Request::get(route, &[&owner, &repo, &issue])?).await?;
        Ok(labels.into_iter().map(|label| label.name).collect())
    }

    /// Adds labels; those that are there stay, those the repository lacks are made:
    /// `POST /repos/{owner}/{repo}/issues/{issue_number}/labels`. No label, no call.
    ///
    /// # Errors
    /// As every call.
    pub async fn add_labels(
        &self,
        owner: &str,
        repo: &str,
        issue: i64,
        labels: &[impl AsRef<str> + Sync],
    ) -> Result<(), Error> {
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        if labels.is_empty() {
            return Ok(());
        }
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels";
        let request = Request::post(route, &[&owner, &repo, &issue], json!({"labels": labels}))?;
        self.send(&request).await.map(drop)
    }

    /// Takes a label off: `DELETE /repos/{owner}/{repo}/issues/{issue_number}/labels/{name}`. One that is not
    /// there is fine.
    ///
    /// # Errors
    /// As every call, but for 404.
    pub async fn remove_label(&self, owner: &str, repo: &str, issue: i64, label: &str) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}";
        let request = Request::new(Method::DELETE, route, &[&owner, &repo, &issue, &label])?;
        match self.send(&request).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Assigns an issue or pull request: `POST /repos/{owner}/{repo}/issues/{issue_number}/assignees`. Says
    /// whether GitHub did: it passes over people who may not be assigned without an error.
    ///
    /// # Errors
    /// As every call.
    pub async fn add_assignee(
        &self,
        owner: &str,
        repo: &str,
        issue: i64,
        login: &str,
    ) -> Result<bool, Error> {
        let route = "/repos/{owner}/{repo}/issues/{issue_number}/assignees";
        let request = Request::post(route, &[&owner, &repo, &issue], json!({"assignees": [login]}))?;
        let AssigneesBody { assignees } = self.load(&request).await?;
        Ok(assignees.iter().any(|user| user.login.eq_ignore_ascii_case(login)))
    }
}
