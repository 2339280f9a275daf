//! The registry of coding agents, as data: what each is called, how it is started, which keys it needs and
//! how its output reads. A new agent is a new row here (and a reader in `worker::output` when it speaks a
//! format of its own); no other code knows any agent by name.
//!
//! Command lines and variables were checked against the published command line tools: opencode-ai 1.18,
//! @anthropic-ai/claude-code 2.1 and @ampcode/cli. Every agent reads its prompt from standard input, so a
//! prompt of any length, beginning with any character, is never taken for an option.

/// A coding agent. What [`Agent::all`] lists is all there is.
#[derive(Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its name in commands, settings and tasks.
    pub id: &'static str,
    /// Other names a person may write.
    pub aliases: &'static [&'static str],
    /// Its name for people; the author of the commits Porter makes for it.
    pub name: &'static str,
    /// The npm package that brings it, unless it is part of Porter.
    pub package: Option<&'static str>,
    /// What is started.
    pub program: Program,
    /// The fixed part of the command line.
    pub arguments: &'static [&'static str],
    /// The option that chooses the model, when there is one.
    pub model_option: Option<&'static str>,
    /// The model when the person named none; only where the tool cannot choose by itself.
    pub default_model: Option<&'static str>,
    /// What keeps it from updating itself, phoning home or asking questions.
    pub environment: &'static [(&'static str, &'static str)],
    /// What it needs on top to run as root (development only: in a machine it never does).
    pub root_environment: &'static [(&'static str, &'static str)],
    /// The keys it cannot run without.
    pub keys: Keys,
    /// Variables it may be given besides, when the person has set them.
    pub optional: &'static [&'static str],
    /// How its standard output reads.
    pub output: Output,
}

/// What is started as an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A program found on the `PATH`.
    Named(&'static str),
    /// Porter's own binary.
    Porter,
}

/// Which keys an agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// None.
    None,
    /// Every one of these.
    AllOf(&'static [&'static str]),
    /// At least one of these.
    AnyOf(&'static [&'static str]),
    /// The key of the provider that the model's name begins with (`openai/gpt-5` → `OPENAI_API_KEY`).
    OfModelProvider,
}

/// The format of an agent's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// `claude --output-format stream-json`.
    Claude,
    /// `opencode run --format json`.
    Opencode,
    /// `amp --stream-json`.
    Amp,
}

/// Somebody whose keys agents use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name in models and in stored secrets (`user_secrets.provider_id`).
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Its key, or its keys: any one of them will do.
    pub keys: &'static [&'static str],
    /// Variables that go with the keys and are not secret by themselves.
    pub settings: &'static [&'static str],
}

/// Keys that must be there and are not: any one of the names would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey {
    /// The alternatives, best first; never empty.
    pub any_of: Vec<String>,
}

impl std::fmt::Display for MissingKey {
    /// `ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.any_of.join(" or "))
    }
}

static AGENTS: [Agent; 4] = [
    Agent {
        id: "opencode",
        aliases: &[],
        name: "OpenCode",
        package: Some("opencode-ai"),
        program: Program::Named("opencode"),
        // Without --auto every permission question is answered "no".
        arguments: &["run", "--auto", "--format", "json"],
        model_option: Some("-m"),
        default_model: Some("anthropic/claude-sonnet-4-5"),
        environment: &[
            // A repository's opencode.json and .opencode/ start programs and can send the key elsewhere.
            // This also stops its AGENTS.md, which is in the prompt.
            ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
            ("OPENCODE_DISABLE_DEFAULT_PLUGINS", "1"),
        ],
        root_environment: &[],
        keys: Keys::OfModelProvider,
        optional: &[],
        output: Output::Opencode,
    },
    Agent {
        id: "claude-code",
        aliases: &["claude"],
        name: "Claude Code",
        package: Some("@anthropic-ai/claude-code"),
        program: Program::Named("claude"),
        // stream-json needs --verbose. -p trusts the folder unasked, so the repository's own settings
        // (hooks!) and MCP servers are kept out.
        arguments: &[
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--dangerously-skip-permissions",
            "--setting-sources",
            "user",
            "--strict-mcp-config",
        ],
        model_option: Some("--model"),
        default_model: None,
        environment: &[("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"), ("DISABLE_AUTOUPDATER", "1")],
        root_environment: &[("IS_SANDBOX", "1")],
        keys: Keys::AnyOf(&["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"]),
        optional: &["ANTHROPIC_BASE_URL"],
        output: Output::Claude,
    },
    Agent {
        id: "amp",
        aliases: &[],
        name: "Amp",
        package: Some("@ampcode/cli"),
        program: Program::Named("amp"),
        arguments: &["-x", "--stream-json", "--dangerously-allow-all"],
        model_option: Some("-m"),
        default_model: None,
        environment: &[("AMP_SKIP_UPDATE_CHECK", "1")],
        root_environment: &[],
        keys: Keys::AllOf(&["AMP_API_KEY"]),
        optional: &[],
        output: Output::Amp,
    },
    Agent {
        id: "mock",
        aliases: &[],
        name: "Mock Agent",
        package: None,
        program: Program::Porter,
        arguments: &["mock-agent", "-"],
        model_option: None,
        default_model: None,
        environment: &[],
        root_environment: &[],
        keys: Keys::None,
        optional: &[],
        output: Output::Claude,
    },
];

/// Every provider whose keys Porter keeps. The names are those of models.dev.
pub static PROVIDERS: [Provider; 10] = [
    provider(
        "anthropic",
        "Anthropic",
        &["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
        &["ANTHROPIC_BASE_URL"],
    ),
    provider("openai", "OpenAI", &["OPENAI_API_KEY"], &["OPENAI_BASE_URL"]),
    provider("amp", "Amp", &["AMP_API_KEY"], &[]),
    provider("opencode", "OpenCode Zen", &["OPENCODE_API_KEY"], &[]),
    provider("openrouter", "OpenRouter", &["OPENROUTER_API_KEY"], &[]),
    provider("google", "Google", &["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"], &[]),
    provider("groq", "Groq", &["GROQ_API_KEY"], &[]),
    provider("mistral", "Mistral", &["MISTRAL_API_KEY"], &[]),
    provider("deepseek", "DeepSeek", &["DEEPSEEK_API_KEY"], &[]),
    provider("xai", "xAI", &["XAI_API_KEY"], &[]),
];

const fn provider(
    id: &'static str,
    name: &'static str,
    keys: &'static [&'static str],
    settings: &'static [&'static str],
) -> Provider {
    Provider { id, name, keys, settings }
}

/// The provider that the variable `env_key` belongs to: the `provider_id` it is stored under.
pub fn provider_of(env_key: &str) -> Option<&'static str> {
    PROVIDERS
        .iter()
        .find(|provider| provider.keys.contains(&env_key) || provider.settings.contains(&env_key))
        .map(|provider| provider.id)
}

/// Whether `model` can be the name of a model: letters, digits and `. _ : / @ -`, beginning with a letter
/// or digit (so that no command line takes it for an option), at most 200 of them.
pub fn is_model_name(model: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@-".contains(c);
    model.len() <= 200 && model.starts_with(|c: char| c.is_ascii_alphanumeric()) && model.chars().all(plain)
}

impl Agent {
    /// Every agent, in the order in which they are listed to people.
    pub fn all() -> &'static [Self] {
        &AGENTS
    }

    /// The agent with this id or alias, in any case.
    pub fn find(name: &str) -> Option<&'static Self> {
        AGENTS.iter().find(|agent| {
            agent.id.eq_ignore_ascii_case(name)
                || agent.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The words after the program's name. `model` is what the person chose ([`is_model_name`] holds).
    pub fn command_line(&self, model: Option<&str>) -> Vec<String> {
        let mut words: Vec<String> = self.arguments.iter().map(|word| (*word).to_owned()).collect();
        if let (Some(option), Some(model)) = (self.model_option, model.or(self.default_model)) {
            words.extend([option.to_owned(), model.to_owned()]);
        }
        words
    }

    /// The keys this agent still needs to run `model`; `has` tells which are there. Empty: it can run.
    pub fn missing_keys(&self, model: Option<&str>, has: impl Fn(&str) -> bool) -> Vec<MissingKey> {
        let needs = self.needed_keys(model);
        needs.into_iter().filter(|key| !key.any_of.iter().any(|name| has(name))).collect()
    }

    /// Every variable this agent may be given when it runs `model`, required or not.
    pub fn env_keys(&self, model: Option<&str>) -> Vec<String> {
        let needed = self.needed_keys(model).into_iter().flat_map(|key| key.any_of);
        let settings = match self.keys {
            Keys::OfModelProvider => self.model_provider(model).map_or(&[][..], |provider| provider.settings),
            _ => self.optional,
        };
        needed.chain(settings.iter().map(|name| (*name).to_owned())).collect()
    }

    fn needed_keys(&self, model: Option<&str>) -> Vec<MissingKey> {
        let any_of = |names: &[&str]| MissingKey { any_of: names.iter().map(|n| (*n).to_owned()).collect() };
        match self.keys {
            Keys::None => Vec::new(),
            Keys::AllOf(names) => names.iter().map(|name| any_of(&[name])).collect(),
            Keys::AnyOf(names) => vec![any_of(names)],
            Keys::OfModelProvider => match self.model_provider(model) {
                // A subscription token of Claude Code is of no use to another program.
                Some(provider) if provider.id == "anthropic" => vec![any_of(&["ANTHROPIC_API_KEY"])],
                Some(provider) => vec![any_of(provider.keys)],
                // Nearly every provider's key is called so; only these can reach an agent, never one of
                // Porter's own variables.
                None => vec![any_of(&[&format!("{}_API_KEY", shouted(provider_prefix(self, model)))])],
            },
        }
    }

    fn model_provider(&self, model: Option<&str>) -> Option<&'static Provider> {
        let prefix = provider_prefix(self, model);
        PROVIDERS.iter().find(|provider| provider.id == prefix)
    }
}

fn provider_prefix<'a>(agent: &Agent, model: Option<&'a str>) -> &'a str {
    let model = model.or(agent.default_model).unwrap_or_default();
    model.split_once('/').map_or("anthropic", |(provider, _)| provider)
}

fn shouted(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(agent: &str, model: Option<&str>, has: &[&str]) -> Vec<String> {
        let agent = Agent::find(agent).unwrap();
        agent.missing_keys(model, |key| has.contains(&key)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_agent_answers_to_its_id_and_aliases_in_any_case() {
        for name in ["claude-code", "claude", "Claude", "CLAUDE-CODE"] {
            assert_eq!(Agent::find(name).map(|agent| agent.id), Some("claude-code"), "{name}");
        }
        assert_eq!(Agent::find("codex"), None);
    }

    #[test]
    fn no_two_agents_share_a_name() {
        let mut names: Vec<&str> =
            Agent::all().iter().flat_map(|agent| agent.aliases.iter().copied().chain([agent.id])).collect();
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
    fn no_model_name_can_ask_for_one_of_porters_own_secrets() {
        let opencode = Agent::find("opencode").unwrap();
        for model in ["GITHUB_TOKEN/x", "callback_token/x", "/x", "CALLBACK_TOKEN=/x"] {
            for key in opencode.env_keys(Some(model)) {
                assert!(key.ends_with("_API_KEY"), "{model} gives {key}");
            }
        }
    }

    #[test]
    fn the_model_goes_on_the_command_line_only_where_there_is_one() {
        let line = |name: &str, model| Agent::find(name).unwrap().command_line(model).join(" ");
        assert!(line("claude", None).ends_with("--strict-mcp-config"));
        assert!(line("claude", Some("opus")).ends_with(" --model opus"));
        assert_eq!(line("opencode", None), "run --auto --format json -m anthropic/claude-sonnet-4-5");
        assert_eq!(line("mock", Some("opus")), "mock-agent -");
    }

    #[test]
    fn every_key_an_agent_needs_belongs_to_a_provider() {
        for agent in Agent::all() {
            for key in agent.env_keys(None) {
                assert!(provider_of(&key).is_some(), "{} of {}", key, agent.id);
            }
        }
        assert_eq!(provider_of("CLAUDE_CODE_OAUTH_TOKEN"), Some("anthropic"));
        assert_eq!(provider_of("GITHUB_TOKEN"), None);
    }

    #[test]
    fn a_model_name_that_looks_like_an_option_is_none() {
        for model in ["--help", "-m", "", "a b", "a\nb", "/x", "x;y"] {
            assert!(!is_model_name(model), "{model:?}");
        }
        assert!(is_model_name("openrouter/anthropic/claude-sonnet-4.5:beta"));
    }
}
