//! Stores a batch of deliveries in one transaction.

use chrono::{DateTime, Utc};
use domain::ids::{IssueNumber, RepositoryId, UserId};

use super::Answer;
use super::known::Known;
use super::reading::{Action, Delivery, Intent, Mention, NO_INSTALLATION};
use crate::tasks::decision::{Rules, decide, may_ask, too_many_waiting};
use crate::tasks::{Error, Store, UnitOfWork};
use domain::comment::Refusal;
use domain::job::{Control, Job, Reply};
use domain::messages;
use domain::task::{Event, Task, TaskId};

/// The stored reason when the person was invited to sign in within the last day. Only an invitation that was sent
/// delays the next one.
const INVITED_BEFORE: &str = "invited_before";

/// Decides and stores all deliveries of a batch in order, or none of them.
///
/// # Errors
/// [`Error::Db`].
pub(super) async fn batch(
    store: &Store,
    rules: &Rules,
    deliveries: &[Delivery],
) -> Result<Vec<Answer>, Error> {
    let mut work = store.begin().await?;
    let known = Known::read(&mut work, deliveries).await?;
    let mut batch = Batch {
        rules,
        now: work.now(),
        known,
        rows: Vec::with_capacity(deliveries.len()),
        made: Vec::new(),
        pending: Vec::new(),
    };
    let mut answers = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        answers.push(batch.take(&mut work, delivery).await?);
    }
    batch.write_decided(&mut work).await?;
    db::deliveries::insert(&mut work, &batch.rows, batch.now).await?;
    work.commit().await?;
    Ok(answers)
}

struct Batch<'a> {
    rules: &'a Rules,
    now: DateTime<Utc>,
    known: Known,
    /// The deliveries to store, written together at the end.
    rows: Vec<db::deliveries::Delivery>,
    /// Tasks that are not yet written.
    made: Vec<Task>,
    /// Other jobs that are not yet written.
    pending: Vec<Job>,
}

/// A log line about a mention.
enum Line {
    Accepted { delivery: String, task: TaskId, agent: String, repository: String },
    Refused { delivery: String, reason: &'static str },
}

impl Line {
    fn write(&self) {
        match self {
            Self::Accepted { delivery, task, agent, repository } => tracing::info!(
                task.id = %task,
                github.delivery_id = %delivery,
                task.agent = %agent,
                task.repository = %repository,
                "a task was accepted"
            ),
            Self::Refused { delivery, reason } => {
                tracing::info!(github.delivery_id = %delivery, reason, "a mention was refused");
            }
        }
    }
}

/// The decision about a mention, which determines whether its author receives a reply.
enum Verdict {
    Task(Box<Task>),
    Control(Control),
    Refused { refusal: Refusal, tell: bool },
}

impl Batch<'_> {
    async fn take(&mut self, work: &mut UnitOfWork, delivery: &Delivery) -> Result<Answer, Error> {
        if let Some(task) = self.known.find_earlier(delivery) {
            let task = task.clone();
            self.remember(delivery, "duplicate", None, None, task.clone());
            return Ok(Answer::Duplicate { task });
        }
        match &delivery.intent {
            Intent::Nothing(reason) => {
                self.remember(delivery, "ignored", Some(reason), None, None);
                Ok(Answer::Ignored { reason })
            }
            Intent::Mention(mention) => self.take_mention(work, delivery, mention).await,
            Intent::Closed { repo_id, issue, login } => {
                let task = self.stop_all(work, *repo_id, *issue, login).await?;
                let Some(task) = task else {
                    self.remember(delivery, "ignored", Some("no_active_task"), None, None);
                    return Ok(Answer::Ignored { reason: "no_active_task" });
                };
                self.remember(delivery, "accepted", None, None, Some(task.clone()));
                Ok(Answer::Accepted { task: Some(task) })
            }
            Intent::Installed { installation, added, removed } => {
                db::installations::upsert(work, installation, self.now).await?;
                db::installations::add_repositories(work, installation.id, added).await?;
                db::installations::remove_repositories(work, installation.id, removed).await?;
                match installation.suspended {
                    true => self.known.suspended.insert(installation.id),
                    false => self.known.suspended.remove(&installation.id),
                };
                self.remember(delivery, "accepted", None, None, None);
                Ok(Answer::Accepted { task: None })
            }
            Intent::Uninstalled { installation } => {
                db::installations::delete(work, *installation).await?;
                self.known.suspended.remove(installation);
                self.remember(delivery, "accepted", None, None, None);
                Ok(Answer::Accepted { task: None })
            }
        }
    }

    async fn take_mention(
        &mut self,
        work: &mut UnitOfWork,
        delivery: &Delivery,
        mention: &Mention,
    ) -> Result<Answer, Error> {
        let verdict = self.judge(work, mention).await?;
        let (outcome, reason, task) = match &verdict {
            Verdict::Task(task) => ("accepted", None, Some(task.id.to_string())),
            Verdict::Control(_) => ("accepted", None, None),
            Verdict::Refused { refusal: Refusal::MissingUserOauth { .. }, tell: false } => {
                ("rejected", Some(INVITED_BEFORE), None)
            }
            Verdict::Refused { refusal, .. } => ("rejected", Some(refusal.reason()), None),
        };
        let key = Some(mention.comment_key.clone());
        self.remember(delivery, outcome, reason, key, task.clone());
        let delivery = delivery.guid.clone();
        match verdict {
            Verdict::Task(made) => {
                let line = Line::Accepted {
                    delivery,
                    task: made.id.clone(),
                    agent: made.agent.clone(),
                    repository: made.repository.full_name.to_string(),
                };
                work.log(move || line.write());
                self.known.begin(&made);
                self.made.push(*made);
                Ok(Answer::Accepted { task })
            }
            Verdict::Control(word) => {
                self.pending.push(Job::Control { by: mention.mention(self.now), word });
                Ok(Answer::Accepted { task })
            }
            Verdict::Refused { refusal, tell } => {
                let reason = refusal.reason();
                work.log(move || Line::Refused { delivery, reason }.write());
                if tell {
                    let reply = Reply::Refusal(refusal);
                    self.pending.push(Job::Answer { to: mention.mention(self.now), reply });
                }
                Ok(Answer::Rejected { reason })
            }
        }
    }

    /// Writes the decisions so far: the tasks, their events and the jobs.
    async fn write_decided(&mut self, work: &mut UnitOfWork) -> Result<(), Error> {
        work.insert(&self.made).await?;
        self.made.clear();
        work.enqueue(self.pending.drain(..)).await?;
        Ok(())
    }

    /// Decides about a mention.
    async fn judge(&self, work: &mut UnitOfWork, mention: &Mention) -> Result<Verdict, Error> {
        let refused = |refusal| Ok(Verdict::Refused { refusal, tell: true });
        let installation = mention.request.repository.installation_id;
        if installation == NO_INSTALLATION || self.known.suspended.contains(&installation) {
            return Ok(Verdict::Refused { refusal: Refusal::MissingInstallation, tell: false });
        }
        let sender = mention.request.requester.id;
        if let Err(refusal) = may_ask(&self.rules.policy, &mention.request.requester.login) {
            return refused(refusal);
        }
        let (person, settings) = &self.known.people[&sender];
        let asked = match &mention.action {
            // Anyone who may push may use control words; the engine asks GitHub for the permission before it executes
            // one.
            Ok(Action::Control(word)) => return Ok(Verdict::Control(*word)),
            asked => asked,
        };
        if !person.signed_in {
            let repo_id = mention.request.repository.id;
            let invited = self.invited_in_batch(sender, repo_id)
                || db::deliveries::was_invited(work, sender, repo_id, self.now).await?;
            let refusal = Refusal::MissingUserOauth {
                login: mention.request.requester.login.clone(),
                sign_in_url: self.rules.policy.link("api/auth/github"),
            };
            return Ok(Verdict::Refused { refusal, tell: !invited });
        }
        let run = match asked {
            Ok(Action::Task(run)) => run,
            Ok(Action::Control(word)) => return Ok(Verdict::Control(*word)),
            Err(invalid) => return refused(Refusal::InvalidCommand { message: invalid.message.clone() }),
        };
        let task = match decide(&self.rules.about(person, settings), &mention.request, run, self.now) {
            Ok(task) => task,
            Err(refusal) => return refused(refusal),
        };
        if let Some(active) = self.known.find_active(&task) {
            return refused(Refusal::TaskAlreadyActive {
                task_url: self.rules.policy.task_url(&active.id),
                status: active.status,
                agent: self.rules.policy.agents.name_of(&task.agent).to_owned(),
            });
        }
        let unwritten = self.made.iter().filter(|made| made.requester.id == sender).count();
        if let Some(refusal) = too_many_waiting(&self.rules.policy, work, sender, unwritten).await? {
            return refused(refusal);
        }
        Ok(Verdict::Task(Box::new(task)))
    }

    fn invited_in_batch(&self, sender: UserId, repo_id: RepositoryId) -> bool {
        self.rows.iter().any(|row| {
            row.reason == Some("missing_user_oauth")
                && row.sender_id == Some(sender)
                && row.repo_id == Some(repo_id)
        })
    }

    /// Stops every active task of a closed issue and returns the first.
    async fn stop_all(
        &mut self,
        work: &mut UnitOfWork,
        repo_id: RepositoryId,
        issue: IssueNumber,
        login: &str,
    ) -> Result<Option<String>, Error> {
        // A task of this batch must be stored before it can be stopped.
        self.write_decided(work).await?;
        let active = db::tasks::list_active_on_issue(work, repo_id, issue).await?;
        for task in &active {
            let message = messages::issue_closed_by(login);
            work.apply(task, Event::Stopped { message }).await?;
        }
        self.known.end_all(repo_id, issue);
        Ok(active.first().map(|task| task.id.to_string()))
    }

    fn remember(
        &mut self,
        delivery: &Delivery,
        outcome: &'static str,
        reason: Option<&'static str>,
        comment_key: Option<String>,
        task_id: Option<String>,
    ) {
        let mention = match &delivery.intent {
            Intent::Mention(mention) => Some(mention),
            _ => None,
        };
        if let Some(key) = &comment_key {
            self.known.comments.insert(key.clone(), task_id.clone());
        }
        self.known.deliveries.insert(delivery.guid.clone(), task_id.clone());
        self.rows.push(db::deliveries::Delivery {
            guid: delivery.guid.clone(),
            event: delivery.event.clone(),
            action: delivery.action.clone(),
            outcome,
            reason,
            comment_key,
            task_id,
            sender_id: mention.map(|mention| mention.request.requester.id),
            repo_id: mention.map(|mention| mention.request.repository.id),
        });
    }
}
