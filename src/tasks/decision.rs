//! May this person have this task? Answers from what the database knows about them; no network.

use domain::ids::UserId;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::fleet::Fleet;
use super::{Context, Policy};
use crate::accounts::credentials::Credentials;
use db::users::Person;
use domain::command::Run;
use domain::comment::Refusal;
use domain::settings::Settings;
use domain::task::{Request, Task};

/// What is decided with, whoever asks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rules {
    /// The operator's rules.
    pub policy: Arc<Policy>,
    credentials: Credentials,
    fleet: Fleet,
}

impl Rules {
    pub(super) fn of(context: &Context) -> Self {
        let Context { policy, credentials, fleet, .. } = context.clone();
        Self { policy, credentials, fleet }
    }

    /// The same with what is known about one person.
    pub(super) fn about<'a>(&'a self, person: &'a Person, settings: &'a Settings) -> Facts<'a> {
        let (policy, credentials, fly) = (&self.policy, &self.credentials, self.fleet.is_fly());
        Facts { policy, credentials, fly, person, settings }
    }
}

/// What the decision rests on.
pub(super) struct Facts<'a> {
    /// The operator's rules.
    pub policy: &'a Policy,
    /// Who has which keys.
    pub credentials: &'a Credentials,
    /// Machines need a Fly token and app.
    pub fly: bool,
    /// The person.
    pub person: &'a Person,
    /// What they have set.
    pub settings: &'a Settings,
}

/// Whether the operator lets this person ask for anything.
pub(super) fn may_ask(policy: &Policy, login: &str) -> Result<(), Refusal> {
    let allowed = &policy.allowlist;
    if !allowed.is_empty() && !allowed.iter().any(|name| name.eq_ignore_ascii_case(login)) {
        return Err(Refusal::NotAllowed);
    }
    Ok(())
}

/// The refusal of one more task of a person who has as many tasks waiting as the operator allows, those that the
/// database knows and `unwritten` ones. Nothing is counted unless there is a limit.
pub(super) async fn too_many_waiting(
    policy: &Policy,
    connection: &mut db::Connection,
    requester_id: UserId,
    unwritten: usize,
) -> Result<Option<Refusal>, db::Error> {
    let Some(limit) = policy.queued_per_user else { return Ok(None) };
    let waiting = db::queue::count_waiting(connection, requester_id).await? as usize + unwritten;
    Ok((waiting >= limit as usize).then_some(Refusal::TooManyTasks { limit }))
}

/// The task the person asked for, or why they cannot have it.
pub(super) fn decide(
    facts: &Facts<'_>,
    request: &Request,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<Task, Refusal> {
    let settings_url = || facts.policy.link("settings");
    let repository = &request.repository;
    if !facts.settings.allows_repository(repository.id, &repository.full_name.to_string()) {
        return Err(Refusal::RepoNotSelected { settings_url: settings_url() });
    }
    let agent_id =
        run.agent.as_deref().unwrap_or_else(|| facts.settings.default_agent(facts.policy.offered()));
    if !facts.settings.is_enabled(agent_id) {
        return Err(Refusal::AgentDisabled {
            agent: agent_id.to_owned(),
            enabled: enabled(facts),
            settings_url: settings_url(),
        });
    }
    let agents = &facts.policy.agents;
    let mut missing = agents.find(agent_id).map_or_else(Vec::new, |agent| {
        let agent = agents.specification(agent, run.model.as_deref());
        let missing = agent.missing_keys(|key| facts.credentials.has_key(facts.person, key));
        missing.iter().map(ToString::to_string).collect()
    });
    if facts.fly {
        missing.extend(facts.credentials.missing_for_fly(facts.person, facts.settings));
    }
    if !missing.is_empty() {
        return Err(Refusal::MissingCredentials { missing, settings_url: settings_url() });
    }
    let priority = run.priority.unwrap_or_else(|| facts.settings.priority_of(agent_id));
    Ok(Task::new(request.clone(), agent_id, priority, run, now))
}

fn enabled(facts: &Facts<'_>) -> Vec<String> {
    let enabled = facts.policy.offered().filter(|agent| facts.settings.is_enabled(&agent.id));
    enabled.map(|agent| agent.id.clone()).collect()
}
