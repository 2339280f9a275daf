//! Routes of pull requests. Opening one requires commits on the head branch; otherwise the error is GitHub's.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Json, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Shared;
use super::super::auth::{Access, Caller};
use super::super::git::Git;
use super::super::payloads::{self, PullFacts};
use super::super::state::{Issue, PullDetails, RepositoryId};
use super::super::strict::{Body, Query, Reject};
use super::issues::check_length;
use super::{Window, page};

const READ: &[(&str, Access)] = &[("pull_requests", Access::Read)];
const WRITE: &[(&str, Access)] = &[("pull_requests", Access::Write)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<Wanted>,
    head: Option<String>,
    base: Option<String>,
    sort: Option<Sort>,
    direction: Option<Direction>,
    per_page: Option<usize>,
    page: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Open,
    Closed,
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Created,
    Updated,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Asc,
    Desc,
}

pub(super) async fn list(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    Query(filter): Query<Filter>,
) -> Result<Response, Reject> {
    let (repository, mut pulls) = {
        let state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), READ)?.clone();
        let pulls: Vec<_> =
            repository.issues.values().filter(|issue| filter.admits(&owner, issue)).cloned().collect();
        (repository, pulls)
    };
    if filter.sort == Some(Sort::Updated) {
        pulls.sort_by_key(|issue| issue.updated_at);
    }
    if filter.direction != Some(Direction::Asc) {
        pulls.reverse();
    }
    let mut items = Vec::new();
    for issue in pulls {
        let facts = facts(&repository.git, &issue).await?;
        items.push(payloads::pull(&shared.state(), &repository, &issue, &facts));
    }
    let window = Window { per_page: filter.per_page, page: filter.page };
    Ok(page(&shared, &format!("/repos/{owner}/{name}/pulls"), &filter.query(), window, items))
}

impl Filter {
    fn admits(&self, owner: &str, issue: &Issue) -> bool {
        let Some(pull) = &issue.pull else { return false };
        let state = match self.state.unwrap_or(Wanted::Open) {
            Wanted::Open => issue.open,
            Wanted::Closed => !issue.open,
            Wanted::All => true,
        };
        // GitHub ignores a `head` without an owner and lists all pull requests.
        let head = self.head.as_ref().filter(|head| head.contains(':'));
        state
            && head.is_none_or(|head| head.eq_ignore_ascii_case(&format!("{owner}:{}", pull.head)))
            && self.base.as_ref().is_none_or(|base| *base == pull.base)
    }

    /// The filter as a query string, for the links to other pages.
    fn query(&self) -> String {
        let state = self.state.map(|state| match state {
            Wanted::Open => "open",
            Wanted::Closed => "closed",
            Wanted::All => "all",
        });
        let direction = self.direction.map(|d| if d == Direction::Asc { "asc" } else { "desc" });
        let sort = self.sort.map(|sort| if sort == Sort::Created { "created" } else { "updated" });
        let pairs = [
            ("state", state),
            ("head", self.head.as_deref()),
            ("base", self.base.as_deref()),
            ("sort", sort),
            ("direction", direction),
        ];
        let given = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        if query.is_empty() { query } else { query + "&" }
    }
}

pub(super) async fn show(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
) -> Result<Json<Value>, Reject> {
    let repository = caller.reach(&shared.state(), (&owner, &name), READ)?.id;
    Ok(Json(show_pull(&shared, repository, number).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPull {
    title: String,
    head: String,
    base: String,
    body: Option<String>,
    #[serde(default)]
    draft: bool,
    /// Relevant for forks only.
    #[serde(rename = "maintainer_can_modify")]
    _maintainer_can_modify: Option<bool>,
}

fn invalid(field: &str, code: &str) -> Reject {
    Reject::validation(json!({ "resource": "PullRequest", "field": field, "code": code }))
}

fn custom(message: String) -> Reject {
    Reject::validation(json!({ "resource": "PullRequest", "code": "custom", "message": message }))
}

pub(super) async fn create(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    Body(new): Body<NewPull>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let repository = caller.reach(&shared.state(), (&owner, &name), WRITE)?.clone();
    check_length("PullRequest", new.body.as_deref())?;
    if new.title.trim().is_empty() {
        return Err(invalid("title", "missing_field"));
    }
    let head = match new.head.split_once(':') {
        Some((fork, branch)) if fork.eq_ignore_ascii_case(&repository.owner) => branch,
        Some(_) => return Err(invalid("head", "invalid")),
        None => &new.head,
    };
    let git = &repository.git;
    let base_sha = git.find_branch(&new.base).await?.ok_or_else(|| invalid("base", "invalid"))?;
    let head_sha = git.find_branch(head).await?.ok_or_else(|| invalid("head", "invalid"))?;
    if git.commits(&format!("{base_sha}..{head_sha}"), None).await?.is_empty() {
        return Err(custom(format!("No commits between {} and {head}", new.base)));
    }
    if new.draft && !repository.drafts {
        return Err(Reject::unprocessable("Draft pull requests are not supported in this repository."));
    }
    let part = PullDetails { head: head.to_owned(), base: new.base, draft: new.draft, reviewers: Vec::new() };
    let number = {
        let mut state = shared.state();
        let held = state.repository(repository.id).ok_or_else(Reject::not_found)?;
        let taken = |issue: &Issue| {
            let pull = issue.pull.as_ref();
            issue.open && pull.is_some_and(|pull| pull.head == part.head && pull.base == part.base)
        };
        if held.issues.values().any(taken) {
            return Err(custom(format!("A pull request already exists for {}:{head}.", repository.owner)));
        }
        let author = caller.login(&state);
        let text = (new.title.as_str(), new.body);
        let added = state.add_issue(repository.id, &author, text, Some(part), shared.clock.now());
        added.ok_or_else(Reject::not_found)?
    };
    Ok((StatusCode::CREATED, Json(show_pull(&shared, repository.id, number).await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reviewers {
    #[serde(default)]
    reviewers: Vec<String>,
    #[serde(default)]
    team_reviewers: Vec<String>,
}

pub(super) async fn request_reviewers(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Body(wanted): Body<Reviewers>,
) -> Result<(StatusCode, Json<Value>), Reject> {
    let repository = {
        let mut state = shared.state();
        let repository = caller.reach(&state, (&owner, &name), WRITE)?;
        let issue =
            repository.issues.get(&number).filter(|i| i.pull.is_some()).ok_or_else(Reject::not_found)?;
        if wanted.reviewers.iter().any(|login| login.eq_ignore_ascii_case(&issue.author)) {
            return Err(Reject::unprocessable("Review cannot be requested from pull request author."));
        }
        let known = |login: &String| state.find_permission(repository, login).is_some();
        if !wanted.reviewers.iter().all(known) || !wanted.team_reviewers.is_empty() {
            return Err(Reject::unprocessable(format!(
                "Reviews may only be requested from collaborators. One or more of the users or teams you \
                 specified is not a collaborator of the {} repository.",
                repository.full_name()
            )));
        }
        let id = repository.id;
        let held = state.repository_mut(id).and_then(|held| held.issues.get_mut(&number));
        if let Some(pull) = held.and_then(|issue| issue.pull.as_mut()) {
            for login in wanted.reviewers {
                if !pull.reviewers.contains(&login) {
                    pull.reviewers.push(login);
                }
            }
        }
        id
    };
    Ok((StatusCode::CREATED, Json(show_pull(&shared, repository, number).await?)))
}

async fn show_pull(shared: &Shared, repository: RepositoryId, number: u64) -> Result<Value, Reject> {
    let (repository, issue) = {
        let state = shared.state();
        let repository = state.repository(repository).ok_or_else(Reject::not_found)?;
        let issue = repository.issues.get(&number).filter(|issue| issue.pull.is_some());
        (repository.clone(), issue.ok_or_else(Reject::not_found)?.clone())
    };
    let facts = facts(&repository.git, &issue).await?;
    Ok(payloads::pull(&shared.state(), &repository, &issue, &facts))
}

/// The current data of a pull request from git; empty if a branch was deleted.
async fn facts(git: &Git, issue: &Issue) -> Result<PullFacts, Reject> {
    let Some(pull) = &issue.pull else { return Ok(PullFacts::default()) };
    let base = git.find_branch(&pull.base).await?;
    let head = git.find_branch(&pull.head).await?;
    let (Some(base_sha), Some(head_sha)) = (base, head) else { return Ok(PullFacts::default()) };
    let fork = git.find_merge_base(&base_sha, &head_sha).await?.unwrap_or_else(|| base_sha.clone());
    let changes = git.changes(&fork, &head_sha).await?;
    Ok(PullFacts {
        commits: git.commits(&format!("{base_sha}..{head_sha}"), None).await?.len(),
        changed_files: changes.len(),
        additions: changes.iter().map(|change| change.additions).sum(),
        deletions: changes.iter().map(|change| change.deletions).sum(),
        head_sha,
        base_sha,
    })
}
