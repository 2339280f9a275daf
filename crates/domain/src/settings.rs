//! A person's settings as they are stored in `user_settings.config_json` (main-spec §8, without
//! any secret). Each part is read separately: a missing or invalid value has its default, and an unknown value is
//! ignored. Only restrictions fail closed: an agent whose `enabled` is invalid is disabled, and an invalid entry
//! among the selected repositories matches no repository.

use std::collections::BTreeMap;

use crate::ids::RepositoryId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::agent::Agent;
use super::priority::Priority;

/// A person's settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The settings of agents, by agent id.
    #[serde(deserialize_with = "deserialize_agents")]
    pub agents: Agents,
    /// The person's limits.
    #[serde(deserialize_with = "or_default")]
    pub settings: Limits,
    /// The choices made during onboarding.
    #[serde(deserialize_with = "deserialize_onboarding")]
    pub onboarding: Onboarding,
    /// All other values, such as those that a kind of machine requires.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// A person's settings for their agents.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    by_id: BTreeMap<String, AgentSettings>,
    /// Whether the stored value is invalid, which disables every agent.
    unreadable: bool,
}

/// A person's settings for one agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSettings {
    /// Whether the agent is enabled.
    #[serde(deserialize_with = "deserialize_flag")]
    pub enabled: bool,
    /// The default priority: `low`, `normal` or `high`.
    #[serde(deserialize_with = "or_default")]
    pub priority: Option<String>,
    /// Text that is added to each prompt.
    #[serde(deserialize_with = "or_default")]
    pub custom_prompt: Option<String>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self { enabled: true, priority: None, custom_prompt: None }
    }
}

/// Limits that a person may set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// The time limit in minutes. It can only lower the operator's limit.
    #[serde(deserialize_with = "or_default")]
    pub task_timeout: Option<f64>,
}

/// A person's choices during onboarding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Onboarding {
    /// The repositories in which Porter may work for the person; empty means all repositories of the installation.
    #[serde(deserialize_with = "or_none_of_them")]
    pub selected_repos: Vec<SelectedRepository>,
}

/// A repository that a person selected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedRepository {
    /// The repository's id on GitHub.
    #[serde(deserialize_with = "or_default")]
    pub id: Option<RepositoryId>,
    /// `owner/name`.
    #[serde(deserialize_with = "or_default")]
    pub full_name: Option<String>,
}

impl Settings {
    /// Parses stored settings. If they are not a JSON object, nothing is permitted until they are stored again.
    pub fn parse(json: Option<&str>) -> Self {
        let Some(json) = json else { return Self::default() };
        serde_json::from_str(json).unwrap_or_else(|_| Self {
            agents: all_off(),
            onboarding: Onboarding { selected_repos: nowhere() },
            ..Self::default()
        })
    }

    /// Returns a top-level string that this module does not interpret, by its name in the JSON.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.others.get(name)?.as_str()
    }

    /// Returns whether the agent is enabled. An agent without settings is enabled.
    pub fn is_enabled(&self, agent: &str) -> bool {
        self.agents.by_id.get(agent).map_or(!self.agents.unreadable, |agent| agent.enabled)
    }

    /// Returns the agent for comments that name none: the first offered agent that the person enabled explicitly,
    /// otherwise opencode (main-spec §4), or, if that is disabled, the first enabled agent.
    pub fn default_agent<'a>(&self, offered: impl Iterator<Item = &'a Agent> + Clone) -> &'a str {
        let mut ids = offered.map(|agent| agent.id.as_str());
        let enabled = ids.clone().find(|id| self.agents.by_id.get(*id).is_some_and(|agent| agent.enabled));
        enabled
            .or_else(|| Some("opencode").filter(|id| self.is_enabled(id)))
            .or_else(|| ids.find(|id| self.is_enabled(id)))
            .unwrap_or("opencode")
    }

    /// Returns the default priority of this agent's tasks.
    pub fn priority_of(&self, agent: &str) -> Priority {
        self.agents
            .by_id
            .get(agent)
            .and_then(|agent| agent.priority.as_deref())
            .and_then(Priority::parse)
            .unwrap_or_default()
    }

    /// Returns the text that the person adds to this agent's prompts.
    pub fn custom_prompt_of(&self, agent: &str) -> Option<&str> {
        self.agents.by_id.get(agent)?.custom_prompt.as_deref().filter(|prompt| !prompt.trim().is_empty())
    }

    /// Returns whether the person permits Porter to work in this repository.
    pub fn allows_repository(&self, id: RepositoryId, full_name: &str) -> bool {
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

fn all_off() -> Agents {
    Agents { by_id: BTreeMap::new(), unreadable: true }
}

fn off() -> AgentSettings {
    AgentSettings { enabled: false, ..AgentSettings::default() }
}

/// Returns a selection that matches no repository.
fn nowhere() -> Vec<SelectedRepository> {
    vec![SelectedRepository::default()]
}

/// Reads the value; returns the default when it is invalid.
fn or_default<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(reader: D) -> Result<T, D::Error> {
    Ok(read(Value::deserialize(reader)?).unwrap_or_default())
}

fn deserialize_flag<'de, D: Deserializer<'de>>(reader: D) -> Result<bool, D::Error> {
    Ok(Value::deserialize(reader)? == Value::Bool(true))
}

fn deserialize_agents<'de, D: Deserializer<'de>>(reader: D) -> Result<Agents, D::Error> {
    Ok(match Value::deserialize(reader)? {
        Value::Object(agents) => {
            let by_id = agents.into_iter().map(|(id, agent)| (id, read(agent).unwrap_or_else(off))).collect();
            Agents { by_id, unreadable: false }
        }
        Value::Null => Agents::default(),
        _ => all_off(),
    })
}

fn deserialize_onboarding<'de, D: Deserializer<'de>>(reader: D) -> Result<Onboarding, D::Error> {
    Ok(match Value::deserialize(reader)? {
        Value::Null => Onboarding::default(),
        onboarding => read(onboarding).unwrap_or_else(|| Onboarding { selected_repos: nowhere() }),
    })
}

fn or_none_of_them<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<SelectedRepository>, D::Error> {
    Ok(match Value::deserialize(reader)? {
        Value::Array(chosen) => chosen.into_iter().map(|chosen| read(chosen).unwrap_or_default()).collect(),
        Value::Null => Vec::new(),
        _ => nowhere(),
    })
}

fn read<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Settings {
        Settings::parse(Some(json))
    }

    #[test]
    fn an_invalid_part_does_not_affect_the_others() {
        let settings = read(
            r#"{"flyAppName": 7, "settings": {"taskTimeout": "ten"},
                "agents": {"amp": {"enabled": false, "priority": 3, "customPrompt": "Be brief."}},
                "onboarding": {"selectedRepos": [{"id": "1", "fullName": "acme/web"}]}}"#,
        );
        assert_eq!((settings.text("flyAppName"), settings.settings.task_timeout), (None, None));
        assert!(!settings.is_enabled("amp") && settings.is_enabled("opencode"));
        assert_eq!(settings.priority_of("amp"), Priority::Normal);
        assert_eq!(settings.custom_prompt_of("amp"), Some("Be brief."));
        assert!(
            settings.allows_repository(RepositoryId::new(1), "Acme/Web")
                && !settings.allows_repository(RepositoryId::new(1), "acme/other")
        );
    }

    #[test]
    fn an_agent_with_invalid_settings_is_disabled() {
        for json in [
            r#"{"agents": {"amp": {"enabled": "yes"}}}"#,
            r#"{"agents": {"amp": {"enabled": null}}}"#,
            r#"{"agents": {"amp": false}}"#,
            r#"{"agents": "all"}"#,
            "no JSON",
            "7",
        ] {
            assert!(!read(json).is_enabled("amp"), "{json}");
        }
        for json in ["{}", r#"{"agents": null}"#, r#"{"agents": {"amp": {}}}"#] {
            assert!(read(json).is_enabled("amp"), "{json}");
        }
    }

    #[test]
    fn an_invalid_selection_of_repositories_still_restricts() {
        for json in [
            r#"{"onboarding": {"selectedRepos": "acme/web"}}"#,
            r#"{"onboarding": {"selectedRepos": ["acme/web"]}}"#,
            r#"{"onboarding": {"selectedRepos": [{"id": true}]}}"#,
            r#"{"onboarding": 7}"#,
            "no JSON",
        ] {
            assert!(!read(json).allows_repository(RepositoryId::new(1), "acme/web"), "{json}");
        }
        for json in ["{}", r#"{"onboarding": null}"#, r#"{"onboarding": {"selectedRepos": []}}"#] {
            assert!(read(json).allows_repository(RepositoryId::new(1), "acme/web"), "{json}");
        }
    }
}
