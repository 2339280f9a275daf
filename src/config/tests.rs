//! Tests of defaults, older names, and error messages, which never contain a secret.

use std::fs;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::*;

/// A key as PKCS#8.
static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pem = include_str!("../../crates/standin/src/app-key.pem");
    let lines = pem.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    STANDARD.decode(lines.take_while(|line| !line.starts_with("-----END")).collect::<String>()).unwrap()
});

/// The length of the PKCS#8 header before the PKCS#1 key, for 2048-bit keys.
const PKCS8_HEAD: usize = 26;

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn minimal() -> Environment {
    Environment::from_iter([
        ("PUBLIC_APP_URL", "https://porter.example.com"),
        ("PORTER_SECRET_ENCRYPTION_KEY", "root"),
    ])
}

fn with_app() -> Environment {
    minimal()
        .with("WEBHOOK_SECRET", "hook")
        .with("GITHUB_APP_ID", "12")
        .with("GITHUB_APP_PRIVATE_KEY", &pem("PRIVATE KEY", &KEY))
        .with("GITHUB_APP_SLUG", "porter-dev")
        .with("GITHUB_CLIENT_ID", "Iv1.abc")
        .with("GITHUB_CLIENT_SECRET", "client")
}

fn problems(environment: &Environment) -> Vec<String> {
    let errors = Config::load(environment).unwrap_err();
    errors.problems.into_iter().map(|problem| problem.message).collect()
}

/// Returns the only problem of an otherwise valid environment in which `name` is `value`.
fn problem_with(name: &str, value: &str) -> String {
    let mut seen = problems(&with_app().with(name, value));
    assert_eq!(seen.len(), 1, "{name}={value} should have one problem: {seen:?}");
    seen.remove(0)
}

#[test]
fn two_variables_are_required_and_the_others_have_the_contracts_defaults() {
    let config = Config::load(&minimal()).unwrap();
    assert_eq!(config.public_url.as_str(), "https://porter.example.com/");
    assert_eq!(config.database.path.to_str(), Some("porter.db"));
    assert_eq!(config.bind.to_string(), "0.0.0.0:8080");
    assert_eq!(config.github_urls.api.as_str(), "https://api.github.com/");
    assert_eq!(config.github_urls.web.as_str(), "https://github.com/");
    assert_eq!(config.github_urls.mutation_interval.as_millis(), 1000);
    assert_eq!(config.fly.base_url.as_str(), "https://api.machines.dev/");
    assert_eq!(config.anthropic_base_url.as_str(), "https://api.anthropic.com/");
    assert_eq!(config.runner, RunnerKind::Fly);
    let machine = MachineSettings {
        image: "registry.fly.io/porter-worker:latest".to_owned(),
        cpus: 2,
        memory_mb: 2048,
        region: None,
    };
    assert_eq!(config.machine, machine);
    assert_eq!(config.limits.task_timeout.as_secs(), 600);
    assert_eq!(
        (config.limits.per_user, config.limits.overall, config.limits.queued_per_user),
        (5, 200, None)
    );
    assert!(config.github.is_none() && config.webhook_secret.is_none(), "there is no App yet");
    assert!(config.allowlist.is_empty() && config.shared_keys.is_empty() && !config.mock_agent);
    assert!(config.session_secret.is_none() && config.callback_secret.is_none());
}

#[test]
fn an_empty_environment_lists_all_required_variables_in_one_message() {
    let message = Config::load(&Environment::default()).unwrap_err().to_string();
    assert_eq!(
        message,
        "Porter cannot start: 2 problems in its configuration.\n  \
         - PUBLIC_APP_URL is not set. Set it to the address people and machines reach Porter at, for example https://porter.example.com\n  \
         - PORTER_SECRET_ENCRYPTION_KEY is not set. Make one with: openssl rand -base64 32\n\
         Also not set: WEBHOOK_SECRET, GITHUB_APP_ID, GITHUB_APP_PRIVATE_KEY, GITHUB_APP_SLUG, GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET. \
         Porter starts without them, but answers no comment until they are set.\n\
         Every variable is explained by: porter serve --help"
    );
}

#[test]
fn a_blank_value_counts_as_unset() {
    let seen = problems(&minimal().with("PUBLIC_APP_URL", "  "));
    assert!(seen[0].starts_with("PUBLIC_APP_URL is not set."), "{seen:?}");
    let collected = Environment::from_iter([("PUBLIC_APP_URL", "")]);
    assert_eq!(collected.get("PUBLIC_APP_URL"), None);
}

#[test]
fn the_app_is_read_and_its_install_page_is_built_from_the_slug() {
    let config = Config::load(&with_app()).unwrap();
    let app = config.github.unwrap();
    assert_eq!((app.app_id, app.slug.as_str(), app.client_id.as_str()), (12, "porter-dev", "Iv1.abc"));
    assert_eq!(app.install_url.as_str(), "https://github.com/apps/porter-dev/installations/new");
    assert_eq!(app.client_secret.expose_secret(), "client");
    assert_eq!(config.webhook_secret.unwrap().expose_secret(), "hook");
}

#[test]
fn an_incomplete_app_is_rejected_with_the_missing_names() {
    let half = minimal().with("GITHUB_APP_ID", "12").with("GITHUB_CLIENT_ID", "x");
    let errors = Config::load(&half).unwrap_err();
    let names: Vec<&str> = errors.problems.iter().map(|problem| problem.variable.as_str()).collect();
    assert_eq!(
        names,
        ["WEBHOOK_SECRET", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_SLUG", "GITHUB_CLIENT_SECRET"]
    );
    assert_eq!(errors.also_unset, [""; 0], "a problem is not listed again as unset");
}

#[test]
fn the_private_key_may_be_pkcs1_have_escaped_newlines_or_be_in_a_file() {
    let pkcs1 = pem("RSA PRIVATE KEY", &KEY[PKCS8_HEAD..]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.pem");
    fs::write(&path, &pkcs1).unwrap();
    let in_file = with_app()
        .with("GITHUB_APP_PRIVATE_KEY", "")
        .with("GITHUB_APP_PRIVATE_KEY_FILE", path.to_str().unwrap());
    let escaped = with_app().with("GITHUB_APP_PRIVATE_KEY", &pkcs1.replace('\n', "\\n"));
    for environment in [in_file, escaped] {
        let app = Config::load(&environment).unwrap().github.unwrap();
        assert_eq!(app.private_key.expose_secret(), pkcs1);
    }
}

#[test]
fn a_key_that_cannot_sign_is_rejected_without_being_quoted() {
    let cut_short = pem("PRIVATE KEY", &KEY[..KEY.len() / 2]);
    for bad in ["swordfish", cut_short.as_str()] {
        let message = problem_with("GITHUB_APP_PRIVATE_KEY", bad);
        assert!(message.starts_with("GITHUB_APP_PRIVATE_KEY is not an RSA private key in PEM form."));
        assert!(!message.contains(bad.lines().last().unwrap()), "{message}");
    }
    let nowhere =
        with_app().with("GITHUB_APP_PRIVATE_KEY", "").with("GITHUB_APP_PRIVATE_KEY_FILE", "/nowhere/app.pem");
    let seen = problems(&nowhere);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].starts_with(r#"GITHUB_APP_PRIVATE_KEY_FILE names "/nowhere/app.pem", which cannot be read"#)
    );
}

#[test]
fn every_invalid_value_is_reported_with_the_valid_form() {
    for (name, value, expected) in [
        ("PUBLIC_APP_URL", "porter.example.com", "must be an absolute http:// or https:// URL"),
        ("PUBLIC_APP_URL", "ftp://porter.example.com", "must be an absolute http:// or https:// URL"),
        ("PUBLIC_APP_URL", "https://x.example/?a=1", "must be an absolute http:// or https:// URL"),
        ("PUBLIC_APP_URL", "https://x.example/porter", "must not have a path"),
        ("DATABASE_URL", "sqlite::memory:", "names a database in memory"),
        ("DATABASE_URL", "sqlite://?mode=memory", "names a database in memory"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "postgres://u:swordfish@db/porter", r#"has "postgres" before the colon"#),
        ("BIND_ADDR", "8080", "must be an IP address and a port"),
        ("SESSION_SECRET", "swordfish", "has 9 bytes; it needs 32 or more"),
        ("GITHUB_APP_ID", "porter", "must be the number shown as App ID"),
        ("GITHUB_APP_SLUG", "apps/porter", "must be the last part of"),
        ("GITHUB_API_URL", "https://ghe.example/api/v3", "GITHUB_WEB_URL is not set, but GITHUB_API_URL is"),
        ("GITHUB_WEB_URL", "https://ghe.example", "GITHUB_API_URL is not set, but GITHUB_WEB_URL is"),
        ("PORTER_GITHUB_MUTATION_INTERVAL_MS", "fast", "a whole number from 0 to 60000"),
        ("PORTER_RUNNER", "docker", r#"is "docker"; valid are: fly, local"#),
        ("PORTER_MACHINE_CPUS", "0", "a whole number from 1 to 16"),
        ("PORTER_MACHINE_MEMORY_MB", "1000", "multiples of 256"),
        ("PORTER_TASK_TIMEOUT_MINUTES", "1441", "a whole number from 1 to 1440"),
        ("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "-1", "a whole number from 1 to 1000"),
        ("PORTER_MAX_CONCURRENT_TASKS", "1e3", "a whole number from 1 to 10000"),
        ("PORTER_MAX_QUEUED_TASKS_PER_USER", "0", "a whole number from 1 to 10000"),
        ("PORTER_SHARED_anthropic", "swordfish", "does not end in an agent's variable"),
        ("PORTER_ENABLE_MOCK_AGENT", "yes", r#"is "yes"; valid are: true, false"#),
        ("FLY_API_BASE_URL", "https://u:swordfish@fly.example", "contains a user name or password"),
        ("FLY_API_BASE_URL", "https://u:swordfish@:x", "contains a user name or password"),
    ] {
        let message = problem_with(name, value);
        assert!(message.contains(expected), "{name}={value}: expected {expected:?} in: {message}");
        assert!(!message.contains("swordfish"), "a secret shows in: {message}");
    }
}

#[test]
fn debug_output_of_a_configuration_contains_no_secret() {
    let environment = with_app()
        .with("PORTER_SECRET_ENCRYPTION_KEY", "swordfish-root")
        .with("PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS", "swordfish-1,swordfish-2")
        .with("WEBHOOK_SECRET", "swordfish-hook")
        .with("CALLBACK_SECRET", "swordfish-callback")
        .with("SESSION_SECRET", "swordfish-session-0123456789abcdef")
        .with("GITHUB_CLIENT_SECRET", "swordfish-client")
        .with("PORTER_SHARED_FLY_TOKEN", "swordfish-fly")
        .with("PORTER_SHARED_AMP_API_KEY", "swordfish-amp");
    let config = Config::load(&environment).unwrap();
    let printed = format!("{config:?} {environment:?} {:?}", Import::load(&environment).unwrap());
    assert!(!printed.contains("swordfish"), "{printed}");
    assert!(!printed.contains("BEGIN"), "{printed}");
}

#[test]
fn older_names_are_accepted_and_the_new_ones_take_precedence() {
    let old = Environment::from_iter([
        ("PUBLIC_APP_URL", "https://porter.example.com"),
        ("PORTER_OAUTH_TOKEN_SECRET", "old root"),
        ("PORTER_PRODUCTION_ALLOWLIST", "old"),
    ]);
    let config = Config::load(&old).unwrap();
    assert_eq!(config.encryption_root.expose_secret(), "old root");
    assert_eq!(config.allowlist, ["old"]);
    let both = old.with("PORTER_SECRET_ENCRYPTION_KEY", "new root").with("PORTER_ALLOWLIST", "new");
    let config = Config::load(&both).unwrap();
    assert_eq!(config.encryption_root.expose_secret(), "new root");
    assert_eq!(config.allowlist, ["new"]);
}

#[test]
fn lists_are_split_and_trimmed_and_logins_are_lower_case() {
    let environment = minimal()
        .with("PORTER_ALLOWLIST", " Octocat, @Hubot ,,")
        .with("PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS", "one, two,");
    let config = Config::load(&environment).unwrap();
    assert_eq!(config.allowlist, ["octocat", "hubot"]);
    let previous: Vec<&str> = config.encryption_previous.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(previous, ["one", "two"]);
}

#[test]
fn shared_credentials_are_keyed_by_the_agents_variable_name() {
    let environment = minimal()
        .with("PORTER_SHARED_FLY_TOKEN", "fm2_x")
        .with("PORTER_SHARED_FLY_APP", "team-agents")
        .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-x");
    let config = Config::load(&environment).unwrap();
    assert_eq!(config.fly.shared_token.unwrap().expose_secret(), "fm2_x");
    assert_eq!(config.fly.shared_app.as_deref(), Some("team-agents"));
    assert_eq!(config.shared_keys.keys().collect::<Vec<_>>(), ["ANTHROPIC_API_KEY"]);
}

#[test]
fn every_form_of_database_url_names_a_file() {
    for (url, path) in [
        ("sqlite://porter.db", "porter.db"),
        ("sqlite:porter.db", "porter.db"),
        ("sqlite://data/porter.db?mode=rwc", "data/porter.db"),
        ("sqlite:///data/porter.db", "/data/porter.db"),
        ("sqlite:/data/porter.db", "/data/porter.db"),
    ] {
        let database = Database::load(&Environment::from_iter([("DATABASE_URL", url)])).unwrap();
        assert_eq!(database.path.to_str(), Some(path), "{url}");
    }
}

#[test]
fn the_api_path_of_an_enterprise_server_is_kept_in_joined_urls() {
    let environment = with_app()
        .with("GITHUB_API_URL", "https://ghe.example/api/v3")
        .with("GITHUB_WEB_URL", "https://ghe.example/");
    let config = Config::load(&environment).unwrap();
    assert_eq!(config.github_urls.api.join("app").unwrap().as_str(), "https://ghe.example/api/v3/app");
    let install = config.github.unwrap().install_url;
    assert_eq!(install.as_str(), "https://ghe.example/apps/porter-dev/installations/new");
}

#[test]
fn questionable_settings_are_allowed_with_a_warning() {
    let plain = Config::load(&with_app()).unwrap();
    assert_eq!(plain.warnings(), [""; 0]);
    let doubtful = minimal()
        .with("PUBLIC_APP_URL", "http://localhost:8080")
        .with("PORTER_RUNNER", "local")
        .with("PORTER_TASK_TIMEOUT_MINUTES", "60");
    let warnings = Config::load(&doubtful).unwrap().warnings();
    assert_eq!(warnings.len(), 4, "{warnings:#?}");
    assert!(warnings[0].contains("no GitHub App"), "{warnings:#?}");
}

#[test]
fn a_malformed_env_file_is_reported_by_line_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "# Porter\nBIND_ADDR=127.0.0.1:1\nWEBHOOK_SECRET sword fish\n").unwrap();
    let message = environment::read_dotenv(&path).unwrap_err().to_string();
    assert!(message.contains(".env, line 3: not of the form NAME=value"), "{message}");
    assert!(!message.contains("sword"), "{message}");
}

#[test]
fn an_env_file_is_read_and_blank_values_count_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    fs::write(&path, "BIND_ADDR=127.0.0.1:1\nWEBHOOK_SECRET=\nexport PORTER_RUNNER='local' # here\n")
        .unwrap();
    let values: Environment = environment::read_dotenv(&path).unwrap().into_iter().collect();
    let seen: Vec<(&str, &str)> = values.iter().collect();
    assert_eq!(seen, [("BIND_ADDR", "127.0.0.1:1"), ("PORTER_RUNNER", "local")]);
}

#[test]
fn the_readme_lists_exactly_the_variables_that_are_read() {
    let readme = shipped("README.md");
    let (_, rest) = readme.split_once("<!-- configuration:begin -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- configuration:end -->").unwrap();
    assert!(
        table == readme_table(),
        "README.md's configuration table is out of date. Between the markers it must read:\n\n{}",
        readme_table()
    );
}

#[test]
fn every_default_in_the_table_is_valid() {
    let mut environment = with_app();
    for variable in VARIABLES {
        if let Some(default) = variable.default {
            environment = environment.with(variable.name, default);
        }
    }
    Config::load(&environment).unwrap();
}

/// Reads a file of the repository.
fn shipped(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_example_env_file_needs_only_an_encryption_key() {
    let example = shipped(".env.example");
    let assignments =
        example.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| !name.starts_with('#'));
    let environment: Environment = assignments.collect();
    let config = Config::load(&environment.with("PORTER_SECRET_ENCRYPTION_KEY", "root")).unwrap();
    assert!(config.github.is_none() && config.runner == RunnerKind::Local && config.mock_agent);
}

#[test]
fn the_shipped_files_set_only_variables_that_are_read() {
    let fly = shipped("fly.toml");
    let (_, fly) = fly.split_once("\n[env]\n").unwrap();
    let (fly, _) = fly.split_once("\n[").unwrap();
    let example = shipped(".env.example");
    let lines = fly.lines().chain(example.lines()).filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.filter_map(|line| Some(line.split_once('=')?.0.trim())).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let known = variables::find(name).is_some() || name == "GITHUB_APP_PRIVATE_KEY_FILE";
        assert!(known, "{name} is set in .env.example or fly.toml, but is not read");
    }
}
