//! Parses a document of the registry (TOML, main-spec §10) and reports all faults at once, each with its entry.
//! A field that Porter does not use is a fault, so that nobody relies on it.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Agent, Keys, PORTER, Provider, Registry};
use crate::assignment::is_own_variable;

/// The faults of a document, one sentence each; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// The contents of one document.
#[derive(Default)]
pub(super) struct Read {
    pub agents: Vec<Agent>,
    pub providers: Vec<Provider>,
    pub faults: Vec<String>,
}

/// Parses the document called `name`.
pub(super) fn read(name: &str, text: &str) -> Read {
    let mut read = Read::default();
    let mut document = match text.parse::<Table>() {
        Ok(document) => document,
        Err(error) => {
            read.faults.push(format!("{name} is not TOML: {}", error.to_string().trim_end()));
            return read;
        }
    };
    let agents = entries(name, &mut document, "agent", &mut read.faults);
    let providers = entries(name, &mut document, "provider", &mut read.faults);
    read.faults
        .extend(document.keys().map(|key| format!("{name}: {key} is not known; valid are: agent, provider")));
    for (place, table) in agents {
        read.agents.extend(agent(Fields { place, table, faults: &mut read.faults }));
    }
    for (place, table) in providers {
        read.providers.extend(provider(Fields { place, table, faults: &mut read.faults }));
    }
    let ids: Vec<(&str, &str)> = (read.agents.iter().map(|agent| ("agent", agent.id.as_str())))
        .chain(read.providers.iter().map(|provider| ("provider", provider.id.as_str())))
        .collect();
    for (index, (kind, id)) in ids.iter().enumerate() {
        if ids[..index].contains(&(*kind, *id)) {
            read.faults.push(format!("{name}: there are two entries of {kind} {id}"));
        }
    }
    read
}

/// Returns the tables of `[[kind]]`, each with its position in the document.
fn entries(name: &str, document: &mut Table, kind: &str, faults: &mut Vec<String>) -> Vec<(String, Table)> {
    let entries = match document.remove(kind) {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            faults.push(format!("{name}: {kind} must be written as [[{kind}]]"));
            Vec::new()
        }
    };
    let mut tables = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        match entry {
            Value::Table(table) => {
                let id = table.get("id").and_then(Value::as_str).map(str::to_owned);
                let id = id.unwrap_or_else(|| format!("number {}", index + 1));
                tables.push((format!("{name}, {kind} {id}"), table));
            }
            _ => faults.push(format!("{name}: {kind} must be written as [[{kind}]]")),
        }
    }
    tables
}

/// The fields of an entry that were not read yet.
struct Fields<'a> {
    place: String,
    table: Table,
    faults: &'a mut Vec<String>,
}

impl Fields<'_> {
    fn fault(&mut self, what: impl fmt::Display) {
        self.faults.push(format!("{}: {what}", self.place));
    }

    /// Returns the field's value; `None` when it is missing or invalid.
    fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        match self.table.remove(name)?.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = error.to_string();
                self.fault(format_args!("{name}: {}", reason.trim_end()));
                None
            }
        }
    }

    /// Returns the field's value, and records a fault when it is missing.
    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        if !self.table.contains_key(name) {
            self.fault(format_args!("{name} is missing"));
        }
        self.optional(name)
    }

    fn or_default<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.optional(name).unwrap_or_default()
    }

    /// Checks a field for which `only` is currently the only valid value.
    fn only(&mut self, name: &str, only: &str) {
        if let Some(value) = self.optional::<String>(name)
            && value != only
        {
            self.fault(format_args!("{name} is {value:?}; valid is: {only}"));
        }
    }

    fn id(&mut self) -> Option<String> {
        let id: String = self.required("id")?;
        self.name("id", &id);
        Some(id)
    }

    /// Checks a name that people write in comments and that becomes part of labels.
    fn name(&mut self, field: &str, name: &str) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !begins || name.len() > 40 || !name.chars().all(plain) {
            self.fault(format_args!(
                "{field} is {name:?}; it must be 1 to 40 of a-z, 0-9 and -, and not begin with -"
            ));
        }
    }

    /// Checks the names of variables that an agent receives.
    fn variables<'a>(&mut self, field: &str, names: impl IntoIterator<Item = &'a String>) {
        for name in names {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
                self.fault(format_args!("{field} names {name:?}, which cannot be an environment variable"));
            } else if is_own_variable(name) {
                self.fault(format_args!("{field} names {name}, which is Porter's own"));
            }
        }
    }

    /// Records every remaining field as unknown.
    fn finish(mut self) {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for name in left {
            self.fault(format_args!("{name} is not known"));
        }
    }
}

fn agent(mut fields: Fields<'_>) -> Option<Agent> {
    let id = fields.id();
    let name: Option<String> = fields.required("name");
    let command: Option<Vec<String>> = fields.required("command");
    let output = fields.required("output");
    let agent = Agent {
        aliases: fields.or_default("aliases"),
        package: fields.optional("package"),
        model_option: fields.optional("model_option"),
        default_model: fields.optional("default_model"),
        keys: fields.optional("keys").unwrap_or_default(),
        optional_keys: fields.or_default("optional_keys"),
        environment: fields.or_default("environment"),
        root_environment: fields.or_default("root_environment"),
        id: id.clone().unwrap_or_default(),
        name: name.clone().unwrap_or_default(),
        command: command.clone().unwrap_or_default(),
        output: output.unwrap_or(super::Output::Claude),
    };
    fields.only("prompt", "stdin");
    for alias in &agent.aliases {
        fields.name("aliases", alias);
    }
    let is_program = |word: &String| !word.is_empty() && !word.contains(['/', ' ']);
    if command.as_ref().is_some_and(|command| !command.first().is_some_and(is_program)) {
        fields.fault(format_args!("command must begin with the name of a program on the PATH, or {PORTER}"));
    }
    if name.is_some_and(|name| name.trim().is_empty() || name.contains(['<', '>', '\n'])) {
        fields.fault("name must be a line of text without < and >");
    }
    if let Some(model) = agent.default_model.as_deref().filter(|model| !super::is_model_name(model)) {
        fields.fault(format_args!("default_model is {model:?}, which cannot be the name of a model"));
    }
    fields.variables("keys", agent.keys.names());
    fields.variables("optional_keys", &agent.optional_keys);
    fields.variables("environment", agent.environment.keys());
    fields.variables("root_environment", agent.root_environment.keys());
    fields.finish();
    (id.is_some() && command.is_some() && output.is_some()).then_some(agent)
}

fn provider(mut fields: Fields<'_>) -> Option<Provider> {
    let id = fields.id();
    let name = fields.required("name");
    let keys: Option<Vec<String>> = fields.required("keys");
    let own_tool_keys = fields.or_default("own_tool_keys");
    let settings = fields.or_default("settings");
    if keys.as_ref().is_some_and(Vec::is_empty) {
        fields.fault("keys must name one at least");
    }
    fields.variables("keys", keys.iter().flatten());
    fields.variables("own_tool_keys", &own_tool_keys);
    fields.variables("settings", &settings);
    fields.finish();
    Some(Provider { id: id?, name: name?, keys: keys?, own_tool_keys, settings })
}

/// Returns the conflicts between the entries of all documents.
pub(super) fn disagreements(registry: &Registry) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, agent) in registry.agents.iter().enumerate() {
        let names: Vec<&String> = agent.aliases.iter().chain([&agent.id]).collect();
        for other in &registry.agents[..index] {
            for name in names.iter().filter(|name| other.is_called(name)) {
                faults.push(format!("agent {}: {} goes by the name {name}, too", agent.id, other.id));
            }
        }
        let keys = agent.keys.names().iter().chain(&agent.optional_keys);
        for key in keys.filter(|key| registry.provider_of(key).is_none()) {
            faults.push(format!("agent {}: {key} belongs to no provider", agent.id));
        }
        let provider = agent.provider_prefix(None);
        let known = |id: &str| registry.providers.iter().any(|provider| provider.id == id);
        if agent.keys == Keys::OfModelProvider && !provider.is_some_and(known) {
            faults.push(format!(
                "agent {}: with keys of the model's provider, default_model must begin with a provider's id and /",
                agent.id
            ));
        }
    }
    for (index, provider) in registry.providers.iter().enumerate() {
        let names = || [&provider.keys, &provider.own_tool_keys, &provider.settings].into_iter().flatten();
        let earlier = &registry.providers[..index];
        for name in names() {
            let of_other = |other: &&Provider| {
                [&other.keys, &other.own_tool_keys, &other.settings]
                    .into_iter()
                    .flatten()
                    .any(|own| own == name)
            };
            if let Some(other) = earlier.iter().find(of_other) {
                faults.push(format!("provider {}: {name} belongs to {} already", provider.id, other.id));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests;
