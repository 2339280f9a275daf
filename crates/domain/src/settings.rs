//! A person's settings as they are stored in `user_settings.config_json` (main-spec §8, without
//! any secret). Read leniently and part by part: what is missing or cannot be read has a default, what is
//! unknown is left alone. Only what forbids something fails closed: an agent whose `enabled` cannot be read is
//! switched off, and a repository that cannot be read among those chosen is none.

use std::collections::BTreeMap;

use crate::ids::RepositoryId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::agent::Agent;
use super::priority::Priority;

/// What a person has set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// Where their machines run.
    #[serde(deserialize_with = "or_default")]
    pub fly_app_name: Option<String>,
    /// By agent id.
    #[serde(deserialize_with = "deserialize_agents")]
    pub agents: Agents,
    /// Limits.
    #[serde(deserialize_with = "or_default")]
    pub settings: Limits,
    /// What was chosen when they began.
    #[serde(deserialize_with = "deserialize_onboarding")]
    pub onboarding: Onboarding,
}

/// What a person has set for their agents.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    by_id: BTreeMap<String, AgentSettings>,
    /// It cannot be read, so that every agent is off.
    unreadable: bool,
}

/// What a person has set for one agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSettings {
    /// It may be used.
    #[serde(deserialize_with = "deserialize_flag")]
    pub enabled: bool,
    /// `low`, `normal` or `high`, unless the comment says otherwise.
    #[serde(deserialize_with = "or_default")]
    pub priority: Option<String>,
    /// Added to each prompt.
    #[serde(deserialize_with = "or_default")]
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
    #[serde(deserialize_with = "or_default")]
    pub task_timeout: Option<f64>,
}

/// What a person chose when they began.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Onboarding {
    /// Where Porter may work for them; empty means everywhere it is installed.
    #[serde(deserialize_with = "or_none_of_them")]
    pub selected_repos: Vec<SelectedRepository>,
}

/// A repository that a person chose.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectedRepository {
    /// GitHub's number for it.
    #[serde(deserialize_with = "or_default")]
    pub id: Option<RepositoryId>,
    /// `owner/name`.
    #[serde(deserialize_with = "or_default")]
    pub full_name: Option<String>,
}

impl Settings {
    /// Reads what is stored; where it is no JSON object, nothing is allowed until it is stored anew.
    pub fn parse(json: Option<&str>) -> Self {
        let Some(json) = json else { return Self::default() };
        serde_json::from_str(json).unwrap_or_else(|_| Self {
            agents: all_off(),
            onboarding: Onboarding { selected_repos: nowhere() },
            ..Self::default()
        })
    }

    /// Whether the person lets this agent run. One they never spoke of may.
    pub fn is_enabled(&self, agent: &str) -> bool {
        self.agents.by_id.get(agent).map_or(!self.agents.unreadable, |agent| agent.enabled)
    }

    /// The agent that runs when the comment names none: the first of those on offer that the person enabled
    /// by name, else opencode (main-spec §4), or, when that is switched off, the first that is not.
    pub fn default_agent<'a>(&self, offered: impl Iterator<Item = &'a Agent> + Clone) -> &'a str {
        let mut ids = offered.map(|agent| agent.id.as_str());
        let enabled = ids.clone().find(|id| self.agents.by_id.get(*id).is_some_and(|agent| agent.enabled));
        enabled
            .or_else(|| Some("opencode").filter(|id| self.is_enabled(id)))
            .or_else(|| ids.find(|id| self.is_enabled(id)))
            .unwrap_or("opencode")
    }

    /// The priority this agent's tasks have unless the comment says otherwise.
    pub fn priority_of(&self, agent: &str) -> Priority {
        self.agents
            .by_id
            .get(agent)
            .and_then(|agent| agent.priority.as_deref())
            .and_then(Priority::parse)
            .unwrap_or_default()
    }

    /// What the person adds to this agent's prompts.
    pub fn custom_prompt_of(&self, agent: &str) -> Option<&str> {
        self.agents.by_id.get(agent)?.custom_prompt.as_deref().filter(|prompt| !prompt.trim().is_empty())
    }

    /// Whether the person lets Porter work in this repository.
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

/// A choice that no repository is among.
fn nowhere() -> Vec<SelectedRepository> {
    vec![SelectedRepository::default()]
}

/// What stands there; the default when it cannot be read.
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
    fn one_part_that_cannot_be_read_takes_no_other_along() {
        let settings = read(
            r#"{"flyAppName": 7, "settings": {"taskTimeout": "ten"},
                "agents": {"amp": {"enabled": false, "priority": 3, "customPrompt": "Be brief."}},
                "onboarding": {"selectedRepos": [{"id": "1", "fullName": "acme/web"}]}}"#,
        );
        assert_eq!((&settings.fly_app_name, settings.settings.task_timeout), (&None, None));
        assert!(!settings.is_enabled("amp") && settings.is_enabled("opencode"));
        assert_eq!(settings.priority_of("amp"), Priority::Normal);
        assert_eq!(settings.custom_prompt_of("amp"), Some("Be brief."));
        assert!(
            settings.allows_repository(RepositoryId::new(1), "Acme/Web")
                && !settings.allows_repository(RepositoryId::new(1), "acme/other")
        );
    }

    #[test]
    fn an_agent_is_off_when_nobody_can_tell() {
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
    fn a_choice_of_repositories_that_cannot_be_read_is_still_one() {
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
