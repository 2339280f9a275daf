//! The one transaction behind a batch of deliveries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, Utc};

use super::Answer;
use super::reading::{Arrival, Asked, Said, Spoken};
use crate::db::deliveries::Delivery;
use crate::db::users::Person;
use crate::db::{self, Connection};
use crate::domain::agent::Agent;
use crate::domain::comment::Refusal;
use crate::domain::job::{Control, Job, Reply};
use crate::domain::settings::Settings;
use crate::domain::task::{Effect, Event, Task};
use crate::tasks::decision::{Facts, decide, may_ask, may_wait};
use crate::tasks::{Context, Error, apply, enqueue, record_status};

/// The reason that is remembered when the person was invited to sign in within the day before: only an
/// invitation that was given keeps the next one back.
const INVITED_BEFORE: &str = "invited_before";

/// Decides and records every delivery of a batch, in order, or none.
///
/// # Errors
/// [`Error::Db`].
pub(super) async fn batch(context: &Context, arrivals: &[Arrival]) -> Result<Vec<Answer>, Error> {
    let now = context.now();
    let mut write = context.db.begin().await?;
    let mut batch = Batch { context, now, rows: Vec::with_capacity(arrivals.len()), people: HashMap::new() };
    let mut answers = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        answers.push(batch.take(&mut write, arrival).await?);
    }
    if !batch.rows.is_empty() {
        db::deliveries::insert(&mut write, &batch.rows, now).await?;
    }
    db::commit(write).await?;
    Ok(answers)
}

struct Batch<'a> {
    context: &'a Context,
    now: DateTime<Utc>,
    /// What is remembered at the end, all at once.
    rows: Vec<Delivery>,
    /// Who was looked up already.
    people: HashMap<i64, (Person, Settings)>,
}

/// What came of a mention: the answer, and whether somebody is still owed a comment.
enum Verdict {
    Task(Box<Task>),
    Control(Control),
    Refused { refusal: Refusal, tell: bool },
}

impl Batch<'_> {
    async fn take(&mut self, write: &mut Connection, arrival: &Arrival) -> Result<Answer, Error> {
        let key = match &arrival.said {
            Said::Mention(spoken) => Some(format!("{}:{}", spoken.request.repository.id, spoken.comment_id)),
            _ => None,
        };
        if let Some(task) = self.find_earlier(write, &arrival.guid, key.as_deref()).await? {
            self.remember(arrival, "duplicate", None, None, task.clone());
            return Ok(Answer::Duplicate { task });
        }
        match &arrival.said {
            Said::Nothing(reason) => {
                self.remember(arrival, "ignored", Some(reason), None, None);
                Ok(Answer::Ignored { reason })
            }
            Said::Mention(spoken) => self.take_mention(write, arrival, spoken, key).await,
            Said::Closed { repo_id, issue, login } => {
                let task = self.stop_all(write, *repo_id, *issue, login).await?;
                let Some(task) = task else {
                    self.remember(arrival, "ignored", Some("no_active_task"), None, None);
                    return Ok(Answer::Ignored { reason: "no_active_task" });
                };
                self.remember(arrival, "accepted", None, None, Some(task.clone()));
                Ok(Answer::Accepted { task: Some(task) })
            }
            Said::Installed { installation, added, removed } => {
                db::installations::upsert(write, installation, self.now).await?;
                db::installations::add_repositories(write, installation.id, added).await?;
                db::installations::remove_repositories(write, installation.id, removed).await?;
                self.remember(arrival, "accepted", None, None, None);
                Ok(Answer::Accepted { task: None })
            }
            Said::Uninstalled { installation } => {
                db::installations::delete(write, *installation).await?;
                self.remember(arrival, "accepted", None, None, None);
                Ok(Answer::Accepted { task: None })
            }
        }
    }

    /// The task of an earlier delivery of the same event, or about the same comment.
    async fn find_earlier(
        &self,
        write: &mut Connection,
        guid: &str,
        key: Option<&str>,
    ) -> Result<Option<Option<String>>, Error> {
        let in_batch = self
            .rows
            .iter()
            .find(|row| row.guid == guid || (key.is_some() && row.comment_key.as_deref() == key));
        if let Some(row) = in_batch {
            return Ok(Some(row.task_id.clone()));
        }
        Ok(db::deliveries::find(write, guid, key).await?.map(|known| known.task_id))
    }

    async fn take_mention(
        &mut self,
        write: &mut Connection,
        arrival: &Arrival,
        spoken: &Spoken,
        key: Option<String>,
    ) -> Result<Answer, Error> {
        let verdict = self.judge(write, spoken).await?;
        let (outcome, reason, task) = match &verdict {
            Verdict::Task(task) => ("accepted", None, Some(task.id.to_string())),
            Verdict::Control(_) => ("accepted", None, None),
            Verdict::Refused { refusal: Refusal::MissingUserOauth { .. }, tell: false } => {
                ("rejected", Some(INVITED_BEFORE), None)
            }
            Verdict::Refused { refusal, .. } => ("rejected", Some(refusal.reason()), None),
        };
        self.remember(arrival, outcome, reason, key, task.clone());
        match verdict {
            Verdict::Task(task) => {
                record_status(write, &task, self.now).await?;
                enqueue(write, &Job::of(&task, Effect::Reflect), self.now).await?;
                tracing::info!(
                    task.id = %task.id,
                    github.delivery_id = %arrival.guid,
                    task.agent = %task.agent,
                    task.repository = %task.repository.full_name(),
                    "a task was accepted"
                );
                Ok(Answer::Accepted { task: Some(task.id.to_string()) })
            }
            Verdict::Control(word) => {
                enqueue(write, &Job::Control { by: spoken.mention(self.now), word }, self.now).await?;
                Ok(Answer::Accepted { task })
            }
            Verdict::Refused { refusal, tell } => {
                let reason = refusal.reason();
                tracing::info!(github.delivery_id = %arrival.guid, reason, "a mention was refused");
                if tell {
                    let reply = Reply::Refusal(refusal);
                    let job = Job::Answer { to: spoken.mention(self.now), reply };
                    enqueue(write, &job, self.now).await?;
                }
                Ok(Answer::Rejected { reason })
            }
        }
    }

    /// Decides about a mention, and stores the task it makes.
    async fn judge(&mut self, write: &mut Connection, spoken: &Spoken) -> Result<Verdict, Error> {
        let refused = |refusal| Ok(Verdict::Refused { refusal, tell: true });
        let installation = spoken.request.repository.installation_id;
        if installation == 0 || db::installations::is_suspended(write, installation).await? {
            return Ok(Verdict::Refused { refusal: Refusal::MissingInstallation, tell: false });
        }
        let sender = spoken.request.requester.id;
        if let Err(refusal) = may_ask(&self.context.policy, &spoken.request.requester.login) {
            return refused(refusal);
        }
        let (person, settings) = match self.people.entry(sender) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let person = db::users::load_person(write, sender).await?;
                let settings = Settings::parse(person.settings.as_deref());
                unknown.insert((person, settings))
            }
        };
        let facts = Facts {
            policy: &self.context.policy,
            credentials: &self.context.credentials,
            fly: self.context.fleet.is_fly(),
            person,
            settings,
        };
        let asked = match &spoken.asked {
            // Anyone who may push may say these; whether they may is asked of GitHub before it is done.
            Ok(Asked::Control(word)) => return Ok(Verdict::Control(*word)),
            asked => asked,
        };
        if !person.signed_in {
            let repo_id = spoken.request.repository.id;
            let invited = self.invited_in_batch(sender, repo_id)
                || db::deliveries::was_invited(write, sender, repo_id, self.now).await?;
            let refusal = Refusal::MissingUserOauth {
                login: spoken.request.requester.login.clone(),
                sign_in_url: self.context.policy.link("api/auth/github"),
            };
            return Ok(Verdict::Refused { refusal, tell: !invited });
        }
        let run = match asked {
            Ok(Asked::Task(run)) => run,
            Ok(Asked::Control(word)) => return Ok(Verdict::Control(*word)),
            Err(invalid) => return refused(Refusal::InvalidCommand { message: invalid.message.clone() }),
        };
        let task = match decide(&facts, &spoken.request, run, self.now) {
            Ok(task) => task,
            Err(refusal) => return refused(refusal),
        };
        let waiting = db::queue::count_waiting(write, sender).await?;
        if let Err(refusal) = may_wait(&self.context.policy, waiting) {
            return refused(refusal);
        }
        match db::tasks::insert(write, &task).await {
            Ok(()) => Ok(Verdict::Task(Box::new(task))),
            Err(db::Error::Conflict) => refused(self.already_active(write, &task).await?),
            Err(error) => Err(error.into()),
        }
    }

    fn invited_in_batch(&self, sender: i64, repo_id: i64) -> bool {
        self.rows.iter().any(|row| {
            row.reason == Some("missing_user_oauth")
                && row.sender_id == Some(sender)
                && row.repo_id == Some(repo_id)
        })
    }

    async fn already_active(&self, write: &mut Connection, task: &Task) -> Result<Refusal, Error> {
        let active = db::tasks::list_active_on_issue(write, task.repository.id, task.issue.number).await?;
        let other = active.iter().find(|other| other.agent == task.agent).unwrap_or(task);
        Ok(Refusal::TaskAlreadyActive {
            task_url: self.context.policy.task_url(&other.id),
            status: other.status,
            agent: Agent::find(&task.agent).map_or(task.agent.as_str(), |agent| agent.name).to_owned(),
        })
    }

    /// Stops every active task of a closed issue; gives the first.
    async fn stop_all(
        &self,
        write: &mut Connection,
        repo_id: i64,
        issue: i64,
        login: &str,
    ) -> Result<Option<String>, Error> {
        let active = db::tasks::list_active_on_issue(write, repo_id, issue).await?;
        for task in &active {
            let message = format!("Stopped: the issue was closed by {login}.");
            apply(write, task, Event::Stopped { message }, self.now).await?;
            self.context.bell.ring_for(&task.id);
        }
        Ok(active.first().map(|task| task.id.to_string()))
    }

    fn remember(
        &mut self,
        arrival: &Arrival,
        outcome: &'static str,
        reason: Option<&'static str>,
        comment_key: Option<String>,
        task_id: Option<String>,
    ) {
        let spoken = match &arrival.said {
            Said::Mention(spoken) => Some(spoken),
            _ => None,
        };
        // A second delivery in one batch of an event that was remembered already adds nothing.
        if self.rows.iter().any(|row| row.guid == arrival.guid) {
            return;
        }
        self.rows.push(Delivery {
            guid: arrival.guid.clone(),
            event: arrival.event.clone(),
            action: arrival.action.clone(),
            outcome,
            reason,
            comment_key,
            task_id,
            sender_id: spoken.map(|spoken| spoken.request.requester.id),
            repo_id: spoken.map(|spoken| spoken.request.repository.id),
        });
    }
}
