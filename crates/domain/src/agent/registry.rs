//! All agents and providers of a Porter instance: the built-in ones and those that the operator adds or changes.
//! The registry is a plain value; `tasks::Policy` holds the current one.

use super::document::{self, Faults};
use super::{Agent, Keys, Provider, Specification};

/// The document that is part of the binary.
const SHIPPED: &str = include_str!("../../agents.toml");

/// Agents and the providers of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    pub(super) agents: Vec<Agent>,
    pub(super) providers: Vec<Provider>,
}

impl Registry {
    /// Returns the built-in registry.
    ///
    /// # Errors
    /// The faults of the built-in document; none in a build that passes its tests.
    pub fn shipped() -> Result<Self, Faults> {
        Self::read(&[("agents.toml", SHIPPED)])
    }

    /// Returns the built-in registry with the changes of this document. An entry replaces the whole entry with
    /// the same id in its position, or is appended. `name` identifies the document in faults.
    ///
    /// # Errors
    /// All faults of the document.
    pub fn with(name: &str, document: &str) -> Result<Self, Faults> {
        Self::read(&[("agents.toml", SHIPPED), (name, document)])
    }

    /// Parses documents, each given as a name and TOML. Entries of later documents are added or replace earlier
    /// ones.
    pub(super) fn read(documents: &[(&str, &str)]) -> Result<Self, Faults> {
        let mut registry = Self { agents: Vec::new(), providers: Vec::new() };
        let mut faults = Vec::new();
        for (name, text) in documents {
            let read = document::read(name, text);
            faults.extend(read.faults);
            for agent in read.agents {
                put(&mut registry.agents, agent, |agent| &agent.id);
            }
            for provider in read.providers {
                put(&mut registry.providers, provider, |provider| &provider.id);
            }
        }
        if faults.is_empty() {
            faults = document::disagreements(&registry);
        }
        if faults.is_empty() { Ok(registry) } else { Err(Faults(faults)) }
    }

    /// Returns every agent in display order.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// Returns the agent with this id or alias, regardless of case.
    pub fn find(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.is_called(name))
    }

    /// Returns the display name of the agent with this id, or the id itself when the agent is not in the
    /// registry.
    pub fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.find(id).map_or(id, |agent| &agent.name)
    }

    /// Returns the provider of the variable `env_key`, whose secret is stored under the provider's id.
    pub fn provider_of(&self, env_key: &str) -> Option<&Provider> {
        let has = |names: &[String]| names.iter().any(|name| name == env_key);
        self.providers
            .iter()
            .find(|provider| has(&provider.keys) || has(&provider.own_tool_keys) || has(&provider.settings))
    }

    /// Returns the agent's specification for an attempt with this model, for which
    /// [`is_model_name`](super::is_model_name) holds.
    pub fn specification(&self, agent: &Agent, model: Option<&str>) -> Specification {
        let mut agent = agent.clone();
        if agent.keys == Keys::OfModelProvider {
            let prefix = agent.provider_prefix(model).unwrap_or_default();
            match self.providers.iter().find(|provider| provider.id == prefix) {
                Some(provider) => {
                    agent.keys = Keys::Any(provider.keys.clone());
                    agent.optional_keys = provider.settings.clone();
                }
                // The key name is derived from the provider's name, which is correct for nearly every provider.
                // A name of this form can never be one of Porter's own variables.
                None => {
                    agent.keys = Keys::Any(vec![format!("{}_API_KEY", as_variable(prefix))]);
                    agent.optional_keys = Vec::new();
                }
            }
        }
        Specification(agent)
    }
}

/// Replaces the entry with the same id, or appends the entry.
fn put<T>(entries: &mut Vec<T>, entry: T, id: impl Fn(&T) -> &str) {
    match entries.iter_mut().find(|known| id(known) == id(&entry)) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

fn as_variable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
