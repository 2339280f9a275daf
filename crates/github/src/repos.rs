//! Repositories: permissions, branches, commits and files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use domain::ids::{RepositoryId, RepositoryName};
use serde::Deserialize;
use serde_json::Value;

use super::error::{Error, Kind, says};
use super::installation::Installation;
use super::request::Request;

/// The maximum size of a file that is read: GitHub's limit for content in JSON.
const FILE_LIMIT: usize = 1024 * 1024;

/// A person's permission in a repository, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// None, or the person is unknown to GitHub.
    None,
    /// Read.
    Read,
    /// Read and triage issues.
    Triage,
    /// Push.
    Write,
    /// Push and manage the repository.
    Maintain,
    /// Full access.
    Admin,
}

impl Permission {
    /// Returns whether this permission includes push, which commands to Porter require (main-spec §5).
    pub fn may_push(self) -> bool {
        self >= Self::Write
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "admin" => Self::Admin,
            "maintain" => Self::Maintain,
            // `push` and `pull` are GitHub's names for these two levels in the API that grants them.
            "write" | "push" => Self::Write,
            "triage" => Self::Triage,
            "read" | "pull" => Self::Read,
            "none" => Self::None,
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
struct PermissionBody {
    #[serde(default)]
    permission: Option<String>,
    #[serde(default)]
    role_name: Option<String>,
}

impl PermissionBody {
    /// Combines both fields. `permission` has four levels (maintain appears as write, triage as read). `role_name`
    /// is more precise, but may be a custom role of an organization, which only `permission` can rank.
    fn rank(&self) -> Permission {
        let named = |name: &Option<String>| name.as_deref().and_then(Permission::from_name);
        match (named(&self.permission), named(&self.role_name)) {
            (Some(Permission::Write), Some(Permission::Maintain)) => Permission::Maintain,
            (Some(Permission::Read), Some(Permission::Triage)) => Permission::Triage,
            (Some(permission), _) => permission,
            (None, Some(role)) => role,
            (None, None) => Permission::None,
        }
    }
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// GitHub's id, which does not change on a rename.
    pub id: RepositoryId,
    /// The owner's current login.
    pub owner: String,
    /// The current name.
    pub name: String,
    /// The default branch.
    pub default_branch: String,
    /// Whether the repository is private.
    pub private: bool,
    /// Whether the repository is archived, i.e. read-only.
    pub archived: bool,
}

#[derive(Deserialize)]
struct RepositoryBody {
    id: RepositoryId,
    name: String,
    #[serde(default)]
    owner: Option<OwnerBody>,
    #[serde(default)]
    default_branch: Option<String>,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    archived: bool,
}

#[derive(Deserialize)]
struct OwnerBody {
    login: String,
}

/// A branch and the commit at its tip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The name, which differs from the requested one if the branch was renamed.
    pub name: String,
    /// The commit at its tip.
    pub sha: String,
}

#[derive(Deserialize)]
struct BranchBody {
    name: String,
    commit: ShaBody,
}

#[derive(Deserialize)]
struct ShaBody {
    sha: String,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its message.
    pub message: String,
    /// The commit time according to the committer's machine.
    pub committed_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct CommitBody {
    commit: CommitDetails,
}

#[derive(Deserialize)]
struct CommitDetails {
    #[serde(default)]
    message: String,
    #[serde(default)]
    committer: Option<Committer>,
}

#[derive(Deserialize)]
struct Committer {
    #[serde(default)]
    date: Option<DateTime<Utc>>,
}

impl From<CommitDetails> for Commit {
    fn from(details: CommitDetails) -> Self {
        Self { message: details.message, committed_at: details.committer.and_then(|by| by.date) }
    }
}

#[derive(Deserialize)]
struct ComparisonBody {
    ahead_by: u64,
}

#[derive(Deserialize)]
struct ContentBody {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    content: Option<String>,
}

impl Installation {
    /// Returns the permission of `login`: `GET /repos/{owner}/{repo}/collaborators/{username}/permission`.
    /// [`Permission::None`] if GitHub does not know the login (404). In a public repository everybody can read.
    pub async fn permission(&self, repo: &RepositoryName, login: &str) -> Result<Permission, Error> {
        let route = "/repos/{owner}/{repo}/collaborators/{username}/permission";
        let found: Option<PermissionBody> =
            self.find(&Request::get(route, &[&repo.owner, &repo.name, &login])?).await?;
        Ok(found.map_or(Permission::None, |body| body.rank()))
    }

    /// Returns the repository: `GET /repos/{owner}/{repo}`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the installation does not include it.
    pub async fn repository(&self, repo: &RepositoryName) -> Result<Repository, Error> {
        let body: RepositoryBody =
            self.load(&Request::get("/repos/{owner}/{repo}", &[&repo.owner, &repo.name])?).await?;
        Ok(Repository {
            id: body.id,
            owner: body.owner.map_or_else(|| repo.owner.clone(), |owner| owner.login),
            name: body.name,
            default_branch: body.default_branch.unwrap_or_else(|| "main".into()),
            private: body.private,
            archived: body.archived,
        })
    }

    /// Returns a branch by name, or `None` if it does not exist: `GET /repos/{owner}/{repo}/branches/{branch}`.
    pub async fn find_branch(&self, repo: &RepositoryName, branch: &str) -> Result<Option<Branch>, Error> {
        let route = "/repos/{owner}/{repo}/branches/{branch}";
        let found: Option<BranchBody> =
            self.find(&Request::get(route, &[&repo.owner, &repo.name, &branch])?).await?;
        Ok(found.map(|body| Branch { name: body.name, sha: body.commit.sha }))
    }

    /// Returns the commit that `git_ref` (branch, tag or hash) points to: `GET /repos/{owner}/{repo}/commits/{ref}`.
    /// `None` if there is none, which GitHub reports as 404, 422, or 409 in an empty repository.
    pub async fn find_commit(&self, repo: &RepositoryName, git_ref: &str) -> Result<Option<Commit>, Error> {
        let route = "/repos/{owner}/{repo}/commits/{ref}";
        // Only the commit itself is read, so one changed file is requested instead of all.
        let request = Request::get(route, &[&repo.owner, &repo.name, &git_ref])?.query("per_page", 1);
        match self.find::<CommitBody>(&request).await {
            Ok(found) => Ok(found.map(|body| body.commit.into())),
            Err(Error { kind: Kind::Invalid, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns how many commits of `head` are missing in `base`: `GET /repos/{owner}/{repo}/compare/{basehead}`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if one of the two does not exist.
    pub async fn commits_ahead(&self, repo: &RepositoryName, base: &str, head: &str) -> Result<u64, Error> {
        let route = "/repos/{owner}/{repo}/compare/{basehead}";
        let range = format!("{base}...{head}");
        let request = Request::get(route, &[&repo.owner, &repo.name, &range])?.query("per_page", 1);
        Ok(self.load::<ComparisonBody>(&request).await?.ahead_by)
    }

    /// Returns a text file at `git_ref`: `GET /repos/{owner}/{repo}/contents/{path}`. `None` if it does not exist,
    /// exceeds 1 MiB, is not a file (a directory, submodule or symbolic link), or is not UTF-8.
    pub async fn find_file(
        &self,
        repo: &RepositoryName,
        path: &str,
        git_ref: &str,
    ) -> Result<Option<String>, Error> {
        let route = "/repos/{owner}/{repo}/contents/{path}";
        let request = Request::get(route, &[&repo.owner, &repo.name, &path])?.query("ref", git_ref);
        match self.find::<Value>(&request).await {
            Ok(found) => Ok(found.and_then(text)),
            // Above 100 MB GitHub responds with an error instead of omitting the content.
            Err(Error { kind: Kind::Forbidden, message, .. }) if says(&message, "too_large") => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Extracts the text from a contents response. A directory is an array, and a large file has encoding `none`.
fn text(answer: Value) -> Option<String> {
    let body: ContentBody = serde_json::from_value(answer).ok()?;
    if body.kind.is_some_and(|kind| kind != "file") || body.encoding.as_deref() != Some("base64") {
        return None;
    }
    let mut encoded = body.content?;
    encoded.retain(|c| !c.is_ascii_whitespace());
    let bytes = STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() <= FILE_LIMIT)?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fake::{Fake, reply};
    use super::*;

    /// Starts a fake that gives every repository call the same response.
    async fn answering(status: u16, body: Value) -> Fake {
        Fake::start(move |seen| seen.path.starts_with("/repos").then(|| reply(status, body.clone()))).await
    }

    #[test]
    fn the_role_refines_the_permission_and_never_raises_it() {
        use Permission::*;
        for (permission, role_name, wanted) in [
            (Some("admin"), Some("admin"), Admin),
            (Some("write"), Some("maintain"), Maintain),
            (Some("write"), Some("write"), Write),
            (Some("read"), Some("triage"), Triage),
            (Some("read"), Some("read"), Read),
            (Some("none"), Option::None, None),
            // A custom role of an organization, a stand-in without roles, and one with roles only.
            (Some("write"), Some("release-captain"), Write),
            (Some("read"), Some("admin"), Read),
            (Some("admin"), Option::None, Admin),
            (Option::None, Some("maintain"), Maintain),
            (Some("owner"), Some("boss"), None),
            (Option::None, Option::None, None),
        ] {
            let body = PermissionBody {
                permission: permission.map(str::to_owned),
                role_name: role_name.map(str::to_owned),
            };
            assert_eq!(body.rank(), wanted, "{permission:?} {role_name:?}");
            assert_eq!(wanted.may_push(), matches!(wanted, Admin | Maintain | Write));
        }
    }

    #[tokio::test]
    async fn a_person_unknown_to_github_has_no_permission() {
        let fake = answering(404, json!({"message": "ana is not a user"})).await;
        let seen = fake
            .installation()
            .permission(&RepositoryName::new("acme", "web"), "ana")
            .await
            .expect("a permission");
        assert_eq!(seen, Permission::None);
        assert_eq!(fake.lines(), ["GET /repos/acme/web/collaborators/ana/permission"]);
    }

    #[tokio::test]
    async fn a_repository_needs_only_its_id_and_name() {
        let fake = answering(200, json!({"id": 9, "name": "web"})).await;
        let seen =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect("a repository");
        let wanted = Repository {
            id: RepositoryId::new(9),
            owner: "acme".into(),
            name: "web".into(),
            default_branch: "main".into(),
            private: false,
            archived: false,
        };
        assert_eq!(seen, wanted);
    }

    #[tokio::test]
    async fn a_branch_with_slashes_is_one_path_segment() {
        let fake = answering(200, json!({"name": "fix/a b", "commit": {"sha": "c0ffee", "url": "x"}})).await;
        let seen = fake
            .installation()
            .find_branch(&RepositoryName::new("acme", "web"), "fix/a b")
            .await
            .expect("an answer");
        assert_eq!(seen, Some(Branch { name: "fix/a b".into(), sha: "c0ffee".into() }));
        assert_eq!(fake.lines(), ["GET /repos/acme/web/branches/fix%2Fa%20b"]);
    }

    #[tokio::test]
    async fn every_status_for_a_missing_resource_is_none() {
        for status in [404, 409, 422] {
            let fake = answering(status, json!({"message": "No commit found for SHA: nope"})).await;
            let seen = fake
                .installation()
                .find_commit(&RepositoryName::new("acme", "web"), "nope")
                .await
                .expect("an answer");
            assert_eq!(seen, None, "{status}");
        }
        let fake = answering(404, json!({"message": "Branch not found"})).await;
        assert_eq!(
            fake.installation()
                .find_branch(&RepositoryName::new("acme", "web"), "nope")
                .await
                .expect("an answer"),
            None
        );
    }

    #[tokio::test]
    async fn a_commit_includes_its_message() {
        let fake =
            answering(200, json!({"sha": "c0ffee", "commit": {"message": "Mend it\n\nAll of it."}})).await;
        let seen =
            fake.installation().find_commit(&RepositoryName::new("acme", "web"), "porter/task_1").await;
        let message = seen.expect("an answer").map(|commit| commit.message);
        assert_eq!(message.as_deref(), Some("Mend it\n\nAll of it."));
        assert_eq!(fake.lines(), ["GET /repos/acme/web/commits/porter%2Ftask_1?per_page=1"]);
    }

    #[tokio::test]
    async fn commits_ahead_are_counted() {
        let fake = answering(200, json!({"ahead_by": 3, "behind_by": 1, "commits": [], "files": []})).await;
        let seen = fake
            .installation()
            .commits_ahead(&RepositoryName::new("acme", "web"), "main", "porter/task_1")
            .await;
        assert_eq!(seen.expect("a count"), 3);
        assert_eq!(fake.lines(), ["GET /repos/acme/web/compare/main...porter%2Ftask_1?per_page=1"]);
    }

    #[tokio::test]
    async fn a_file_is_decoded_from_multi_line_base64() {
        let fake = answering(
            200,
            json!({"type": "file", "encoding": "base64", "size": 11, "content": "aGVsbG8g\nd29ybGQ=\n"}),
        )
        .await;
        let seen = fake
            .installation()
            .find_file(&RepositoryName::new("acme", "web"), "docs/AGENTS.md", "fix/a")
            .await;
        assert_eq!(seen.expect("an answer").as_deref(), Some("hello world"));
        assert_eq!(fake.lines(), ["GET /repos/acme/web/contents/docs/AGENTS.md?ref=fix%2Fa"]);
    }

    #[tokio::test]
    async fn content_that_is_not_a_text_file_is_none() {
        let too_long = STANDARD.encode(vec![b'x'; FILE_LIMIT + 1]);
        for (status, body) in [
            (404, json!({"message": "Not Found"})),
            (200, json!([{"type": "file", "name": "a"}])),
            (200, json!({"type": "submodule", "submodule_git_url": "x"})),
            (200, json!({"type": "symlink", "target": "b", "encoding": "base64", "content": "Yg=="})),
            (200, json!({"type": "file", "encoding": "none", "content": "", "size": 2_000_000})),
            (200, json!({"type": "file", "encoding": "base64", "content": "//79"})),
            (200, json!({"type": "file", "encoding": "base64", "content": "not base64"})),
            (200, json!({"type": "file", "encoding": "base64", "content": too_long})),
            (
                403,
                json!({"message": "too big", "errors": [{"resource": "Blob", "field": "data", "code": "too_large"}]}),
            ),
        ] {
            let fake = answering(status, body).await;
            let seen =
                fake.installation().find_file(&RepositoryName::new("acme", "web"), "AGENTS.md", "main").await;
            assert_eq!(seen.expect("an answer"), None, "{status}");
        }
    }
}
