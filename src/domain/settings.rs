//! A person's settings as they are stored in `user_settings.config_json` (the seed's `PorterConfig`, without
//! any secret). Read leniently: what is missing has a default, what is unknown is left alone.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::agent::Agent;
use super::priority::Priority;

/// What a person has set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Where their machines run.
    pub fly_app_name: Option<String>,
    /// By agent id.
    pub agents: BTreeMap<String, AgentSettings>,
    /// Limits.
    pub settings: Limits,
    /// What was chosen when they began.
    pub onboarding: Onboarding,
}

/// What a person has set for one agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSettings {
    /// It may be used.
    pub enabled: bool,
    /// `low`, `normal` or `high`, unless the comment says otherwise.
    pub priority: Option<String>,
    /// Added to each prompt.
    pub custom_prompt: Option<String>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self { enabled: true, priority: None, custom_prompt: None }
    }
}

/// Numbers a person may set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Minutes; can only lower the operator's limit.
    pub task_timeout: Option<f64>,
}

/// What a person chose when they began.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Onboarding {
    /// Where Porter may work for them; empty means everywhere it is installed.
    pub selected_repos: Vec<SelectedRepository>,
}

/// A repository that a person chose.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedRepository {
    /// GitHub's number for it.
    pub id: Option<i64>,
    /// `owner/name`.
    pub full_name: Option<String>,
}

impl Settings {
    /// Reads what is stored; settings that cannot be read count as none.
    pub fn parse(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// Whether the person lets this agent run. One they never spoke of may.
    pub fn is_enabled(&self, agent: &str) -> bool {
        self.agents.get(agent).is_none_or(|agent| agent.enabled)
    }

    /// The agent that runs when the comment names none: the first of those on offer that the person enabled
    /// by name, else opencode (contract §4), or, when that is switched off, the first that is not.
    pub fn default_agent(&self, offered: impl Iterator<Item = &'static Agent> + Clone) -> &'static str {
        let mut ids = offered.map(|agent| agent.id);
        let enabled = ids.clone().find(|id| self.agents.get(*id).is_some_and(|agent| agent.enabled));
        enabled
            .or_else(|| Some("opencode").filter(|id| self.is_enabled(id)))
            .or_else(|| ids.find(|id| self.is_enabled(id)))
            .unwrap_or("opencode")
    }

    /// The priority this agent's tasks have unless the comment says otherwise.
    pub fn priority_of(&self, agent: &str) -> Priority {
        self.agents
            .get(agent)
            .and_then(|agent| agent.priority.as_deref())
            .and_then(Priority::parse)
            .unwrap_or_default()
    }

    /// What the person adds to this agent's prompts.
    pub fn custom_prompt_of(&self, agent: &str) -> Option<&str> {
        self.agents.get(agent)?.custom_prompt.as_deref().filter(|prompt| !prompt.trim().is_empty())
    }

    /// Whether the person lets Porter work in this repository.
    pub fn allows_repository(&self, id: i64, full_name: &str) -> bool {
        let chosen = &self.onboarding.selected_repos;
        chosen.is_empty()
            || chosen.iter().any(|repository| {
                repository.id == Some(id)
                    || repository
                        .full_name
                        .as_deref()
                        .is_some_and(|name| name.eq_ignore_ascii_case(full_name))
            })
    }
}
