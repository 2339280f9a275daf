//! Coding agents as data: their names, command lines, keys and output formats. [`Registry`] contains all agents;
//! [`Specification`] describes one agent for one attempt. No code depends on a particular agent's name.
//!
//! The agents are defined in `agents.toml`. A new agent is an entry there, and a reader in `worker::output` if
//! its output has its own format. `tasks` holds the registry in its policy. The worker has no registry; it
//! receives the specification in `AGENT_SPEC`.

mod document;
mod registry;

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

pub use document::Faults;
pub use registry::Registry;

/// A command whose first word is this placeholder starts Porter's own program.
const PORTER: &str = "{porter}";

/// A coding agent in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The agent's id in commands, settings and tasks.
    pub id: String,
    /// Other names that people may write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The display name, which is also the author of the commits that Porter makes for the agent.
    pub name: String,
    /// The package that contains the program; `None` if the program is part of Porter or already on the `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// The program and the fixed part of its command line; never empty.
    pub command: Vec<String>,
    /// The command-line option that selects the model, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_option: Option<String>,
    /// The model to use when the person names none; set only if the tool has no default of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// The keys that the agent requires.
    #[serde(default, skip_serializing_if = "Keys::is_none")]
    pub keys: Keys,
    /// Optional variables that the agent receives when the person has set them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional_keys: Vec<String>,
    /// Variables that disable self-updates, telemetry and interactive questions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Additional variables for running as root, which happens only in development and never in a machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub root_environment: BTreeMap<String, String>,
    /// The format of the agent's standard output.
    pub output: Output,
}

/// The package that contains an agent's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name in the npm registry.
    pub npm: String,
    /// The version in the worker image.
    pub version: String,
}

/// The program that is started as an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program<'a> {
    /// A program found on the `PATH`.
    Named(&'a str),
    /// Porter's own binary.
    Porter,
}

/// The keys that an agent requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "KeysForm", try_from = "KeysForm")]
pub enum Keys {
    /// No keys.
    #[default]
    None,
    /// All of these keys.
    All(Vec<String>),
    /// At least one of these keys.
    Any(Vec<String>),
    /// The key of the provider with which the model's name starts (`openai/gpt-5` → `OPENAI_API_KEY`).
    OfModelProvider,
}

/// The serialized form of [`Keys`]: `{ all = […] }`, `{ any = […] }` or `{ of_model_provider = true }`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeysForm {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    all: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    any: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    of_model_provider: bool,
}

/// The format of an agent's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// `claude --output-format stream-json`.
    Claude,
    /// `opencode run --format json`.
    Opencode,
    /// `amp --stream-json`.
    Amp,
}

/// A company or service that issues keys which agents use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The provider's id in model names and in stored secrets (`user_secrets.provider_id`).
    pub id: String,
    /// The display name.
    pub name: String,
    /// The names of the provider's keys; any one of them is sufficient.
    pub keys: Vec<String>,
    /// Keys that only the provider's own tool accepts.
    pub own_tool_keys: Vec<String>,
    /// Variables that belong to the keys but are not secret.
    pub settings: Vec<String>,
}

/// A missing key; any one of the alternatives would be sufficient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey {
    /// The alternatives in order of preference; never empty.
    pub any_of: Vec<String>,
}

impl std::fmt::Display for MissingKey {
    /// `ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.any_of.join(" or "))
    }
}

/// Returns whether `model` is a valid name of a model: at most 200 letters, digits and `. _ : / @ -`, starting
/// with a letter or digit, so that no command line interprets it as an option.
pub fn is_model_name(model: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    model.len() <= 200 && model.starts_with(|c: char| c.is_ascii_alphanumeric()) && model.chars().all(plain)
}

impl Agent {
    /// Returns whether `name` is the agent's id or an alias, regardless of case.
    pub fn is_called(&self, name: &str) -> bool {
        let names = self.aliases.iter().chain([&self.id]);
        names.into_iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Returns the program to start.
    pub fn program(&self) -> Program<'_> {
        match self.command.first().map(String::as_str) {
            Some(PORTER) => Program::Porter,
            name => Program::Named(name.unwrap_or_default()),
        }
    }

    /// Returns the arguments after the program's name. `model` is the person's choice, for which
    /// [`is_model_name`] holds.
    pub fn command_line(&self, model: Option<&str>) -> Vec<String> {
        let mut words: Vec<String> = self.command.iter().skip(1).cloned().collect();
        if let (Some(option), Some(model)) = (&self.model_option, model.or(self.default_model.as_deref())) {
            words.extend([option.clone(), model.to_owned()]);
        }
        words
    }

    /// Returns the provider prefix of `model`, or of the agent's default model; `None` when neither has a
    /// prefix.
    fn provider_prefix<'a>(&'a self, model: Option<&'a str>) -> Option<&'a str> {
        let provider = |model: &'a str| model.split_once('/').map(|(provider, _)| provider);
        model.and_then(provider).or_else(|| self.default_model.as_deref().and_then(provider))
    }
}

/// An agent for one attempt, with its required keys resolved. The worker receives it as JSON in `AGENT_SPEC`,
/// with the field names of the registry's documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Specification(#[serde(deserialize_with = "with_settled_keys")] Agent);

impl Deref for Specification {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.0
    }
}

impl Specification {
    /// Returns the required keys that are missing; `has` returns whether a key is available. The agent can run
    /// when the result is empty.
    pub fn missing_keys(&self, has: impl Fn(&str) -> bool) -> Vec<MissingKey> {
        let any_of = |names: &[String]| MissingKey { any_of: names.to_vec() };
        let needed = match &self.keys {
            Keys::None | Keys::OfModelProvider => Vec::new(),
            Keys::All(names) => names.iter().map(|name| any_of(std::slice::from_ref(name))).collect(),
            Keys::Any(names) => vec![any_of(names)],
        };
        needed.into_iter().filter(|key| !key.any_of.iter().any(|name| has(name))).collect()
    }

    /// Returns the JSON for the worker.
    pub fn to_json(&self) -> String {
        serde_json::to_value(self).unwrap_or_default().to_string()
    }

    /// Returns every variable that the agent may receive, required or optional.
    pub fn env_keys(&self) -> impl Iterator<Item = &str> {
        self.keys.names().iter().chain(&self.optional_keys).map(String::as_str)
    }
}

fn with_settled_keys<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Agent, D::Error> {
    let agent = Agent::deserialize(reader)?;
    match agent.keys {
        Keys::OfModelProvider => Err(serde::de::Error::custom("keys must be named")),
        _ => Ok(agent),
    }
}

impl Keys {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns the names of the keys.
    fn names(&self) -> &[String] {
        match self {
            Self::None | Self::OfModelProvider => &[],
            Self::All(names) | Self::Any(names) => names,
        }
    }
}

impl From<Keys> for KeysForm {
    fn from(keys: Keys) -> Self {
        match keys {
            Keys::None => Self::default(),
            Keys::All(all) => Self { all, ..Self::default() },
            Keys::Any(any) => Self { any, ..Self::default() },
            Keys::OfModelProvider => Self { of_model_provider: true, ..Self::default() },
        }
    }
}

impl TryFrom<KeysForm> for Keys {
    type Error = &'static str;

    fn try_from(form: KeysForm) -> Result<Self, &'static str> {
        match (form.all.is_empty(), form.any.is_empty(), form.of_model_provider) {
            (true, true, false) => Ok(Self::None),
            (false, true, false) => Ok(Self::All(form.all)),
            (true, false, false) => Ok(Self::Any(form.any)),
            (true, true, true) => Ok(Self::OfModelProvider),
            _ => Err("keys takes one of: all, any, of_model_provider"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Registry {
        Registry::shipped().unwrap()
    }

    fn specification(agent: &str, model: Option<&str>) -> Specification {
        let registry = shipped();
        registry.specification(registry.find(agent).unwrap(), model)
    }

    fn missing(agent: &str, model: Option<&str>, has: &[&str]) -> Vec<String> {
        let agent = specification(agent, model);
        agent.missing_keys(|key| has.contains(&key)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_agent_is_found_by_id_and_aliases_regardless_of_case() {
        let registry = shipped();
        for name in ["claude-code", "claude", "Claude", "CLAUDE-CODE"] {
            assert_eq!(registry.find(name).map(|agent| agent.id.as_str()), Some("claude-code"), "{name}");
        }
        assert_eq!(registry.find("codex"), None);
    }

    #[test]
    fn no_two_agents_share_a_name() {
        let registry = shipped();
        let names = registry.agents().iter().flat_map(|agent| agent.aliases.iter().chain([&agent.id]));
        let mut names: Vec<&String> = names.collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_missing_key_is_named_with_its_alternatives() {
        assert_eq!(missing("claude", None, &[]), ["ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN"]);
        assert_eq!(missing("claude", None, &["CLAUDE_CODE_OAUTH_TOKEN"]), [""; 0]);
        assert_eq!(missing("amp", None, &["ANTHROPIC_API_KEY"]), ["AMP_API_KEY"]);
        assert_eq!(missing("mock", None, &[]), [""; 0]);
    }

    #[test]
    fn the_key_of_opencode_follows_the_provider_of_the_model() {
        assert_eq!(missing("opencode", None, &["CLAUDE_CODE_OAUTH_TOKEN"]), ["ANTHROPIC_API_KEY"]);
        assert_eq!(missing("opencode", Some("openai/gpt-5"), &["ANTHROPIC_API_KEY"]), ["OPENAI_API_KEY"]);
        assert_eq!(missing("opencode", Some("google/gemini-3-pro"), &["GEMINI_API_KEY"]), [""; 0]);
        assert_eq!(missing("opencode", Some("fast-ai/x"), &[]), ["FAST_AI_API_KEY"]);
    }

    #[test]
    fn no_model_name_selects_one_of_porters_own_secrets() {
        for model in ["GITHUB_TOKEN/x", "callback_token/x", "/x", "CALLBACK_TOKEN=/x"] {
            for key in specification("opencode", Some(model)).env_keys() {
                assert!(key.ends_with("_API_KEY"), "{model} results in {key}");
            }
        }
    }

    #[test]
    fn the_model_goes_on_the_command_line_only_where_there_is_one() {
        let line = |name: &str, model| shipped().find(name).unwrap().command_line(model).join(" ");
        assert!(line("claude", None).ends_with("--strict-mcp-config"));
        assert!(line("claude", Some("opus")).ends_with(" --model opus"));
        assert_eq!(line("opencode", None), "run --auto --format json -m anthropic/claude-sonnet-4-5");
        assert_eq!(line("mock", Some("opus")), "mock-agent -");
    }

    #[test]
    fn every_key_an_agent_needs_belongs_to_a_provider() {
        let registry = shipped();
        let provider_of = |key: &str| registry.provider_of(key).map(|provider| provider.id.as_str());
        for agent in registry.agents() {
            for key in registry.specification(agent, None).env_keys() {
                assert!(provider_of(key).is_some(), "{} of {}", key, agent.id);
            }
        }
        assert_eq!(provider_of("CLAUDE_CODE_OAUTH_TOKEN"), Some("anthropic"));
        assert_eq!(provider_of("GITHUB_TOKEN"), None);
    }

    #[test]
    fn a_model_name_that_looks_like_an_option_is_rejected() {
        for model in ["--help", "-m", "", "a b", "a\nb", "/x", "x;y"] {
            assert!(!is_model_name(model), "{model:?}");
        }
        assert!(is_model_name("openrouter/anthropic/claude-sonnet-4.5:beta"));
    }

    #[test]
    fn a_specification_is_unchanged_after_serialization() {
        for (agent, model) in [("claude", None), ("amp", None), ("opencode", Some("google/gemini-3-pro"))] {
            let sent = specification(agent, model);
            let text = serde_json::to_string(&sent).unwrap();
            assert_eq!(serde_json::from_str::<Specification>(&text).unwrap(), sent, "{text}");
        }
    }

    #[test]
    fn a_specification_names_its_keys() {
        let unsettled = r#"{"id": "x", "name": "X", "command": ["x"], "keys": {"of_model_provider": true}, "output": "amp"}"#;
        let refused = serde_json::from_str::<Specification>(unsettled).unwrap_err().to_string();
        assert!(refused.contains("keys must be named"), "{refused}");
    }

    #[test]
    fn the_worker_image_has_the_versions_of_the_registry() {
        let dockerfile = concat!(env!("CARGO_MANIFEST_DIR"), "/../../worker-image/Dockerfile");
        let dockerfile = std::fs::read_to_string(dockerfile).unwrap();
        for package in shipped().agents().iter().filter_map(|agent| agent.package.as_ref()) {
            let pinned = format!(" {}@{} ", package.npm, package.version);
            assert!(dockerfile.contains(&pinned), "worker-image/Dockerfile does not install{pinned}");
        }
    }
}
