//! The webhook payloads Porter reads, with just the fields it reads. Names are GitHub's
//! (docs.github.com, "Webhook events and payloads"); everything else in a payload is skipped unparsed.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// `issue_comment`.
#[derive(Debug, Deserialize)]
pub struct IssueComment {
    /// `created`, `edited`, `deleted`, …
    pub action: String,
    /// The issue or pull request.
    pub issue: Issue,
    /// The comment.
    pub comment: Comment,
    /// Where.
    pub repository: Repository,
    /// Through which installation it came.
    pub installation: Option<InstallationId>,
    /// Who caused the event.
    pub sender: User,
}

/// `issues`.
#[derive(Debug, Deserialize)]
pub struct Issues {
    /// `opened`, `closed`, …
    pub action: String,
    /// The issue.
    pub issue: Issue,
    /// Where.
    pub repository: Repository,
    /// Who caused the event.
    pub sender: User,
}

/// `installation`.
#[derive(Debug, Deserialize)]
pub struct Installation {
    /// `created`, `deleted`, `suspend`, `unsuspend`, `new_permissions_accepted`.
    pub action: String,
    /// Which.
    pub installation: InstallationDetails,
    /// What it reaches, with `created`.
    #[serde(default)]
    pub repositories: Option<Vec<RepositoryName>>,
}

/// `installation_repositories`.
#[derive(Debug, Deserialize)]
pub struct InstallationRepositories {
    /// `added` or `removed`.
    pub action: String,
    /// Which.
    pub installation: InstallationDetails,
    /// What it reaches now.
    #[serde(default)]
    pub repositories_added: Vec<RepositoryName>,
    /// What it reaches no more.
    #[serde(default)]
    pub repositories_removed: Vec<RepositoryName>,
}

/// An issue or a pull request, as it was when the event happened.
#[derive(Debug, Deserialize)]
pub struct Issue {
    /// Its number.
    pub number: i64,
    /// Its title.
    pub title: String,
    /// Its text.
    #[serde(default)]
    pub body: Option<String>,
    /// Where people read it.
    #[serde(default)]
    pub html_url: String,
    /// There when it is a pull request.
    #[serde(default)]
    pub pull_request: Option<IgnoredAny>,
}

/// A comment.
#[derive(Debug, Deserialize)]
pub struct Comment {
    /// GitHub's number for it.
    pub id: i64,
    /// Its text.
    #[serde(default)]
    pub body: Option<String>,
    /// Its author; absent when the account is gone.
    #[serde(default)]
    pub user: Option<User>,
    /// The App that wrote it.
    #[serde(default)]
    pub performed_via_github_app: Option<AppId>,
}

/// A GitHub App, by its number.
#[derive(Debug, Deserialize)]
pub struct AppId {
    /// Its number.
    pub id: i64,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// GitHub's number for it, never given to another.
    pub id: i64,
    /// Its name today.
    pub login: String,
    /// `User`, `Bot`, `Organization`, …
    #[serde(rename = "type", default)]
    pub kind: String,
}

/// A repository.
#[derive(Debug, Deserialize)]
pub struct Repository {
    /// GitHub's number for it.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The account it belongs to.
    pub owner: Owner,
    /// Where pull requests go.
    #[serde(default = "main_branch")]
    pub default_branch: String,
}

/// The account a repository belongs to.
#[derive(Debug, Deserialize)]
pub struct Owner {
    /// Its name.
    pub login: String,
}

/// A repository, in short.
#[derive(Debug, Deserialize)]
pub struct RepositoryName {
    /// GitHub's number for it.
    pub id: i64,
    /// `owner/name`.
    pub full_name: String,
}

/// An installation, by its number.
#[derive(Debug, Deserialize)]
pub struct InstallationId {
    /// Its number.
    pub id: i64,
}

/// An installation.
#[derive(Debug, Deserialize)]
pub struct InstallationDetails {
    /// Its number.
    pub id: i64,
    /// The account it is on.
    pub account: Account,
    /// `all` or `selected`.
    #[serde(default)]
    pub repository_selection: String,
    /// Since when it is suspended, if it is.
    #[serde(default)]
    pub suspended_at: Option<String>,
}

/// The account an installation is on: an enterprise has a slug where others have a login.
#[derive(Debug, Deserialize)]
pub struct Account {
    /// Its name.
    #[serde(alias = "slug")]
    pub login: String,
    /// `User` or `Organization`.
    #[serde(rename = "type", default)]
    pub kind: String,
}

fn main_branch() -> String {
    "main".to_owned()
}
