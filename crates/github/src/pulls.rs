//! Pull requests.

use domain::ids::{IssueNumber, RepositoryName};
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::error::{Error, Kind, says};
use super::installation::Installation;
use super::request::Request;

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number in the repository.
    pub number: IssueNumber,
    /// The URL of its page.
    pub html_url: String,
    /// Open or closed.
    pub state: State,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The head branch.
    pub head_ref: String,
    /// The repository of the head branch as `owner/name`; `None` if it was deleted.
    pub head_repo: Option<String>,
    /// The commit at the tip of the head branch.
    pub head_sha: String,
    /// The base branch.
    pub base_ref: String,
}

/// A pull request to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPull {
    /// The title.
    pub title: String,
    /// The body in Markdown.
    pub body: String,
    /// The head branch, in the same repository.
    pub head: String,
    /// The base branch.
    pub base: String,
    /// Whether to open it as a draft, if the repository's plan supports drafts.
    pub draft: bool,
}

#[derive(Deserialize)]
struct PullBody {
    number: IssueNumber,
    #[serde(default)]
    html_url: String,
    state: State,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    merged_at: Option<String>,
    head: EndBody,
    base: EndBody,
}

#[derive(Deserialize)]
struct EndBody {
    #[serde(rename = "ref")]
    branch: String,
    #[serde(default)]
    sha: String,
    #[serde(default)]
    repo: Option<EndRepositoryBody>,
}

#[derive(Deserialize)]
struct EndRepositoryBody {
    full_name: String,
}

impl PullBody {
    /// Returns whether it comes from a fork. A deleted head repository counts as the repository itself.
    fn is_from_fork(&self) -> bool {
        match (&self.head.repo, &self.base.repo) {
            (Some(head), Some(base)) => !head.full_name.eq_ignore_ascii_case(&base.full_name),
            _ => false,
        }
    }
}

impl From<PullBody> for Pull {
    fn from(body: PullBody) -> Self {
        Self {
            number: body.number,
            html_url: body.html_url,
            state: body.state,
            draft: body.draft.unwrap_or_default(),
            merged: body.merged_at.is_some(),
            head_ref: body.head.branch,
            head_repo: body.head.repo.map(|repo| repo.full_name),
            head_sha: body.head.sha,
            base_ref: body.base.branch,
        }
    }
}

impl Installation {
    /// Returns a pull request by number: `GET /repos/{owner}/{repo}/pulls/{pull_number}`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it does not exist.
    pub async fn pull(&self, repo: &RepositoryName, number: IssueNumber) -> Result<Pull, Error> {
        let route = "/repos/{owner}/{repo}/pulls/{pull_number}";
        Ok(self.load::<PullBody>(&Request::get(route, &[&repo.owner, &repo.name, &number])?).await?.into())
    }

    /// Returns the open and closed pull requests whose head is this branch of this repository, newest first:
    /// `GET /repos/{owner}/{repo}/pulls`, all pages.
    pub async fn list_pulls_by_head(&self, repo: &RepositoryName, branch: &str) -> Result<Vec<Pull>, Error> {
        let request = Request::get("/repos/{owner}/{repo}/pulls", &[&repo.owner, &repo.name])?
            .query("head", format_args!("{}:{branch}", repo.owner))
            .query("state", "all");
        let bodies: Vec<PullBody> = self.list(request).await?;
        // GitHub ignores a filter that it cannot parse and then lists all pull requests, including those of forks.
        Ok(bodies
            .into_iter()
            .filter(|pull| pull.head.branch == branch && !pull.is_from_fork())
            .map(Pull::from)
            .collect())
    }

    /// Opens a pull request: `POST /repos/{owner}/{repo}/pulls`. If drafts are not supported (private
    /// repositories on free plans), it is opened as ready for review.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] if the branch has an open pull request, which the caller then uses;
    /// [`Kind::NothingToMerge`] if the branch adds no commit.
    pub async fn create_pull(&self, repo: &RepositoryName, new: &NewPull) -> Result<Pull, Error> {
        match self.open_pull(repo, new, new.draft).await {
            Err(Error { kind: Kind::Invalid, message, .. })
                if new.draft && says(&message, "draft") && says(&message, "not supported") =>
            {
                self.open_pull(repo, new, false).await
            }
            result => result,
        }
        .map_err(Error::into_pull_refusal)
    }

    async fn open_pull(&self, repo: &RepositoryName, new: &NewPull, draft: bool) -> Result<Pull, Error> {
        let NewPull { title, body, head, base, .. } = new;
        let request = Request::post(
            "/repos/{owner}/{repo}/pulls",
            &[&repo.owner, &repo.name],
            json!({"title": title, "body": body, "head": head, "base": base, "draft": draft}),
        )?;
        Ok(self.load::<PullBody>(&request).await?.into())
    }

    /// Requests a review: `POST /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the person cannot review it (not a collaborator, or the author); the caller then
    /// assigns the person instead.
    pub async fn request_reviewer(
        &self,
        repo: &RepositoryName,
        pull: IssueNumber,
        login: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers";
        let body: Value = json!({"reviewers": [login]});
        self.send(&Request::post(route, &[&repo.owner, &repo.name, &pull], body)?).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, Seen, reply};
    use super::*;

    fn new_pull(draft: bool) -> NewPull {
        NewPull {
            title: "Mend it".into(),
            body: "Closes #4".into(),
            head: "porter/task_1".into(),
            base: "main".into(),
            draft,
        }
    }

    fn body(number: i64, head: &str, head_repo: Option<&str>) -> Value {
        json!({
            "number": number, "html_url": format!("https://x/{number}"), "state": "open", "draft": true,
            "head": {"ref": head, "sha": "c0ffee", "repo": head_repo.map(|name| json!({"full_name": name}))},
            "base": {"ref": "main", "repo": {"full_name": "acme/web"}},
        })
    }

    fn refusal(message: &str) -> Value {
        json!({"message": "Validation Failed", "errors": [
            {"resource": "PullRequest", "code": "custom", "message": message}
        ]})
    }

    async fn answering(answer: impl Fn(&Seen) -> (u16, Value) + Send + Sync + 'static) -> Fake {
        Fake::start(move |seen| {
            seen.path.starts_with("/repos").then(|| {
                let (status, body) = answer(seen);
                reply(status, body)
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_pull_request_is_read_with_head_and_base() {
        let fake = answering(|_| (200, body(5, "porter/task_1", Some("acme/web")))).await;
        let seen = fake
            .installation()
            .pull(&RepositoryName::new("acme", "web"), IssueNumber::new(5))
            .await
            .expect("a pull request");
        let wanted = Pull {
            number: IssueNumber::new(5),
            html_url: "https://x/5".into(),
            state: State::Open,
            draft: true,
            merged: false,
            head_ref: "porter/task_1".into(),
            head_repo: Some("acme/web".into()),
            head_sha: "c0ffee".into(),
            base_ref: "main".into(),
        };
        assert_eq!(seen, wanted);
    }

    #[tokio::test]
    async fn a_merged_pull_request_is_closed_and_merged() {
        let fake = answering(|_| {
            let mut merged = body(5, "b", None);
            merged["state"] = json!("closed");
            merged["merged_at"] = json!("2027-01-15T08:00:00Z");
            (200, merged)
        })
        .await;
        let seen = fake
            .installation()
            .pull(&RepositoryName::new("acme", "web"), IssueNumber::new(5))
            .await
            .expect("a pull request");
        assert_eq!((seen.state, seen.merged, seen.head_repo), (State::Closed, true, None));
    }

    #[tokio::test]
    async fn only_pull_requests_of_this_branch_and_repository_are_listed() {
        let fake = answering(|_| {
            let list = json!([
                body(1, "porter/task_1", Some("mallory/web")),
                body(2, "porter/task_1", Some("Acme/Web")),
                body(3, "other", Some("acme/web")),
                body(4, "porter/task_1", None),
            ]);
            (200, list)
        })
        .await;
        let seen = fake
            .installation()
            .list_pulls_by_head(&RepositoryName::new("acme", "web"), "porter/task_1")
            .await;
        let seen: Vec<_> = seen.expect("a list").iter().map(|pull| pull.number).collect();
        assert_eq!(seen, [2, 4].map(IssueNumber::new));
        assert_eq!(
            fake.lines(),
            ["GET /repos/acme/web/pulls?head=acme%3Aporter%2Ftask_1&state=all&per_page=100"]
        );
    }

    #[tokio::test]
    async fn a_pull_request_is_ready_for_review_if_drafts_are_not_supported() {
        let fake = answering(|seen| match seen.body["draft"] == json!(true) {
            true => (422, json!({"message": "Draft pull requests are not supported in this repository."})),
            false => (201, body(5, "porter/task_1", None)),
        })
        .await;
        let seen =
            fake.installation().create_pull(&RepositoryName::new("acme", "web"), &new_pull(true)).await;
        assert_eq!(seen.expect("a pull request").number, IssueNumber::new(5));
        let calls = fake.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(
            calls[1].body,
            json!({"title": "Mend it", "body": "Closes #4", "head": "porter/task_1", "base": "main", "draft": false})
        );
    }

    #[tokio::test]
    async fn rejections_that_a_caller_handles_have_their_own_kind() {
        let fake =
            answering(|_| (422, refusal("A pull request already exists for acme:porter/task_1."))).await;
        let seen =
            fake.installation().create_pull(&RepositoryName::new("acme", "web"), &new_pull(true)).await;
        assert!(matches!(seen, Err(Error { kind: Kind::AlreadyExists, .. })), "{seen:?}");
        let fake = answering(|_| (422, refusal("No commits between main and porter/task_1"))).await;
        let seen =
            fake.installation().create_pull(&RepositoryName::new("acme", "web"), &new_pull(true)).await;
        assert!(matches!(seen, Err(Error { kind: Kind::NothingToMerge, .. })), "{seen:?}");
        let fake = answering(|_| (422, refusal("head is invalid"))).await;
        let seen =
            fake.installation().create_pull(&RepositoryName::new("acme", "web"), &new_pull(true)).await;
        assert!(matches!(seen, Err(Error { kind: Kind::Invalid, .. })), "{seen:?}");
        assert_eq!(fake.calls().len(), 1, "only a rejected draft is retried");
    }

    #[tokio::test]
    async fn a_person_who_cannot_review_is_reported_as_invalid() {
        let fake =
            answering(|_| (422, json!({"message": "Reviews may only be requested from collaborators."})))
                .await;
        let seen = fake
            .installation()
            .request_reviewer(&RepositoryName::new("acme", "web"), IssueNumber::new(5), "ana")
            .await;
        assert!(matches!(seen, Err(Error { kind: Kind::Invalid, .. })), "{seen:?}");
        assert_eq!(fake.lines(), ["POST /repos/acme/web/pulls/5/requested_reviewers"]);
        assert_eq!(fake.calls()[0].body, json!({"reviewers": ["ana"]}));
    }
}
