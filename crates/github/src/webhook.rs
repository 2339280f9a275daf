//! The webhook payloads that Porter reads, with only the fields it uses. Names are GitHub's (docs.github.com,
//! "Webhook events and payloads"); all other fields are ignored.

use domain::ids::{CommentId, IssueNumber, RepositoryId, UserId};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The `issue_comment` event.
#[derive(Debug, Deserialize)]
pub struct IssueComment {
    /// `created`, `edited`, `deleted`, …
    pub action: String,
    /// The issue or pull request.
    pub issue: Issue,
    /// The comment.
    pub comment: Comment,
    /// The repository.
    pub repository: Repository,
    /// The installation that the event belongs to.
    pub installation: Option<InstallationId>,
    /// The account that caused the event.
    pub sender: User,
}

/// The `issues` event.
#[derive(Debug, Deserialize)]
pub struct Issues {
    /// `opened`, `closed`, …
    pub action: String,
    /// The issue.
    pub issue: Issue,
    /// The repository.
    pub repository: Repository,
    /// The account that caused the event.
    pub sender: User,
}

/// The `installation` event.
#[derive(Debug, Deserialize)]
pub struct Installation {
    /// `created`, `deleted`, `suspend`, `unsuspend`, `new_permissions_accepted`.
    pub action: String,
    /// The installation.
    pub installation: InstallationDetails,
    /// The accessible repositories, sent with `created`.
    #[serde(default)]
    pub repositories: Option<Vec<RepositoryName>>,
}

/// The `installation_repositories` event.
#[derive(Debug, Deserialize)]
pub struct InstallationRepositories {
    /// `added` or `removed`.
    pub action: String,
    /// The installation.
    pub installation: InstallationDetails,
    /// The repositories that were added.
    #[serde(default)]
    pub repositories_added: Vec<RepositoryName>,
    /// The repositories that were removed.
    #[serde(default)]
    pub repositories_removed: Vec<RepositoryName>,
}

/// An issue or a pull request at the time of the event.
#[derive(Debug, Deserialize)]
pub struct Issue {
    /// The number.
    pub number: IssueNumber,
    /// The title.
    pub title: String,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// The URL of its page.
    #[serde(default)]
    pub html_url: String,
    /// Present if it is a pull request.
    #[serde(default)]
    pub pull_request: Option<IgnoredAny>,
}

/// A comment.
#[derive(Debug, Deserialize)]
pub struct Comment {
    /// GitHub's id of the comment.
    pub id: CommentId,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// The author; absent if the account was deleted.
    #[serde(default)]
    pub user: Option<User>,
    /// The App that created the comment, if any.
    #[serde(default)]
    pub performed_via_github_app: Option<AppId>,
}

/// A reference to a GitHub App.
#[derive(Debug, Deserialize)]
pub struct AppId {
    /// The App's id.
    pub id: i64,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// GitHub's id of the account, which is never reused.
    pub id: UserId,
    /// The current login.
    pub login: String,
    /// `User`, `Bot`, `Organization`, …
    #[serde(rename = "type", default)]
    pub kind: String,
}

/// A repository.
#[derive(Debug, Deserialize)]
pub struct Repository {
    /// GitHub's id of the repository.
    pub id: RepositoryId,
    /// The name.
    pub name: String,
    /// The owner.
    pub owner: Owner,
    /// The default branch.
    #[serde(default = "main_branch")]
    pub default_branch: String,
}

/// The owner of a repository.
#[derive(Debug, Deserialize)]
pub struct Owner {
    /// The login.
    pub login: String,
}

/// A repository in short form.
#[derive(Debug, Deserialize)]
pub struct RepositoryName {
    /// GitHub's id of the repository.
    pub id: RepositoryId,
    /// `owner/name`.
    pub full_name: String,
}

/// A reference to an installation.
#[derive(Debug, Deserialize)]
pub struct InstallationId {
    /// The installation's id.
    pub id: domain::ids::InstallationId,
}

/// An installation.
#[derive(Debug, Deserialize)]
pub struct InstallationDetails {
    /// The installation's id.
    pub id: domain::ids::InstallationId,
    /// The account of the installation.
    pub account: Account,
    /// `all` or `selected`.
    #[serde(default)]
    pub repository_selection: String,
    /// The time of the suspension, if it is suspended.
    #[serde(default)]
    pub suspended_at: Option<String>,
}

/// The account of an installation. An enterprise has a slug instead of a login.
#[derive(Debug, Deserialize)]
pub struct Account {
    /// The login or slug.
    #[serde(alias = "slug")]
    pub login: String,
    /// `User` or `Organization`.
    #[serde(rename = "type", default)]
    pub kind: String,
}

fn main_branch() -> String {
    "main".to_owned()
}
