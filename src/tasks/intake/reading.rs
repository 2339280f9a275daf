//! Parses the webhooks that Porter handles.

use domain::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::tasks::Policy;
use db::installations::Installation;
use domain::command::{self, Command, Invalid, Run};
use domain::job::{CommentReference, Control};
use domain::task::{Issue, Repository, Request, Requester};
use github::webhook;

/// A verified and parsed delivery.
#[derive(Debug)]
pub struct Delivery {
    /// `X-GitHub-Delivery`.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The `action` of the payload.
    pub action: Option<String>,
    /// The meaning for Porter.
    pub(super) intent: Intent,
}

/// The installation id of a payload that names none.
pub(super) const NO_INSTALLATION: InstallationId = InstallationId::new(0);

/// The meaning of a delivery for Porter.
#[derive(Debug)]
pub(super) enum Intent {
    /// The delivery is ignored, for this reason.
    Nothing(&'static str),
    /// A comment mentioned Porter.
    Mention(Box<Mention>),
    /// An issue was closed.
    Closed { repo_id: RepositoryId, issue: IssueNumber, login: String },
    /// Porter was installed, or its permissions or repositories changed.
    Installed {
        installation: Installation,
        added: Vec<(RepositoryId, String)>,
        removed: Vec<(RepositoryId, String)>,
    },
    /// Porter was uninstalled.
    Uninstalled { installation: InstallationId },
}

/// A mention with its context.
#[derive(Debug)]
pub(super) struct Mention {
    /// The requested action.
    pub action: Result<Action, Invalid>,
    /// The person, the repository and the issue; the installation is 0 when the payload named none.
    pub request: Request,
    /// The id of the comment.
    pub comment_id: CommentId,
    /// `<comment id>:<repository id>`, which sorts in the order of creation. Comments that are close in time are then
    /// close in the index, which saves most of its writes under load.
    pub comment_key: String,
}

/// The action that a mention requests.
#[derive(Debug)]
pub(super) enum Action {
    /// Start a task.
    Task(Run),
    /// Control the issue's tasks.
    Control(Control),
}

impl Mention {
    /// Returns the reference to the comment for its reply.
    pub(super) fn mention(&self, at: chrono::DateTime<chrono::Utc>) -> CommentReference {
        CommentReference {
            installation: self.request.repository.installation_id,
            repo_id: self.request.repository.id,
            repository: self.request.repository.full_name.clone(),
            issue: self.request.issue.number,
            comment_id: self.comment_id,
            login: self.request.requester.login.clone(),
            at: at.timestamp_millis(),
        }
    }
}

/// The body is not the JSON object that its event requires.
#[derive(Debug, thiserror::Error)]
#[error("the payload is not a {event} event: {source}")]
pub struct Unreadable {
    event: String,
    source: serde_json::Error,
}

impl Delivery {
    /// Parses a verified delivery. Comments of Porter's own App are ignored.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(guid: String, event: String, body: &[u8], policy: &Policy) -> Result<Self, Unreadable> {
        let (action, intent) = match event.as_str() {
            "issue_comment" => {
                let payload: webhook::IssueComment = parse(&event, body)?;
                (Some(payload.action.clone()), comment(payload, policy))
            }
            "issues" => {
                let payload: webhook::Issues = parse(&event, body)?;
                (Some(payload.action.clone()), issue(payload))
            }
            "installation" => {
                let payload: webhook::Installation = parse(&event, body)?;
                (Some(payload.action.clone()), installation(payload))
            }
            "installation_repositories" => {
                let payload: webhook::InstallationRepositories = parse(&event, body)?;
                (Some(payload.action.clone()), repositories(payload))
            }
            _ => {
                parse::<AnyObject>(&event, body)?;
                (None, Intent::Nothing("unsupported_event"))
            }
        };
        Ok(Self { guid, event, action, intent })
    }
}

/// Returns whether a delivery may be relevant to Porter. An unknown action counts as relevant.
pub(in crate::tasks) fn concerns(event: &str, action: Option<&str>) -> bool {
    match event {
        "issue_comment" => action.is_none_or(|action| action == "created"),
        "issues" => action.is_none_or(|action| action == "closed"),
        "installation" | "installation_repositories" => true,
        event => event.is_empty(),
    }
}

/// Any JSON object, whose values are skipped.
type AnyObject = std::collections::BTreeMap<String, IgnoredAny>;

fn parse<T: DeserializeOwned>(event: &str, body: &[u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|source| Unreadable { event: event.to_owned(), source })
}

fn comment(payload: webhook::IssueComment, policy: &Policy) -> Intent {
    if payload.action != "created" {
        return Intent::Nothing("unsupported_action");
    }
    let author = payload.comment.user.unwrap_or(payload.sender);
    let by_porter = payload
        .comment
        .performed_via_github_app
        .is_some_and(|app| u64::try_from(app.id) == Ok(policy.app_id));
    if author.kind == "Bot" || author.login.ends_with("[bot]") || by_porter {
        return Intent::Nothing("bot_comment");
    }
    let known = |name: &str| policy.find_agent(name).map(|agent| agent.id.as_str());
    let Some(command) = command::parse(payload.comment.body.as_deref().unwrap_or_default(), known) else {
        return Intent::Nothing("no_mention");
    };
    let action = command.map(|command| match command {
        Command::Run(run) => Action::Task(run),
        Command::Stop => Action::Control(Control::Stop),
        Command::Retry => Action::Control(Control::Retry),
        Command::Status => Action::Control(Control::Status),
        Command::Help => Action::Control(Control::Help),
    });
    Intent::Mention(Box::new(Mention {
        action,
        comment_id: payload.comment.id,
        comment_key: format!("{}:{}", payload.comment.id, payload.repository.id),
        request: Request {
            repository: Repository {
                id: payload.repository.id,
                full_name: RepositoryName {
                    owner: payload.repository.owner.login,
                    name: payload.repository.name,
                },
                default_branch: payload.repository.default_branch,
                installation_id: payload.installation.map_or(NO_INSTALLATION, |installation| installation.id),
            },
            issue: Issue {
                number: payload.issue.number,
                title: payload.issue.title,
                body: payload.issue.body.unwrap_or_default(),
                url: payload.issue.html_url,
                is_pull_request: payload.issue.pull_request.is_some(),
            },
            requester: Requester { id: author.id, login: author.login },
            comment_id: Some(payload.comment.id),
        },
    }))
}

fn issue(payload: webhook::Issues) -> Intent {
    if payload.action != "closed" {
        return Intent::Nothing("unsupported_action");
    }
    Intent::Closed {
        repo_id: payload.repository.id,
        issue: payload.issue.number,
        login: payload.sender.login,
    }
}

fn installation(payload: webhook::Installation) -> Intent {
    if payload.action == "deleted" {
        return Intent::Uninstalled { installation: payload.installation.id };
    }
    let added = names(payload.repositories.unwrap_or_default());
    let mut installation = details(payload.installation);
    match payload.action.as_str() {
        "suspend" => installation.suspended = true,
        "unsuspend" => installation.suspended = false,
        _ => {}
    }
    Intent::Installed { installation, added, removed: Vec::new() }
}

fn repositories(payload: webhook::InstallationRepositories) -> Intent {
    Intent::Installed {
        installation: details(payload.installation),
        added: names(payload.repositories_added),
        removed: names(payload.repositories_removed),
    }
}

fn details(installation: webhook::InstallationDetails) -> Installation {
    Installation {
        id: installation.id,
        account_login: installation.account.login,
        account_type: installation.account.kind,
        repository_selection: installation.repository_selection,
        suspended: installation.suspended_at.is_some(),
    }
}

fn names(repositories: Vec<webhook::RepositoryName>) -> Vec<(RepositoryId, String)> {
    repositories.into_iter().map(|repository| (repository.id, repository.full_name)).collect()
}
