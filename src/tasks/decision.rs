//! Decides whether a person may start a task. Uses only the database and the configuration, no network.

use domain::ids::UserId;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Context, Policy, machines};
use crate::accounts::credentials::Credentials;
use crate::runner::MachineProvider;
use db::users::Person;
use domain::command::Run;
use domain::comment::Refusal;
use domain::settings::Settings;
use domain::task::{Request, Task};

/// The inputs of a decision that do not depend on the person. Cheap to clone.
#[derive(Clone)]
pub(super) struct Rules {
    /// The operator's rules.
    pub policy: Arc<Policy>,
    credentials: Credentials,
    machines: Arc<dyn MachineProvider>,
}

impl Rules {
    pub(super) fn of(context: &Context) -> Self {
        let Context { policy, credentials, machines, .. } = context.clone();
        Self { policy, credentials, machines }
    }

    /// Adds what is stored about one person.
    pub(super) fn about<'a>(&'a self, person: &'a Person, settings: &'a Settings) -> Facts<'a> {
        let (policy, credentials) = (&self.policy, &self.credentials);
        Facts { policy, credentials, machines: self.machines.as_ref(), person, settings }
    }
}

/// The inputs of a decision.
pub(super) struct Facts<'a> {
    /// The operator's rules.
    pub policy: &'a Policy,
    /// The stored credentials.
    pub credentials: &'a Credentials,
    /// The kind of machines that this Porter starts.
    pub machines: &'a dyn MachineProvider,
    /// The person.
    pub person: &'a Person,
    /// The person's settings.
    pub settings: &'a Settings,
}

/// Returns an error unless the operator's allowlist permits this person to make requests.
pub(super) fn may_ask(policy: &Policy, login: &str) -> Result<(), Refusal> {
    let allowed = &policy.allowlist;
    if !allowed.is_empty() && !allowed.iter().any(|name| name.eq_ignore_ascii_case(login)) {
        return Err(Refusal::NotAllowed);
    }
    Ok(())
}

/// Returns the refusal for a person who has as many queued tasks as the operator allows. Counts stored tasks and
/// `unwritten` ones; queries the database only if a limit is configured.
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

/// Returns the requested task, or the reason for refusing it.
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
    missing.extend(facts.machines.missing(&machines::stored(facts.machines, facts.person, facts.settings)));
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
