//! All agents and providers that a Porter knows: those it ships with, and those that the operator adds or
//! changes. A plain value; `tasks::Policy` holds the one that is in use.

use super::document::{self, Faults};
use super::{Agent, Keys, Provider, Specification};

/// The document in the binary.
const SHIPPED: &str = include_str!("../../agents.toml");

/// Agents and the providers whose keys they use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    pub(super) agents: Vec<Agent>,
    pub(super) providers: Vec<Provider>,
}

impl Registry {
    /// What Porter ships with.
    ///
    /// # Errors
    /// Never in a build that passes its tests.
    pub fn shipped() -> Result<Self, Faults> {
        Self::read(&[("agents.toml", SHIPPED)])
    }

    /// What Porter ships with, changed by this document: an entry replaces the one with its id, whole and in its
    /// place, or is added at the end. `name` is the document's, for what is wrong with it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn with(name: &str, document: &str) -> Result<Self, Faults> {
        Self::read(&[("agents.toml", SHIPPED), (name, document)])
    }

    /// Reads documents, each a name and TOML; later ones add to earlier ones or replace their entries.
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

    /// Every agent, in the order in which they are listed to people.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The agent with this id or alias, in any case.
    pub fn find(&self, name: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.is_called(name))
    }

    /// What people call the agent with this id; the id itself when it is not known (any more).
    pub fn name_of<'a>(&'a self, id: &'a str) -> &'a str {
        self.find(id).map_or(id, |agent| &agent.name)
    }

    /// The provider that the variable `env_key` belongs to: its secret is stored under this provider's id.
    pub fn provider_of(&self, env_key: &str) -> Option<&Provider> {
        let has = |names: &[String]| names.iter().any(|name| name == env_key);
        self.providers
            .iter()
            .find(|provider| has(&provider.keys) || has(&provider.own_tool_keys) || has(&provider.settings))
    }

    /// The agent as an attempt with this model runs it ([`is_model_name`](super::is_model_name) holds).
    pub fn specification(&self, agent: &Agent, model: Option<&str>) -> Specification {
        let mut agent = agent.clone();
        if agent.keys == Keys::OfModelProvider {
            let prefix = agent.provider_prefix(model).unwrap_or_default();
            match self.providers.iter().find(|provider| provider.id == prefix) {
                Some(provider) => {
                    agent.keys = Keys::Any(provider.keys.clone());
                    agent.optional_keys = provider.settings.clone();
                }
                // Nearly every provider's key is called so; only these can reach an agent, never one of
                // Porter's own variables.
                None => {
                    agent.keys = Keys::Any(vec![format!("{}_API_KEY", as_variable(prefix))]);
                    agent.optional_keys = Vec::new();
                }
            }
        }
        Specification(agent)
    }
}

/// Replaces the entry with the same id, or adds one.
fn put<T>(entries: &mut Vec<T>, entry: T, id: impl Fn(&T) -> &str) {
    match entries.iter_mut().find(|known| id(known) == id(&entry)) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

fn as_variable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}
