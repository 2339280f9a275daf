//! May this person have this task? A pure answer from what the database knows about them.

use chrono::{DateTime, Utc};

use super::Policy;
use crate::accounts::credentials::Credentials;
use crate::db::users::Person;
use crate::domain::agent::Agent;
use crate::domain::command::Run;
use crate::domain::comment::Refusal;
use crate::domain::report::Usage;
use crate::domain::settings::Settings;
use crate::domain::task::{Issue, Repository, Requester, Status, Task, TaskId};

/// Who asks, where, and about what.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Where.
    pub repository: Repository,
    /// About what.
    pub issue: Issue,
    /// By whom.
    pub requester: Requester,
    /// The comment that asks, unless the API does.
    pub comment_id: Option<i64>,
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

/// Whether a person with so many waiting tasks may have one more.
pub(super) fn may_wait(policy: &Policy, waiting: u32) -> Result<(), Refusal> {
    match policy.queued_per_user {
        Some(limit) if waiting >= limit => Err(Refusal::TooManyTasks { limit }),
        _ => Ok(()),
    }
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
    if !facts.settings.allows_repository(repository.id, &repository.full_name()) {
        return Err(Refusal::RepoNotSelected { settings_url: settings_url() });
    }
    let agent_id = run.agent.as_deref().unwrap_or_else(|| facts.settings.default_agent());
    if !facts.settings.is_enabled(agent_id) {
        return Err(Refusal::AgentDisabled {
            agent: agent_id.to_owned(),
            enabled: enabled(facts),
            settings_url: settings_url(),
        });
    }
    let mut missing = Agent::find(agent_id).map_or_else(Vec::new, |agent| {
        let missing =
            agent.missing_keys(run.model.as_deref(), |key| facts.credentials.has_key(facts.person, key));
        missing.iter().map(ToString::to_string).collect()
    });
    if facts.fly {
        missing.extend(facts.credentials.missing_for_fly(facts.person, facts.settings));
    }
    if !missing.is_empty() {
        return Err(Refusal::MissingCredentials { missing, settings_url: settings_url() });
    }
    Ok(new_task(request, run, agent_id, facts.settings, now))
}

fn enabled(facts: &Facts<'_>) -> Vec<String> {
    Agent::all()
        .iter()
        .filter(|agent| facts.policy.mock_agent || agent.id != "mock")
        .filter(|agent| facts.settings.is_enabled(agent.id))
        .map(|agent| agent.id.to_owned())
        .collect()
}

/// A task as it begins.
fn new_task(request: &Request, run: &Run, agent: &str, settings: &Settings, now: DateTime<Utc>) -> Task {
    Task {
        id: TaskId::new(now),
        revision: 1,
        status: Status::Queued,
        phase: None,
        attempt: 1,
        priority: run.priority.unwrap_or_else(|| settings.priority_of(agent)),
        agent: agent.to_owned(),
        model: run.model.clone(),
        base_branch: run.base_branch.clone(),
        repository: request.repository.clone(),
        issue: request.issue.clone(),
        comment_id: request.comment_id,
        instructions: run.instructions.clone(),
        requester: request.requester.clone(),
        progress: 0,
        activity: None,
        created_at: now,
        queued_at: now,
        started_at: None,
        completed_at: None,
        updated_at: now,
        deadline_at: None,
        seen_at: None,
        machine_id: None,
        branch: None,
        commit_sha: None,
        pr_url: None,
        pr_number: None,
        summary: None,
        error_message: None,
        failure_stage: None,
        usage: Usage::default(),
        callback_attempts: None,
        callback_max_attempts: None,
        callback_last_http_code: None,
        status_comment_id: None,
    }
}
