//! GitHub's JSON objects for the REST API and the webhooks, with every field that a client can require.
//!
//! Pure functions of the state's values. Sources: GitHub's OpenAPI description and webhook reference, REST
//! version 2026-03-10 (without the singular `assignee` and `merge_commit_sha`).

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::auth::Access;
use super::state::{AccountKind, Comment, GithubState, Installation, Issue, Reaction, Repository, Selection};
use super::webhook::Delivery;

/// GitHub writes times with a precision of one second.
pub(super) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Adds the fields of one object to another: a single `json!` with all fields exceeds the macro's recursion
/// limit.
fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (value, more) {
        fields.extend(more);
    }
}

fn node_id(kind: &str, id: u64) -> String {
    use base64::Engine;
    format!("{kind}_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.to_be_bytes()))
}

/// An account; an unknown one is shown as GitHub's `ghost`.
pub(super) fn account(state: &GithubState, login: &str) -> Value {
    let (login, id, kind) = match state.find_account(login) {
        Some(account) => (account.login.as_str(), account.id, account.kind),
        None => ("ghost", 10137, AccountKind::User),
    };
    let base = &state.base_url;
    let path = login.replace("[bot]", "%5Bbot%5D");
    let api = format!("{base}/users/{path}");
    let (kind, html) = match kind {
        AccountKind::User => ("User", format!("{base}/{login}")),
        AccountKind::Organization => ("Organization", format!("{base}/{login}")),
        AccountKind::Bot => ("Bot", format!("{base}/apps/{}", login.trim_end_matches("[bot]"))),
    };
    json!({
        "login": login, "id": id, "node_id": node_id("U", id),
        "avatar_url": format!("{base}/avatars/u/{id}?v=4"), "gravatar_id": "",
        "url": api, "html_url": html,
        "followers_url": format!("{api}/followers"),
        "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": kind, "user_view_type": "public", "site_admin": false,
    })
}

/// The web address of a repository.
pub(super) fn web_url(state: &GithubState, repository: &Repository) -> String {
    format!("{}/{}", state.base_url, repository.full_name())
}

fn api_url(state: &GithubState, repository: &Repository) -> String {
    format!("{}/repos/{}", state.base_url, repository.full_name())
}

/// Pairs of a URL field and its path below the repository's URL.
const REPOSITORY_URLS: [(&str, &str); 37] = [
    ("forks_url", "/forks"),
    ("keys_url", "/keys{/key_id}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("teams_url", "/teams"),
    ("hooks_url", "/hooks"),
    ("issue_events_url", "/issues/events{/number}"),
    ("events_url", "/events"),
    ("assignees_url", "/assignees{/user}"),
    ("branches_url", "/branches{/branch}"),
    ("tags_url", "/tags"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("trees_url", "/git/trees{/sha}"),
    ("statuses_url", "/statuses/{sha}"),
    ("languages_url", "/languages"),
    ("stargazers_url", "/stargazers"),
    ("contributors_url", "/contributors"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("commits_url", "/commits{/sha}"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("comments_url", "/comments{/number}"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("contents_url", "/contents/{+path}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("merges_url", "/merges"),
    ("archive_url", "/{archive_format}{/ref}"),
    ("downloads_url", "/downloads"),
    ("issues_url", "/issues{/number}"),
    ("pulls_url", "/pulls{/number}"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("labels_url", "/labels{/name}"),
    ("releases_url", "/releases{/id}"),
    ("deployments_url", "/deployments"),
    ("dependabot_url", "/dependabot"),
];

/// A repository.
pub(super) fn repository(state: &GithubState, repository: &Repository) -> Value {
    let (api, web) = (api_url(state, repository), web_url(state, repository));
    let created = time(repository.created_at);
    let open = repository.issues.values().filter(|issue| issue.open).count();
    let mut value = json!({
    "id": repository.id.0, "node_id": node_id("R", repository.id.0),
    "name": repository.name, "full_name": repository.full_name(), "private": true,
    "owner": account(state, &repository.owner), "html_url": web, "description": null, "fork": false,
    "url": api, "created_at": created, "updated_at": created, "pushed_at": created,
    "git_url": format!("{}.git", web.replacen("http:", "git:", 1)),
    "ssh_url": format!("git@localhost:{}.git", repository.full_name()),
    "clone_url": format!("{web}.git"), "svn_url": web, "homepage": null, "size": 1,
        });
    extend(
        &mut value,
        json!({
            "stargazers_count": 0, "watchers_count": 0, "language": "Shell", "has_issues": true,
            "has_projects": true, "has_wiki": true, "has_pages": false,
            "has_discussions": false, "forks_count": 0, "mirror_url": null, "archived": false,
            "disabled": false, "open_issues_count": open, "license": null, "allow_forking": true,
            "is_template": false, "web_commit_signoff_required": false, "topics": [],
            "visibility": "private", "forks": 0, "open_issues": open, "watchers": 0,
            "default_branch": repository.default_branch,
        }),
    );
    for (key, path) in REPOSITORY_URLS {
        value[key] = json!(format!("{api}{path}"));
    }
    value
}

/// The short form of a repository in the webhooks of an installation.
pub(super) fn short_repository(repository: &Repository) -> Value {
    json!({
        "id": repository.id.0, "node_id": node_id("R", repository.id.0),
        "name": repository.name, "full_name": repository.full_name(), "private": true,
    })
}

/// A label of a repository.
pub(super) fn label(state: &GithubState, repository: &Repository, name: &str) -> Value {
    let id = repository.labels.get(name).copied().unwrap_or_default();
    json!({
        "id": id, "node_id": node_id("LA", id),
        "url": format!("{}/labels/{name}", api_url(state, repository)),
        "name": name, "color": "ededed", "default": false, "description": null,
    })
}

fn reactions(url: &str, reactions: &[Reaction]) -> Value {
    let mut counts = Map::new();
    for content in ["+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"] {
        let count = reactions.iter().filter(|reaction| reaction.content == content).count();
        counts.insert(content.to_owned(), json!(count));
    }
    counts.insert("url".to_owned(), json!(format!("{url}/reactions")));
    counts.insert("total_count".to_owned(), json!(reactions.len()));
    Value::Object(counts)
}

/// A reaction.
pub(super) fn reaction(state: &GithubState, reaction: &Reaction) -> Value {
    json!({
        "id": reaction.id, "node_id": node_id("REA", reaction.id), "user": account(state, &reaction.login),
        "content": reaction.content, "created_at": time(reaction.at),
    })
}

/// `CONTRIBUTOR` is not used: it does not depend on a person's permissions.
fn association(state: &GithubState, repository: &Repository, login: &str) -> &'static str {
    if repository.owner.eq_ignore_ascii_case(login) {
        "OWNER"
    } else if state.find_permission(repository, login).is_some() {
        "COLLABORATOR"
    } else {
        "NONE"
    }
}

/// The App, for objects that its account created.
fn via_app(state: &GithubState, login: &str) -> Value {
    if login == state.app.bot() { app(state) } else { Value::Null }
}

/// The web path of an issue or pull request.
pub(super) fn issue_web_url(state: &GithubState, repository: &Repository, issue: &Issue) -> String {
    let kind = if issue.pull.is_some() { "pull" } else { "issues" };
    format!("{}/{kind}/{}", web_url(state, repository), issue.number)
}

/// An issue, or the issue view of a pull request.
pub(super) fn issue(state: &GithubState, repository: &Repository, issue: &Issue) -> Value {
    let repository_url = api_url(state, repository);
    let api = format!("{repository_url}/issues/{}", issue.number);
    let html = issue_web_url(state, repository, issue);
    let labels: Vec<_> = issue.labels.iter().map(|name| label(state, repository, name)).collect();
    let assignees: Vec<_> = issue.assignees.iter().map(|login| account(state, login)).collect();
    let mut value = json!({
        "url": api, "repository_url": repository_url, "labels_url": format!("{api}/labels{{/name}}"),
        "comments_url": format!("{api}/comments"), "events_url": format!("{api}/events"),
        "html_url": html, "id": issue.id, "node_id": node_id("I", issue.id),
        "number": issue.number, "title": issue.title, "user": account(state, &issue.author),
        "labels": labels, "state": if issue.open { "open" } else { "closed" }, "locked": false,
        "assignees": assignees, "milestone": null, "comments": issue.comments.len(),
        "created_at": time(issue.created_at), "updated_at": time(issue.updated_at),
        "closed_at": issue.closed_at.map(time),
        "author_association": association(state, repository, &issue.author),
        "active_lock_reason": null, "body": issue.body, "reactions": reactions(&api, &[]),
        "sub_issues_summary": { "total": 0, "completed": 0, "percent_completed": 0 },
        "issue_dependencies_summary":
            { "blocked_by": 0, "total_blocked_by": 0, "blocking": 0, "total_blocking": 0 },
        "timeline_url": format!("{api}/timeline"),
        "performed_via_github_app": via_app(state, &issue.author),
        "state_reason": if issue.open { Value::Null } else { json!("completed") },
    });
    if let Some(pull) = &issue.pull {
        value["draft"] = json!(pull.draft);
        value["pull_request"] = json!({
            "url": format!("{repository_url}/pulls/{}", issue.number), "html_url": html,
            "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"), "merged_at": null,
        });
    }
    value
}

/// A comment on an issue or pull request.
pub(super) fn comment(
    state: &GithubState,
    repository: &Repository,
    issue: &Issue,
    comment: &Comment,
) -> Value {
    let api = format!("{}/issues/comments/{}", api_url(state, repository), comment.id);
    let html = issue_web_url(state, repository, issue);
    json!({
        "url": api, "html_url": format!("{html}#issuecomment-{}", comment.id),
        "issue_url": format!("{}/issues/{}", api_url(state, repository), issue.number),
        "id": comment.id, "node_id": node_id("IC", comment.id), "user": account(state, &comment.author),
        "created_at": time(comment.created_at), "updated_at": time(comment.updated_at),
        "body": comment.body, "author_association": association(state, repository, &comment.author),
        "pin": null, "reactions": reactions(&api, &comment.reactions),
        "performed_via_github_app": via_app(state, &comment.author),
    })
}

/// The data of a pull request that come from git.
#[derive(Clone, Debug, Default)]
pub(super) struct PullFacts {
    pub(super) head_sha: String,
    pub(super) base_sha: String,
    pub(super) commits: usize,
    pub(super) changed_files: usize,
    pub(super) additions: u64,
    pub(super) deletions: u64,
}

/// A pull request.
pub(super) fn pull(state: &GithubState, repo: &Repository, issue: &Issue, facts: &PullFacts) -> Value {
    let Some(part) = &issue.pull else { return Value::Null };
    let as_issue = self::issue(state, repo, issue);
    let repository_url = api_url(state, repo);
    let api = format!("{repository_url}/pulls/{}", issue.number);
    let html = issue_web_url(state, repo, issue);
    let side = |branch: &str, sha: &str| {
        json!({
            "label": format!("{}:{branch}", repo.owner), "ref": branch, "sha": sha,
            "user": account(state, &repo.owner), "repo": repository(state, repo),
        })
    };
    let link = |path: String| json!({ "href": path });
    let issue_url = format!("{repository_url}/issues/{}", issue.number);
    let reviewers: Vec<_> = part.reviewers.iter().map(|login| account(state, login)).collect();
    let mut value = json!({
        "url": api, "id": issue.id, "node_id": node_id("PR", issue.id), "html_url": html,
        "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"), "issue_url": issue_url,
        "merged_at": null, "requested_reviewers": reviewers, "requested_teams": [], "draft": part.draft,
        "commits_url": format!("{api}/commits"), "review_comments_url": format!("{api}/comments"),
        "review_comment_url": format!("{repository_url}/pulls/comments{{/number}}"),
        "comments_url": format!("{issue_url}/comments"),
        "statuses_url": format!("{repository_url}/statuses/{}", facts.head_sha),
        "head": side(&part.head, &facts.head_sha), "base": side(&part.base, &facts.base_sha),
        "_links": {
            "self": link(api.clone()), "html": link(html), "issue": link(issue_url.clone()),
            "comments": link(format!("{issue_url}/comments")),
            "review_comments": link(format!("{api}/comments")),
            "review_comment": link(format!("{repository_url}/pulls/comments{{/number}}")),
            "commits": link(format!("{api}/commits")),
            "statuses": link(format!("{repository_url}/statuses/{}", facts.head_sha)),
        },
        "auto_merge": null, "merged": false, "mergeable": true, "rebaseable": true,
        "mergeable_state": if part.draft { "draft" } else { "clean" }, "merged_by": null,
        "review_comments": 0, "maintainer_can_modify": false, "commits": facts.commits,
        "additions": facts.additions, "deletions": facts.deletions, "changed_files": facts.changed_files,
    });
    for key in [
        "number",
        "state",
        "locked",
        "title",
        "user",
        "body",
        "created_at",
        "updated_at",
        "closed_at",
        "assignees",
        "labels",
        "milestone",
        "author_association",
        "active_lock_reason",
        "comments",
    ] {
        value[key] = as_issue[key].clone();
    }
    value
}

fn permissions(permissions: &std::collections::BTreeMap<String, Access>) -> Value {
    json!(permissions)
}

/// The App.
pub(super) fn app(state: &GithubState) -> Value {
    let app = &state.app;
    let name = app.slug.as_str();
    json!({
        "id": app.id, "client_id": app.client_id, "slug": app.slug, "node_id": node_id("A", app.id),
        "owner": account(state, "octo-apps"), "name": name,
        "description": null, "external_url": format!("{}/apps/{name}", state.base_url),
        "html_url": format!("{}/apps/{name}", state.base_url), "created_at": time(app.created_at),
        "updated_at": time(app.created_at), "permissions": permissions(&app.permissions),
        "events": app.events,
    })
}

/// An installation.
pub(super) fn installation(state: &GithubState, installation: &Installation) -> Value {
    let (base, id) = (&state.base_url, installation.id);
    let account = account(state, &installation.account);
    let selection = match installation.selection {
        Selection::All => "all",
        Selection::Selected(_) => "selected",
    };
    json!({
        "id": id, "client_id": state.app.client_id, "target_id": account["id"], "target_type": account["type"],
        "account": account, "repository_selection": selection,
        "access_tokens_url": format!("{base}/app/installations/{id}/access_tokens"),
        "repositories_url": format!("{base}/installation/repositories"),
        "html_url": format!("{base}/settings/installations/{id}"),
        "app_id": state.app.id, "app_slug": state.app.slug,
        "permissions": permissions(&installation.permissions), "events": state.app.events,
        "created_at": time(installation.created_at), "updated_at": time(installation.created_at),
        "single_file_name": null, "has_multiple_single_files": false, "single_file_paths": [],
        "suspended_by": null, "suspended_at": installation.suspended_at.map(time),
    })
}

/// A delivery in the App's list.
pub(super) fn delivery(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "guid": delivery.guid,
        "delivered_at": delivery.delivered_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "redelivery": delivery.redelivery, "duration": delivery.duration.as_secs_f64(),
        "status": delivery.status_text(), "status_code": delivery.status.unwrap_or(0),
        "event": delivery.event, "action": delivery.action,
        "installation_id": delivery.installation_id, "repository_id": delivery.repository_id.map(|id| id.0),
        "throttled_at": null,
    })
}
