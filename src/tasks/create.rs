//! Creates a task through the API, under the same rules as a mention in a comment. Unlike a webhook's sender, the
//! caller waits for the result, so this module may call GitHub.

use domain::ids::{IssueNumber, RepositoryName, UserId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::decision::{Rules, decide, may_ask, too_many_waiting};
use super::{Context, Error};
use db::idempotency::Remembered;
use db::users::User;
use domain::command::Run;
use domain::comment::Refusal;
use domain::settings::Settings;
use domain::task::{Issue, Repository, Request, Requester, Task, TaskId};

/// A validated request of the API.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The repository.
    pub repository: RepositoryName,
    /// The issue; `None` creates one.
    pub issue_number: Option<IssueNumber>,
    /// The agent, its options and additional instructions.
    pub run: Run,
}

/// Creates tasks for the API. Cheap to clone.
#[derive(Clone)]
pub struct Creation {
    context: Context,
    rules: Rules,
    locks: IdempotencyLocks,
}

/// Requests with an idempotency key that are in progress. A second request with the same key waits until the first
/// has stored its task. Only one process uses the database, so a lock in memory is sufficient.
#[derive(Clone, Default)]
struct IdempotencyLocks(Arc<Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>>);

/// The person and their idempotency key.
type Key = (UserId, String);

impl IdempotencyLocks {
    async fn lock(&self, key: Key) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let lock = locks.get(&key).and_then(Weak::upgrade).unwrap_or_default();
            locks.insert(key, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }
}

/// Why a task was not created.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules forbid the task.
    #[error("{}", .0.reason())]
    Refused(Refusal),
    /// The idempotency key was used for a different request.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// The issue does not exist or the request is invalid; the text explains it.
    #[error("{0}")]
    Invalid(String),
    /// Any other error.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<github::Error> for Failure {
    fn from(error: github::Error) -> Self {
        Self::Other(error.into())
    }
}

impl Creation {
    /// Returns task creation with these use cases.
    pub fn new(context: Context) -> Self {
        Self { rules: Rules::of(&context), context, locks: IdempotencyLocks::default() }
    }

    /// Creates a task for a signed-in person. A repeated `key` returns the task of the first request.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn create(
        &self,
        user: &User,
        wanted: &Wanted,
        key: Option<(&str, &str)>,
    ) -> Result<Task, Failure> {
        let Self { context, rules, locks } = self;
        let _lock = match key {
            Some((key, _)) => Some(locks.lock((user.github_id, key.to_owned())).await),
            None => None,
        };
        if let Some((key, digest)) = key {
            let mut read = context.store.read().await?;
            let known = db::idempotency::find(&mut read, user.github_id, key, context.now()).await?;
            if let Some(known) = known {
                return repeat(context, &known, digest).await;
            }
        }
        may_ask(&context.policy, &user.login).map_err(Failure::Refused)?;
        let request = look_up(context, user, wanted).await?;
        let now = context.now();
        let mut read = context.store.read().await?;
        let person = db::users::load_person(&mut read, user.github_id).await?;
        let waiting = too_many_waiting(&context.policy, &mut read, user.github_id, 0).await?;
        waiting.map_or(Ok(()), |refusal| Err(Failure::Refused(refusal)))?;
        drop(read);
        let settings = Settings::parse(person.settings.as_deref());
        let mut task =
            decide(&rules.about(&person, &settings), &request, &wanted.run, now).map_err(Failure::Refused)?;
        // The issue is created last, so that a refused request creates none.
        task.issue = find_or_make_issue(context, &request.repository, wanted).await?;

        let mut work = context.store.begin().await?;
        match work.insert(std::slice::from_ref(&task)).await {
            Ok(()) => {}
            Err(db::Error::Conflict) => {
                let active =
                    db::tasks::list_active_on_issue(&mut work, task.repository.id, task.issue.number).await?;
                let other = active.iter().find(|other| other.agent == task.agent).unwrap_or(&task);
                return Err(Failure::Refused(Refusal::TaskAlreadyActive {
                    task_url: context.policy.task_url(&other.id),
                    status: other.status,
                    agent: context.policy.agents.name_of(&other.agent).to_owned(),
                }));
            }
            Err(error) => return Err(error.into()),
        }
        if let Some((key, digest)) = key {
            let remembered = Remembered { request_digest: digest.to_owned(), task_id: task.id.to_string() };
            db::idempotency::insert(&mut work, user.github_id, key, &remembered, now).await?;
        }
        let id = task.id.clone();
        work.log(move || tracing::info!(task.id = %id, "a task was accepted through the API"));
        work.commit().await?;
        Ok(task)
    }
}

async fn repeat(context: &Context, known: &Remembered, digest: &str) -> Result<Task, Failure> {
    if known.request_digest != digest {
        return Err(Failure::KeyReused);
    }
    let id = TaskId::parse(&known.task_id).ok_or(Error::NotFound)?;
    Ok(context.load(&id).await?)
}

/// Reads from GitHub what a webhook would contain, except the issue.
async fn look_up(context: &Context, user: &User, wanted: &Wanted) -> Result<Request, Failure> {
    let repo = &wanted.repository;
    if let Some(agent) = &wanted.run.agent
        && context.policy.find_agent(agent).is_none()
    {
        return Err(Failure::Invalid(format!("there is no agent called {agent:?}")));
    }
    let Some(installation_id) = context.github.find_installation(repo).await? else {
        return Err(Failure::Refused(Refusal::MissingInstallation));
    };
    let suspended =
        db::installations::list_suspended(&mut *context.store.read().await?, &[installation_id]).await?;
    if !suspended.is_empty() {
        return Err(Failure::Refused(Refusal::MissingInstallation));
    }
    let github = context.github.installation(installation_id);
    let permission = github.permission(repo, &user.login).await?;
    if !permission.may_push() {
        return Err(Failure::Refused(Refusal::NotAllowed));
    }
    let repository = github.repository(repo).await?;
    Ok(Request {
        repository: Repository {
            id: repository.id,
            full_name: RepositoryName { owner: repository.owner, name: repository.name },
            default_branch: repository.default_branch,
            installation_id,
        },
        issue: Issue {
            number: wanted.issue_number.unwrap_or(IssueNumber::new(0)),
            title: String::new(),
            body: String::new(),
            url: String::new(),
            is_pull_request: false,
        },
        requester: Requester { id: user.github_id, login: user.login.clone() },
        comment_id: None,
    })
}

async fn find_or_make_issue(
    context: &Context,
    repository: &Repository,
    wanted: &Wanted,
) -> Result<Issue, Failure> {
    let repo = &repository.full_name;
    let github = context.github.installation(repository.installation_id);
    let Some(number) = wanted.issue_number else {
        let text = wanted.run.instructions.trim();
        let Some(title) = text.lines().next().filter(|title| !title.is_empty()) else {
            return Err(Failure::Invalid("without issueNumber, prompt must say what to do".to_owned()));
        };
        let title: String = title.chars().take(200).collect();
        let made = github.create_issue(repo, &title, text).await?;
        return Ok(Issue {
            number: made.number,
            title,
            body: text.to_owned(),
            url: made.html_url,
            is_pull_request: false,
        });
    };
    match github.issue(repo, number).await {
        Ok(issue) => Ok(Issue {
            number,
            title: issue.title,
            body: issue.body,
            url: issue.html_url,
            is_pull_request: issue.is_pull_request,
        }),
        Err(
            github::Error { kind: github::Kind::NotFound, .. }
            | github::Error { kind: github::Kind::Gone, .. },
        ) => Err(Failure::Invalid(format!("there is no issue #{number} in {repo}"))),
        Err(error) => Err(error.into()),
    }
}
