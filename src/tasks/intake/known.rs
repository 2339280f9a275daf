//! The stored data that a batch of deliveries needs before it is decided. It is read with one statement for each
//! table, however many deliveries there are: under load, the round trip to the database thread costs more than the
//! look-ups.

use domain::ids::{InstallationId, IssueNumber, RepositoryId, UserId};
use std::collections::{HashMap, HashSet};

use super::reading::{Action, Delivery, Intent, Mention};
use db::Connection;
use db::tasks::Active;
use db::users::Person;
use domain::settings::Settings;
use domain::task::Task;

/// Updated while the batch is decided, so that its deliveries take each other into account.
pub(super) struct Known {
    /// Deliveries that were processed before, with their tasks.
    pub deliveries: HashMap<String, Option<String>>,
    /// Comments that were processed before, with their tasks.
    pub comments: HashMap<String, Option<String>>,
    /// Suspended installations.
    pub suspended: HashSet<InstallationId>,
    /// The authors of the mentions.
    pub people: HashMap<UserId, (Person, Settings)>,
    /// The active tasks of the issues for which a task is requested, by repository id and issue number.
    active: HashMap<(RepositoryId, IssueNumber), Vec<Active>>,
}

impl Known {
    pub(super) async fn read(write: &mut Connection, deliveries: &[Delivery]) -> Result<Self, db::Error> {
        let guids: Vec<&str> = deliveries.iter().map(|delivery| delivery.guid.as_str()).collect();
        let (mut keys, mut issues) = (Vec::new(), HashSet::new());
        let (mut installations, mut people) = (HashSet::new(), HashSet::new());
        for delivery in deliveries {
            if let Intent::Mention(mention) = &delivery.intent {
                keys.push(mention.comment_key.as_str());
                installations.insert(mention.request.repository.installation_id);
                people.insert(mention.request.requester.id);
                if let Ok(Action::Task(_)) = mention.action {
                    issues.insert(issue_of(mention));
                }
            }
        }
        let mut known = Self {
            deliveries: HashMap::new(),
            comments: HashMap::new(),
            suspended: HashSet::new(),
            people: HashMap::new(),
            active: HashMap::new(),
        };
        for earlier in db::deliveries::list_known(write, &guids, &keys).await? {
            if let Some(key) = earlier.comment_key {
                known.comments.insert(key, earlier.task_id.clone());
            }
            known.deliveries.insert(earlier.guid, earlier.task_id);
        }
        if people.is_empty() {
            return Ok(known);
        }
        let installations: Vec<_> = installations.into_iter().collect();
        known.suspended =
            db::installations::list_suspended(write, &installations).await?.into_iter().collect();
        let people: Vec<_> = people.into_iter().collect();
        let people = db::users::load_people(write, &people).await?.into_iter();
        known.people = people
            .map(|(id, person)| {
                let settings = Settings::parse(person.settings.as_deref());
                (id, (person, settings))
            })
            .collect();
        let issues: Vec<_> = issues.into_iter().collect();
        for task in db::tasks::list_active_on_issues(write, &issues).await? {
            known.active.entry((task.repo_id, task.issue_number)).or_default().push(task);
        }
        Ok(known)
    }

    /// Returns the active task of the same agent on the same issue.
    pub(super) fn find_active(&self, task: &Task) -> Option<&Active> {
        let on_issue = self.active.get(&(task.repository.id, task.issue.number))?;
        on_issue.iter().find(|active| active.agent == task.agent)
    }

    /// Records that this task is active.
    pub(super) fn begin(&mut self, task: &Task) {
        self.active.entry((task.repository.id, task.issue.number)).or_default().push(task.into());
    }

    /// Records that no task of this issue is active.
    pub(super) fn end_all(&mut self, repo_id: RepositoryId, issue: IssueNumber) {
        self.active.remove(&(repo_id, issue));
    }

    /// Returns the task of an earlier delivery of the same event or about the same comment. `Some(None)` is an
    /// earlier delivery that started no task.
    pub(super) fn find_earlier(&self, delivery: &Delivery) -> Option<&Option<String>> {
        let of_comment = || match &delivery.intent {
            Intent::Mention(mention) => self.comments.get(&mention.comment_key),
            _ => None,
        };
        self.deliveries.get(&delivery.guid).or_else(of_comment)
    }
}

fn issue_of(mention: &Mention) -> (RepositoryId, IssueNumber) {
    (mention.request.repository.id, mention.request.issue.number)
}
