//! The table of variables, from which the defaults, `--help`, the README's table and the advice in error messages
//! are taken, so that they agree (main-spec §3).

use std::fmt::Write as _;

/// Whether a variable must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Required for the start.
    Yes,
    /// Part of the GitHub App. Without all of them Porter starts but accepts no webhooks.
    ForGithub,
    /// Has a default or is optional.
    No,
}

/// One environment variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// Whether it must be set.
    pub need: Need,
    /// The value that applies if it is unset.
    pub default: Option<&'static str>,
    /// The description, in one line of Markdown.
    pub meaning: &'static str,
    /// How to obtain a value, as a sentence; empty if the variable cannot be missing.
    pub advice: &'static str,
}

const fn required(name: &'static str, meaning: &'static str, advice: &'static str) -> Variable {
    Variable { name, need: Need::Yes, default: None, meaning, advice }
}

const fn for_github(name: &'static str, meaning: &'static str, advice: &'static str) -> Variable {
    Variable { name, need: Need::ForGithub, default: None, meaning, advice }
}

const fn with_default(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, need: Need::No, default: Some(default), meaning, advice: "" }
}

const fn optional(name: &'static str, meaning: &'static str) -> Variable {
    Variable { name, need: Need::No, default: None, meaning, advice: "" }
}

/// All variables that the service reads, in the order of main-spec §3.
pub const VARIABLES: &[Variable] = &[
    required(
        "PUBLIC_APP_URL",
        "The public base URL; callbacks and links are built from it.",
        "Set it to the address people and machines reach Porter at, for example https://porter.example.com",
    ),
    with_default(
        "DATABASE_URL",
        "sqlite://porter.db",
        "The SQLite file. `sqlite:///data/porter.db` is absolute.",
    ),
    with_default("BIND_ADDR", "0.0.0.0:8080", "Address and port to listen on."),
    optional(
        "SESSION_SECRET",
        "At least 32 bytes; signs sessions and state. Generated and stored encrypted in the database if unset.",
    ),
    for_github(
        "WEBHOOK_SECRET",
        "Verifies that a webhook comes from GitHub; unsigned webhooks are rejected.",
        "Make one with: openssl rand -hex 32, and enter it on the App's settings page as Webhook secret",
    ),
    optional(
        "CALLBACK_SECRET",
        "Secret of the workers' callback tokens. Derived from the encryption root if unset.",
    ),
    required(
        "PORTER_SECRET_ENCRYPTION_KEY",
        "Root secret of encryption at rest. Stored secrets cannot be decrypted without it: keep a copy. Older name: `PORTER_OAUTH_TOKEN_SECRET`.",
        "Make one with: openssl rand -base64 32",
    ),
    optional(
        "PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS",
        "Older root secrets, comma-separated, accepted for decryption.",
    ),
    for_github("GITHUB_APP_ID", "The GitHub App's ID.", "It is shown on the App's settings page as App ID"),
    for_github(
        "GITHUB_APP_PRIVATE_KEY",
        "The App's private key: PEM with real or `\\n`-escaped newlines. Or name its file in `GITHUB_APP_PRIVATE_KEY_FILE`.",
        "Generate one on the App's settings page under Private keys, or name its file in GITHUB_APP_PRIVATE_KEY_FILE",
    ),
    for_github(
        "GITHUB_APP_SLUG",
        "The App's name in URLs.",
        "It is the last part of the App's public page, https://github.com/apps/<slug>",
    ),
    for_github(
        "GITHUB_CLIENT_ID",
        "For signing in with GitHub.",
        "It is shown on the App's settings page as Client ID",
    ),
    for_github(
        "GITHUB_CLIENT_SECRET",
        "For signing in with GitHub.",
        "Generate one on the App's settings page under Client secrets",
    ),
    optional(
        "GITHUB_APP_INSTALL_URL",
        "Where people install the App. Built from web URL and slug if unset: `https://github.com/apps/<slug>/installations/new`.",
    ),
    with_default(
        "GITHUB_API_URL",
        "https://api.github.com",
        "GitHub's REST API; set both URLs for GitHub Enterprise Server.",
    ),
    with_default("GITHUB_WEB_URL", "https://github.com", "GitHub's pages and git over HTTPS."),
    with_default(
        "PORTER_GITHUB_MUTATION_INTERVAL_MS",
        "1000",
        "Minimum time between two mutations of one installation, 0 to 60000.",
    ),
    with_default("FLY_API_BASE_URL", "https://api.machines.dev", "Fly's Machines API."),
    with_default(
        "ANTHROPIC_API_BASE_URL",
        "https://api.anthropic.com",
        "Anthropic's API, used to check keys.",
    ),
    with_default(
        "PORTER_RUNNER",
        "fly",
        "Where agents run: `fly`, or `local` (a child process without isolation; development and demo).",
    ),
    with_default(
        "PORTER_WORKER_IMAGE",
        "registry.fly.io/porter-worker:latest",
        "The image machines start from.",
    ),
    with_default("PORTER_MACHINE_CPUS", "2", "Shared cores of a machine, 1 to 16."),
    with_default("PORTER_MACHINE_MEMORY_MB", "2048", "Memory of a machine, 256 to 65536 in steps of 256."),
    optional("PORTER_MACHINE_REGION", "Region of the machines, for example `fra`; Fly's choice if unset."),
    with_default(
        "PORTER_TASK_TIMEOUT_MINUTES",
        "10",
        "Maximum run time of an agent, 1 to 1440; a user's own setting can only lower it.",
    ),
    with_default(
        "PORTER_MAX_CONCURRENT_TASKS_PER_USER",
        "5",
        "Tasks of one person that run at once, 1 to 1000.",
    ),
    with_default("PORTER_MAX_CONCURRENT_TASKS", "200", "Tasks that run at once, 1 to 10000."),
    optional(
        "PORTER_MAX_QUEUED_TASKS_PER_USER",
        "Queued tasks of one person, 1 to 10000; no limit if unset.",
    ),
    optional(
        "PORTER_ALLOWLIST",
        "Comma-separated GitHub logins; anyone who may push if unset. Older name: `PORTER_PRODUCTION_ALLOWLIST`.",
    ),
    optional(
        "PORTER_SHARED_FLY_TOKEN",
        "Fly token for everyone who has not saved one; used only with `PORTER_SHARED_FLY_APP`.",
    ),
    optional(
        "PORTER_SHARED_FLY_APP",
        "Fly app of everyone who has not named one, and of those without a token of their own.",
    ),
    optional(
        "PORTER_SHARED_<ENV_KEY>",
        "A provider key for everyone who has not saved one, for example `PORTER_SHARED_ANTHROPIC_API_KEY`.",
    ),
    with_default(
        "PORTER_ENABLE_MOCK_AGENT",
        "false",
        "`true` offers the agent `mock`, which needs no key. For tests.",
    ),
    with_default(
        "RUST_LOG",
        "porter=info,warn",
        "What is logged: a level (`error` to `trace`, or `off`), or `target=level` for what comes from a target, separated by commas. Every target of Porter begins with `porter`.",
    ),
    optional("LOG_FORMAT", "`pretty` or `json`; `pretty` on a terminal, else `json`."),
];

/// Returns the table's entry for `name`.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Returns the help text of the commands that read the whole configuration.
pub fn help() -> String {
    help_of(|_| true)
}

/// Returns the help text of `porter migrate`.
pub fn database_help() -> String {
    help_of(|name| matches!(name, "DATABASE_URL" | "RUST_LOG" | "LOG_FORMAT"))
}

/// Returns the help text of `porter import-d1`.
pub fn import_help() -> String {
    help_of(|name| {
        matches!(name, "DATABASE_URL" | "RUST_LOG" | "LOG_FORMAT")
            || name.starts_with("PORTER_SECRET_ENCRYPTION_KEY")
    })
}

fn help_of(is_read: impl Fn(&str) -> bool) -> String {
    let mut help = "Environment variables (a .env file in this folder or above is read, too):\n".to_owned();
    for variable in VARIABLES.iter().filter(|variable| is_read(variable.name)) {
        let note = match (variable.need, variable.default) {
            (Need::Yes, _) => " (required)".to_owned(),
            (Need::ForGithub, _) => " (required, with the others of the GitHub App)".to_owned(),
            (Need::No, Some(default)) => format!(" [default: {default}]"),
            (Need::No, None) => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = write!(help, "\n  {}{note}\n      {}", variable.name, variable.meaning.replace('`', ""));
    }
    help
}

/// Returns the README's configuration table, which stands between two markers there.
pub fn readme_table() -> String {
    let mut table = "| variable | required | default | meaning |\n|---|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        let need = match variable.need {
            Need::Yes | Need::ForGithub => "yes",
            Need::No => "no",
        };
        let default = variable.default.map(|default| format!("`{default}`")).unwrap_or_default();
        let _ = writeln!(table, "| `{}` | {need} | {default} | {} |", variable.name, variable.meaning);
    }
    table
}
