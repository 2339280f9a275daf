//! Routes of a repository: metadata, permissions, branches, comparisons, files.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::{Access, Caller};
use super::super::git::{Change, Commit, Entry, Git};
use super::super::state::{Permission, Repository};
use super::super::strict::{Query, Reject};
use super::super::{Shared, payloads};

type Shown = Result<Json<Value>, Reject>;

const METADATA: &[(&str, Access)] = &[("metadata", Access::Read)];
const CONTENTS: &[(&str, Access)] = &[("contents", Access::Read)];

pub(super) async fn show(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
) -> Shown {
    let state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), METADATA)?;
    Ok(Json(payloads::repository(&state, repository)))
}

pub(super) async fn permission(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, login)): Path<(String, String, String)>,
) -> Shown {
    let state = shared.state();
    let repository = caller.reach(&state, (&owner, &name), METADATA)?;
    if state.find_account(&login).is_none() {
        return Err(Reject::new(StatusCode::NOT_FOUND, format!("{login} is not a user")));
    }
    let held = state.find_permission(repository, &login);
    let mut user = payloads::account(&state, &login);
    user["role_name"] = json!(held.map_or("none", Permission::role_name));
    Ok(Json(json!({
        "permission": held.map_or("none", Permission::legacy_name),
        "role_name": held.map_or("none", Permission::role_name),
        "user": user,
    })))
}

/// The repository with its URL, if the caller has permission to read its files.
fn readable(
    shared: &Shared,
    caller: &Caller,
    (owner, name): (&str, &str),
) -> Result<(Repository, String), Reject> {
    let state = shared.state();
    let repository = caller.reach(&state, (owner, name), CONTENTS)?.clone();
    let url = format!("{}/repos/{}", state.base_url, repository.full_name());
    Ok((repository, url))
}

pub(super) async fn branch(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, branch)): Path<(String, String, String)>,
) -> Shown {
    let (repository, url) = readable(&shared, &caller, (&owner, &name))?;
    let missing = || Reject::new(StatusCode::NOT_FOUND, "Branch not found");
    let sha = repository.git.find_branch(&branch).await?.ok_or_else(missing)?;
    let commit = only_commit(&repository.git, &url, &sha).await?;
    Ok(Json(json!({
        "name": branch, "commit": commit, "protected": false,
        "_links": { "self": format!("{url}/branches/{branch}"), "html": format!("{url}/tree/{branch}") },
        "protection": { "enabled": false }, "protection_url": format!("{url}/branches/{branch}/protection"),
    })))
}

pub(super) async fn reference(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, reference)): Path<(String, String, String)>,
) -> Shown {
    let (repository, url) = readable(&shared, &caller, (&owner, &name))?;
    let full = format!("refs/{reference}");
    let sha = repository.git.find_commit(&full).await?.ok_or_else(Reject::not_found)?;
    Ok(Json(json!({
        "ref": full, "node_id": "REF_kwDO", "url": format!("{url}/git/{full}"),
        "object": { "type": "commit", "sha": sha, "url": format!("{url}/git/commits/{sha}") },
    })))
}

pub(super) async fn commit(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, reference)): Path<(String, String, String)>,
) -> Shown {
    let (repository, url) = readable(&shared, &caller, (&owner, &name))?;
    let none = || Reject::unprocessable(format!("No commit found for SHA: {reference}"));
    let sha = repository.git.find_commit(&reference).await?.ok_or_else(none)?;
    Ok(Json(only_commit(&repository.git, &url, &sha).await?))
}

pub(super) async fn compare(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, basehead)): Path<(String, String, String)>,
) -> Shown {
    let (repository, url) = readable(&shared, &caller, (&owner, &name))?;
    let git = &repository.git;
    let (base, head) = basehead.split_once("...").ok_or_else(Reject::not_found)?;
    // `owner:branch` names a branch of a fork. There are no forks here.
    let own = |side: &str| side.rsplit(':').next().unwrap_or_default().to_owned();
    let base = git.find_commit(&own(base)).await?.ok_or_else(Reject::not_found)?;
    let head = git.find_commit(&own(head)).await?.ok_or_else(Reject::not_found)?;
    let fork = git.find_merge_base(&base, &head).await?.ok_or_else(Reject::not_found)?;
    let ahead = git.commits(&format!("{base}..{head}"), None).await?;
    let behind = git.commits(&format!("{head}..{base}"), None).await?.len();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let changes = git.changes(&fork, &head).await?;
    Ok(Json(json!({
        "url": format!("{url}/compare/{basehead}"), "html_url": format!("{url}/compare/{basehead}"),
        "permalink_url": format!("{url}/compare/{basehead}"), "diff_url": format!("{url}/compare/{basehead}.diff"),
        "patch_url": format!("{url}/compare/{basehead}.patch"),
        "base_commit": only_commit(git, &url, &base).await?,
        "merge_base_commit": only_commit(git, &url, &fork).await?,
        "status": status, "ahead_by": ahead.len(), "behind_by": behind, "total_commits": ahead.len(),
        "commits": ahead.iter().map(|commit| show_commit(&url, commit)).collect::<Vec<_>>(),
        "files": changes.iter().map(|change| show_change(&url, &head, change)).collect::<Vec<_>>(),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    #[serde(rename = "ref")]
    reference: Option<String>,
}

pub(super) async fn contents(
    caller: Caller,
    State(shared): State<Arc<Shared>>,
    Path((owner, name, path)): Path<(String, String, String)>,
    Query(at): Query<At>,
) -> Shown {
    let (repository, url) = readable(&shared, &caller, (&owner, &name))?;
    let reference = at.reference.as_deref().unwrap_or(&repository.default_branch);
    let missing = || Reject::new(StatusCode::NOT_FOUND, format!("No commit found for the ref {reference}"));
    let commit = repository.git.find_commit(reference).await?.ok_or_else(missing)?;
    let item = |kind: &str, sha: &str, path: &str, size: usize| {
        let url = format!("{url}/contents/{path}?ref={reference}");
        json!({
            "name": path.rsplit('/').next(), "path": path, "sha": sha, "size": size, "type": kind, "url": url,
            "html_url": url, "git_url": url, "download_url": null,
            "_links": { "self": url, "git": url, "html": url },
        })
    };
    match repository.git.find_entry(&commit, &path).await?.ok_or_else(Reject::not_found)? {
        Entry::File { sha, content } => {
            let mut file = item("file", &sha, &path, content.len());
            // GitHub wraps base64 at 60 characters.
            let encoded = STANDARD.encode(&content);
            let lines = encoded.as_bytes().chunks(60).map(String::from_utf8_lossy);
            file["content"] = json!(lines.flat_map(|line| [line, "\n".into()]).collect::<String>());
            file["encoding"] = json!("base64");
            Ok(Json(file))
        }
        Entry::Folder(children) => {
            let name = |kind: &str| if kind == "tree" { "dir" } else { "file" };
            Ok(Json(children.iter().map(|(kind, sha, path)| item(name(kind), sha, path, 0)).collect()))
        }
    }
}

async fn only_commit(git: &Git, url: &str, sha: &str) -> Result<Value, Reject> {
    let commits = git.commits(sha, Some(1)).await?;
    Ok(commits.first().map(|commit| show_commit(url, commit)).unwrap_or_default())
}

fn show_commit(url: &str, commit: &Commit) -> Value {
    let person = json!({ "name": commit.author, "email": commit.email, "date": commit.date });
    let sha = &commit.sha;
    let parents: Vec<_> = commit
        .parents
        .iter()
        .map(|sha| json!({ "sha": sha, "url": format!("{url}/commits/{sha}"), "html_url": format!("{url}/commit/{sha}") }))
        .collect();
    json!({
        "sha": sha, "node_id": "C_kwDO", "url": format!("{url}/commits/{sha}"),
        "html_url": format!("{url}/commit/{sha}"), "comments_url": format!("{url}/commits/{sha}/comments"),
        "commit": {
            "author": person, "committer": person, "message": commit.message,
            "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
            "url": format!("{url}/git/commits/{sha}"), "comment_count": 0,
            "verification": { "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null },
        },
        "author": null, "committer": null, "parents": parents,
    })
}

fn show_change(url: &str, head: &str, change: &Change) -> Value {
    let address = format!("{url}/contents/{}?ref={head}", change.path);
    json!({
        "sha": head, "filename": change.path, "status": change.status, "additions": change.additions,
        "deletions": change.deletions, "changes": change.additions + change.deletions,
        "blob_url": address, "raw_url": address, "contents_url": address,
    })
}
