//! The state of the stand-in: accounts, repositories, issues, comments, tokens, deliveries.
//!
//! Plain values and look-ups only. Actions of people are in `actions.rs`, those of the App in `routes/`, the
//! reads of tests in `reads.rs`. Commits are stored in git repositories (`git.rs`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::auth::{Access, Tokens};
use super::faults::Faults;
use super::git::Git;
use super::middleware::{RateLimit, Request};
use super::sign_in::SignIns;
use super::webhook::{Delivery, WebhookUrl};

/// GitHub's id of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(pub u64);

/// A person's role in a repository: GitHub's five roles, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Can read a private repository.
    Read,
    /// Can also manage issues.
    Triage,
    /// Can also push.
    Write,
    /// Can also change some settings.
    Maintain,
    /// Can do everything.
    Admin,
}

impl Permission {
    /// GitHub's name of the role (`role_name`).
    pub fn role_name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// GitHub's legacy name (`permission`): maintain is shown as write, triage as read.
    pub fn legacy_name(self) -> &'static str {
        match self {
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}

/// A kind of account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A person.
    User,
    /// The account of an App, `<slug>[bot]`, or of a machine.
    Bot,
    /// An organization.
    Organization,
}

/// An account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) login: String,
    pub(super) id: u64,
    pub(super) kind: AccountKind,
}

/// A reaction to a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// GitHub's id.
    pub id: u64,
    /// Such as `eyes` or `rocket`.
    pub content: String,
    /// Login of the author.
    pub login: String,
    pub(super) at: DateTime<Utc>,
}

/// A comment with its edit history.
#[derive(Clone, Debug)]
pub struct Comment {
    /// GitHub's id.
    pub id: u64,
    /// Login of the author.
    pub author: String,
    /// The current text.
    pub body: String,
    /// Earlier texts, oldest first.
    pub edits: Vec<String>,
    /// The reactions, oldest first.
    pub reactions: Vec<Reaction>,
    /// Time of creation.
    pub created_at: DateTime<Utc>,
    /// Time of the last edit.
    pub updated_at: DateTime<Utc>,
}

impl Comment {
    /// Replaces the text and keeps the old one in `edits`.
    pub(super) fn edit(&mut self, body: &str, now: DateTime<Utc>) {
        self.edits.push(std::mem::replace(&mut self.body, body.to_owned()));
        self.updated_at = now;
    }
}

/// The fields that a pull request has in addition to those of an issue.
#[derive(Clone, Debug)]
pub(super) struct PullDetails {
    pub(super) head: String,
    pub(super) base: String,
    pub(super) draft: bool,
    pub(super) reviewers: Vec<String>,
}

/// An issue or a pull request. GitHub numbers both in one sequence.
#[derive(Clone, Debug)]
pub(super) struct Issue {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) author: String,
    pub(super) open: bool,
    pub(super) labels: Vec<String>,
    pub(super) assignees: Vec<String>,
    pub(super) comments: Vec<Comment>,
    pub(super) pull: Option<PullDetails>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) closed_at: Option<DateTime<Utc>>,
}

/// A repository. Its commits are in `git`.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub(super) id: RepositoryId,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) default_branch: String,
    /// Whether the plan supports draft pull requests. On GitHub, private repositories need a paid plan for
    /// them.
    pub(super) drafts: bool,
    pub(super) git: Git,
    pub(super) permissions: BTreeMap<String, Permission>,
    pub(super) issues: BTreeMap<u64, Issue>,
    /// The repository's labels by name, with their ids.
    pub(super) labels: BTreeMap<String, u64>,
    pub(super) created_at: DateTime<Utc>,
}

/// The repositories of an account that an installation covers.
#[derive(Clone, Debug)]
pub(super) enum Selection {
    All,
    Selected(Vec<RepositoryId>),
}

/// An installation of the App on an account.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    pub(super) id: u64,
    pub(super) account: String,
    pub(super) selection: Selection,
    pub(super) permissions: BTreeMap<String, Access>,
    pub(super) suspended_at: Option<DateTime<Utc>>,
    pub(super) created_at: DateTime<Utc>,
}

/// The public registration of the App.
#[derive(Clone, Debug)]
pub(super) struct AppFacts {
    pub(super) id: u64,
    pub(super) slug: String,
    pub(super) client_id: String,
    pub(super) permissions: BTreeMap<String, Access>,
    pub(super) events: Vec<String>,
    pub(super) created_at: DateTime<Utc>,
}

impl AppFacts {
    /// Login of the App's account.
    pub(super) fn bot(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

/// The whole state. Tests read it through [`StandIn::wait_until`](super::StandIn::wait_until) and `reads.rs`.
#[derive(Debug)]
pub struct GithubState {
    pub(super) base_url: String,
    pub(super) app: AppFacts,
    pub(super) accounts: BTreeMap<String, Account>,
    pub(super) repositories: Vec<Repository>,
    pub(super) installations: Vec<Installation>,
    pub(super) tokens: Tokens,
    pub(super) sign_ins: SignIns,
    /// Codes of the App manifest flow; each can be converted once.
    pub(super) manifest_codes: Vec<String>,
    pub(super) webhook_url: Option<WebhookUrl>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) requests: Vec<Request>,
    pub(super) violations: Vec<String>,
    pub(super) faults: Faults,
    pub(super) rate: RateLimit,
    pub(super) last_id: u64,
}

impl GithubState {
    /// A new id, unique among all kinds of objects.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The repository of this name. Names are case-insensitive on GitHub.
    pub(super) fn find_repository(&self, owner: &str, name: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|r| r.owner.eq_ignore_ascii_case(owner) && r.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn repository(&self, id: RepositoryId) -> Option<&Repository> {
        self.repositories.iter().find(|r| r.id == id)
    }

    pub(super) fn repository_mut(&mut self, id: RepositoryId) -> Option<&mut Repository> {
        self.repositories.iter_mut().find(|r| r.id == id)
    }

    pub(super) fn find_account(&self, login: &str) -> Option<&Account> {
        self.accounts.values().find(|account| account.login.eq_ignore_ascii_case(login))
    }

    pub(super) fn find_installation(&self, id: u64) -> Option<&Installation> {
        self.installations.iter().find(|installation| installation.id == id)
    }

    /// The installation that covers a repository.
    pub(super) fn find_installation_of(&self, repository: &Repository) -> Option<&Installation> {
        self.installations.iter().find(|installation| installation.covers(repository))
    }

    /// A person's role in a repository; `None` if the person is not a collaborator.
    pub(super) fn find_permission(&self, repository: &Repository, login: &str) -> Option<Permission> {
        if repository.owner.eq_ignore_ascii_case(login) {
            return Some(Permission::Admin);
        }
        let held = repository.permissions.iter().find(|(name, _)| name.eq_ignore_ascii_case(login));
        held.map(|(_, permission)| *permission)
    }

    /// Adds a comment to an issue and returns its id.
    pub(super) fn add_comment(
        &mut self,
        (repository, number): (RepositoryId, u64),
        author: &str,
        body: &str,
        now: DateTime<Utc>,
    ) -> Option<u64> {
        let id = self.next_id();
        let issue = self.repository_mut(repository)?.issues.get_mut(&number)?;
        issue.updated_at = now;
        issue.comments.push(Comment {
            id,
            author: author.to_owned(),
            body: body.to_owned(),
            edits: Vec::new(),
            reactions: Vec::new(),
            created_at: now,
            updated_at: now,
        });
        Some(id)
    }

    /// Opens an issue or, with `pull`, a pull request, and returns its number.
    pub(super) fn add_issue(
        &mut self,
        repository: RepositoryId,
        author: &str,
        (title, body): (&str, Option<String>),
        pull: Option<PullDetails>,
        now: DateTime<Utc>,
    ) -> Option<u64> {
        let id = self.next_id();
        let repository = self.repository_mut(repository)?;
        let number = repository.issues.keys().next_back().map_or(1, |last| last + 1);
        let issue = Issue {
            id,
            number,
            title: title.to_owned(),
            body,
            author: author.to_owned(),
            open: true,
            labels: Vec::new(),
            assignees: Vec::new(),
            comments: Vec::new(),
            pull,
            created_at: now,
            updated_at: now,
            closed_at: None,
        };
        repository.issues.insert(number, issue);
        Some(number)
    }

    /// Adds labels to an issue. Labels that the repository lacks are created, as on GitHub.
    pub(super) fn add_labels(
        &mut self,
        repository: RepositoryId,
        number: u64,
        labels: &[String],
    ) -> Option<()> {
        for label in labels {
            let id = self.next_id();
            let repository = self.repository_mut(repository)?;
            let known = repository.labels.keys().find(|known| known.eq_ignore_ascii_case(label)).cloned();
            let name = known.unwrap_or_else(|| {
                repository.labels.insert(label.clone(), id);
                label.clone()
            });
            let issue = repository.issues.get_mut(&number)?;
            if !issue.labels.contains(&name) {
                issue.labels.push(name);
            }
        }
        Some(())
    }
}

impl Repository {
    /// `owner/name`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The comment with this id, and its issue.
    pub(super) fn find_comment(&self, id: u64) -> Option<(&Issue, &Comment)> {
        self.issues.values().find_map(|issue| {
            issue.comments.iter().find(|comment| comment.id == id).map(|comment| (issue, comment))
        })
    }

    pub(super) fn find_comment_mut(&mut self, id: u64) -> Option<&mut Comment> {
        self.issues.values_mut().flat_map(|issue| &mut issue.comments).find(|comment| comment.id == id)
    }
}

impl Installation {
    pub(super) fn covers(&self, repository: &Repository) -> bool {
        self.account.eq_ignore_ascii_case(&repository.owner)
            && match &self.selection {
                Selection::All => true,
                Selection::Selected(ids) => ids.contains(&repository.id),
            }
    }
}
