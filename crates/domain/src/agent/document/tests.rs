//! Tests of operators' documents: their changes to the registry, and the reported faults.

use crate::agent::{Keys, Registry};

const CODEX: &str = r#"
[[agent]]
id = "codex"
aliases = ["openai-codex"]
name = "Codex CLI"
package = { npm = "@openai/codex", version = "0.171.0" }
command = ["codex", "exec", "--json", "-"]
prompt = "stdin"
model_option = "-m"
keys = { any = ["CODEX_API_KEY", "OPENAI_API_KEY"] }
optional_keys = ["OPENAI_BASE_URL"]
environment = { CODEX_DISABLE_TELEMETRY = "1" }
output = "claude"

[[provider]]
id = "openai"
name = "OpenAI"
keys = ["OPENAI_API_KEY"]
own_tool_keys = ["CODEX_API_KEY"]
settings = ["OPENAI_BASE_URL"]
"#;

fn ids(registry: &Registry) -> Vec<&str> {
    registry.agents().iter().map(|agent| agent.id.as_str()).collect()
}

fn faults(document: &str) -> Vec<String> {
    Registry::with("my.toml", document).unwrap_err().0
}

#[test]
fn porter_ships_with_four_agents_and_ten_providers() {
    let registry = Registry::shipped().unwrap();
    assert_eq!(ids(&registry), ["opencode", "claude-code", "amp", "mock"]);
    assert_eq!(registry.providers.len(), 10);
}

#[test]
fn a_second_document_adds_agents_after_the_others() {
    let registry = Registry::with("my.toml", CODEX).unwrap();
    assert_eq!(ids(&registry), ["opencode", "claude-code", "amp", "mock", "codex"]);
    let codex = registry.find("OpenAI-Codex").unwrap();
    assert_eq!(codex.keys, Keys::Any(vec!["CODEX_API_KEY".to_owned(), "OPENAI_API_KEY".to_owned()]));
    assert_eq!(registry.provider_of("CODEX_API_KEY").map(|provider| provider.id.as_str()), Some("openai"));
    assert_eq!(registry.providers.len(), 10, "the provider replaces the one with the same id");
}

#[test]
fn an_entry_replaces_the_whole_entry_with_the_same_id_in_its_position() {
    let document = r#"
        [[agent]]
        id = "claude-code"
        name = "Our Claude"
        command = ["our-claude"]
        output = "claude"
    "#;
    let registry = Registry::with("my.toml", document).unwrap();
    assert_eq!(ids(&registry), ["opencode", "claude-code", "amp", "mock"]);
    let claude = registry.find("claude-code").unwrap();
    assert_eq!((claude.name.as_str(), &claude.keys), ("Our Claude", &Keys::None));
    assert_eq!(registry.find("claude"), None, "the alias was part of the replaced entry");
}

#[test]
fn all_faults_are_reported_at_once() {
    let document = r#"
        colour = "red"
        [[agent]]
        id = "Big Agent"
        name = 7
        command = []
        prompt = "argument"
        keys = { any = ["A"], all = ["B"] }
        optional_keys = ["GITHUB_TOKEN", "two words"]
        environment = { PATH = "/bin" }
        default_model = "--help"
        home_files = {}
        output = "morse"
        [[agent]]
        name = "Nobody"
        command = ["nobody"]
        output = "amp"
        [[provider]]
        id = "empty"
        name = "Empty"
        keys = []
    "#;
    let seen = faults(document);
    for expected in [
        "my.toml: colour is not known; valid are: agent, provider",
        "my.toml, agent Big Agent: id is \"Big Agent\"",
        "my.toml, agent Big Agent: name: invalid type: integer",
        "my.toml, agent Big Agent: command must begin with the name of a program",
        "my.toml, agent Big Agent: prompt is \"argument\"; valid is: stdin",
        "my.toml, agent Big Agent: keys: keys takes one of",
        "my.toml, agent Big Agent: optional_keys names GITHUB_TOKEN, which is Porter's own",
        "my.toml, agent Big Agent: optional_keys names \"two words\"",
        "my.toml, agent Big Agent: environment names PATH, which is Porter's own",
        "my.toml, agent Big Agent: default_model is \"--help\"",
        "my.toml, agent Big Agent: home_files is not known",
        "my.toml, agent Big Agent: output: unknown variant `morse`",
        "my.toml, agent number 2: id is missing",
        "my.toml, provider empty: keys must name one at least",
    ] {
        let found = seen.iter().filter(|fault| fault.starts_with(expected)).count();
        assert_eq!(found, 1, "expected once: {expected}; seen: {seen:#?}");
    }
    assert_eq!(seen.len(), 14, "{seen:#?}");
}

#[test]
fn conflicting_entries_are_reported() {
    let document = r#"
        [[agent]]
        id = "other"
        aliases = ["Claude"]
        name = "Other"
        command = ["other"]
        keys = { all = ["NOBODYS_KEY"] }
        output = "amp"
    "#;
    assert_eq!(
        faults(&document.replace("Claude", "claude")),
        [
            "agent other: claude-code goes by the name claude, too",
            "agent other: NOBODYS_KEY belongs to no provider"
        ]
    );
    let document = r#"
        [[agent]]
        id = "any-model"
        name = "Any"
        command = ["any"]
        keys = { of_model_provider = true }
        output = "amp"
        [[provider]]
        id = "mine"
        name = "Mine"
        keys = ["XAI_API_KEY"]
    "#;
    let seen = faults(document);
    assert!(
        seen[0].starts_with("agent any-model: with keys of the model's provider, default_model"),
        "{seen:?}"
    );
    assert_eq!(seen[1], "provider mine: XAI_API_KEY belongs to xai already");
    let twice = format!("{CODEX}{}", &CODEX[..CODEX.find("[[provider]]").unwrap()]);
    assert_eq!(faults(&twice), ["my.toml: there are two entries of agent codex"]);
}

#[test]
fn invalid_toml_is_reported_with_the_name_of_the_document() {
    let seen = faults("[[agent]\n");
    assert!(seen.len() == 1 && seen[0].starts_with("my.toml is not TOML: "), "{seen:?}");
    assert_eq!(faults("agent = 7"), ["my.toml: agent must be written as [[agent]]"]);
}
