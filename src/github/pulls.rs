//! Pull requests.

use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::error::{Error, says};
use super::installation::Installation;
use super::request::Request;

/// A pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its number in the repository.
    pub number: i64,
    /// Its page.
    pub html_url: String,
    /// Open or closed.
    pub state: State,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The branch it brings.
    pub head_ref: String,
    /// The repository of that branch, `owner/name`; nothing when it was deleted.
    pub head_repo: Option<String>,
    /// The commit at the tip of that branch.
    pub head_sha: String,
    /// The branch it goes to.
    pub base_ref: String,
}

/// A pull request to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPull {
    /// The title.
    pub title: String,
    /// The body in Markdown.
    pub body: String,
    /// The branch it brings, of the same repository.
    pub head: String,
    /// The branch it goes to.
    pub base: String,
    /// Whether it should be a draft, where the repository's plan has drafts.
    pub draft: bool,
}

#[derive(Deserialize)]
struct PullBody {
    number: i64,
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
    /// Whether it comes from a fork; one whose repository is unknown is taken as the repository's own.
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
    /// A pull request by its number: `GET /repos/{owner}/{repo}/pulls/{pull_number}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none; others as every call.
    pub async fn pull(&self, owner: &str, repo: &str, number: i64) -> Result<Pull, Error> {
        let route = "/repos/{owner}/{repo}/pulls/{pull_number}";
        Ok(self.load::<PullBody>(&Request::get(route, &[&owner, &repo, &number])?).await?.into())
    }

    /// The pull requests, open and closed, that bring this branch of this very repository, newest first:
    /// `GET /repos/{owner}/{repo}/pulls`, all pages.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_pulls_by_head(
        &self,
        owner: &str,
        repo: &str,
        branch: &str,
    ) -> Result<Vec<Pull>, Error> {
        let request = Request::get("/repos/{owner}/{repo}/pulls", &[&owner, &repo])?
            .query("head", format_args!("{owner}:{branch}"))
            .query("state", "all");
        let bodies: Vec<PullBody> = self.list(request).await?;
        // GitHub drops the filter when it cannot read it, and then lists everything, other people's forks too.
        Ok(bodies
            .into_iter()
            .filter(|pull| pull.head.branch == branch && !pull.is_from_fork())
            .map(Pull::from)
            .collect())
    }

    /// Opens a pull request: `POST /repos/{owner}/{repo}/pulls`. Where drafts do not exist (private
    /// repositories of free plans) it is opened ready for review.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the branch has an open one: adopt that; [`Error::NothingToMerge`] when
    /// the branch adds no commit; others as every call.
    pub async fn create_pull(&self, owner: &str, repo: &str, new: &NewPull) -> Result<Pull, Error> {
        match self.open_pull(owner, repo, new, new.draft).await {
            Err(Error::Invalid { message, .. })
                if new.draft && says(&message, "draft") && says(&message, "not supported") =>
            {
                self.open_pull(owner, repo, new, false).await
            }
            result => result,
        }
        .map_err(Error::into_pull_refusal)
    }

    async fn open_pull(&self, owner: &str, repo: &str, new: &NewPull, draft: bool) -> Result<Pull, Error> {
        let NewPull { title, body, head, base, .. } = new;
        let request = Request::post(
            "/repos/{owner}/{repo}/pulls",
            &[&owner, &repo],
            json!({"title": title, "body": body, "head": head, "base": base, "draft": draft}),
        )?;
        Ok(self.load::<PullBody>(&request).await?.into())
    }

    /// Asks somebody for a review: `POST /repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when GitHub does not let this person review it (not a collaborator, or the
    /// author): assign them instead; others as every call.
    pub async fn request_reviewer(
        &self,
        owner: &str,
        repo: &str,
        pull: i64,
        login: &str,
    ) -> Result<(), Error> {
        let route = "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers";
        let body: Value = json!({"reviewers": [login]});
        self.send(&Request::post(route, &[&owner, &repo, &pull], body)?).await.map(drop)
    }
}
