//! Holds the house to its plan: which module may use which (docs/ARCHITECTURE.md), how long a file may be,
//! and that every written invariant has a test. Each failure names file, line, rule and what to do.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::Source;

/// Everything of this package.
const ALL: &[&str] = &[
    "accounts",
    "app",
    "clock",
    "config",
    "crypto",
    "db",
    "demo",
    "doctor",
    "domain",
    "fly",
    "github",
    "jobs",
    "lifecycle",
    "runner",
    "tasks",
    "telemetry",
    "web",
    "worker",
];

/// Which modules a module may use besides itself. `config` and `clock` are leaves that all but `domain` may
/// use; they are not repeated here.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("config", &[]),
    ("lifecycle", &[]),
    ("telemetry", &[]),
    ("crypto", &["domain"]),
    ("db", &["domain"]),
    ("github", &["domain"]),
    ("fly", &["domain"]),
    ("runner", &["domain", "fly"]),
    // Accounts validate a Fly token; tasks ask accounts for the keys of the person they run for.
    ("accounts", &["domain", "db", "github", "runner", "crypto", "fly"]),
    ("tasks", &["domain", "db", "github", "runner", "crypto", "accounts"]),
    ("jobs", &["tasks", "accounts", "db", "domain", "lifecycle"]),
    ("web", &["tasks", "accounts", "domain", "crypto", "db", "lifecycle"]),
    ("worker", &["domain"]),
    ("demo", ALL),
    ("doctor", ALL),
    ("app", ALL),
    ("lib", ALL),
    ("main", ALL),
    ("arguments", ALL),
];

/// Which modules may name a crate. Crates that are not listed are free for all but `domain`.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["db"]),
    ("axum", &["web", "app", "demo"]),
    ("axum_extra", &["web", "demo"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("tower_http", &["web", "app", "demo"]),
    ("askama", &["web"]),
    ("octocrab", &["github"]),
    ("reqwest", &["github", "fly", "accounts", "worker", "doctor", "demo"]),
    ("nix", &["worker", "runner", "lifecycle", "demo"]),
    ("aes_gcm", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("clap", &["arguments", "main", "demo"]),
    ("dotenvy", &["config"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// The only crates the rules of Porter are written with.
const DOMAIN_CRATES: &[&str] =
    &["base64", "chrono", "uuid", "thiserror", "serde", "serde_json", "pulldown_cmark"];

/// The longest a file may be, without its tests; its tests may be as long again.
const LONGEST_FILE: usize = 500;

/// The longest `main.rs` may be.
const LONGEST_MAIN: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with every violation at once.
fn report(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn dependencies() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let sections = manifest.split("\n[");
    let lines = sections.filter(|section| section.starts_with("dependencies]")).flat_map(str::lines);
    lines.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_"))).collect()
}

fn module_violations(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == room) else {
        return vec![format!(
            "{}:1: the module {room} is not in the plan; add it to MAY_USE in tests/architecture and to \
             docs/ARCHITECTURE.md, or move the file into a module that is",
            source.path
        )];
    };
    let is_leaf = |name: &str| matches!(name, "config" | "clock") && room != "domain";
    let named = source.modules_named().into_iter().filter(|mention| ALL.contains(&mention.name.as_str()));
    named
        .filter(|mention| mention.name != room && !is_leaf(&mention.name))
        .filter(|mention| !allowed.contains(&mention.name.as_str()))
        .map(|mention| {
            format!(
                "{}:{}: {room} must not use {}; it may use: {}. Pass the value in from the caller, or move the \
                 code to where it belongs",
                source.path,
                mention.line,
                mention.name,
                if allowed.is_empty() { "nothing of this package".to_owned() } else { allowed.join(", ") }
            )
        })
        .collect()
}

fn crate_violations(source: &Source, crates: &BTreeSet<String>) -> Vec<String> {
    let room = source.room();
    let mut violations = Vec::new();
    for mention in source.crates_named(crates) {
        let name = mention.name.as_str();
        let place = format!("{}:{}", source.path, mention.line);
        if room == "domain" && !DOMAIN_CRATES.contains(&name) {
            let allowed = DOMAIN_CRATES.join(", ");
            violations.push(format!(
                "{place}: domain is pure and must not use {name}; it may use: {allowed}. Do the impure part in a \
                 use case (tasks, accounts)"
            ));
        }
        let owners = CRATES.iter().find(|(owned, _)| *owned == name);
        if let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&room)) {
            violations.push(format!(
                "{place}: {room} must not name {name}; only {} may. Add a verb there and call it",
                owners.join(", ")
            ));
        }
    }
    violations
}

fn environment_violations(source: &Source) -> Vec<String> {
    let reads = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
    let lines = source.product.lines().enumerate();
    let found = lines.filter(|(_, line)| reads.iter().any(|read| line.contains(read)));
    found
        .filter(|_| source.room() != "config")
        .map(|(index, _)| {
            format!(
                "{}:{}: only config reads the environment; take the value from Config, or ask config::variable",
                source.path,
                index + 1
            )
        })
        .collect()
}

fn shape_violations(source: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    if !source.text.starts_with("//! ") {
        violations.push(format!(
            "{}:1: does not begin with `//! `; say what lives here, what does not, and who calls it",
            source.path
        ));
    }
    let (product, tests) = source.lines();
    for (lines, what) in [(product, "lines"), (tests, "lines of tests")] {
        if lines > LONGEST_FILE {
            violations.push(format!(
                "{}:{LONGEST_FILE}: has {lines} {what}, more than {LONGEST_FILE}; split it by idea",
                source.path
            ));
        }
    }
    if source.path == "src/main.rs" && product > LONGEST_MAIN {
        violations.push(format!(
            "src/main.rs:{LONGEST_MAIN}: has {product} lines, more than {LONGEST_MAIN}; main only dispatches"
        ));
    }
    violations
}

/// Problems of the written invariants: paragraphs that begin with `Invariant:` and name no test, or one
/// that does not exist.
fn invariant_violations(page: &str, tests: &BTreeSet<&str>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut line = 1;
    let mut invariants = 0;
    for paragraph in page.split("\n\n") {
        let place = format!("docs/ARCHITECTURE.md:{}", line + paragraph.len() - paragraph.trim_start().len());
        line += paragraph.matches('\n').count() + 2;
        if !paragraph.trim_start_matches(['-', '*', '>', ' ', '\n']).starts_with("Invariant:") {
            continue;
        }
        invariants += 1;
        let quoted: Vec<&str> = paragraph.split('`').skip(1).step_by(2).collect();
        if !quoted.iter().any(|name| tests.contains(name)) {
            violations.push(format!(
                "{place}: this invariant names no test that exists; write one and put its name in backticks"
            ));
        }
        for name in quoted {
            // As long as a sentence, so it is meant to be a test's name.
            if name.matches('_').count() >= 4 && !name.contains(char::is_uppercase) && !tests.contains(name) {
                violations.push(format!("{place}: there is no test `{name}`; correct the name"));
            }
        }
    }
    if invariants == 0 {
        violations.push(
            "docs/ARCHITECTURE.md:1: holds no paragraph that begins with `Invariant:`; write down what must \
             always be true, each with its test"
                .to_owned(),
        );
    }
    violations
}

#[test]
fn modules_depend_in_one_direction_only() {
    let sources = source::load(root(), "src");
    assert!(sources.len() > ALL.len(), "only {} files found under src/", sources.len());
    report(&sources.iter().flat_map(module_violations).collect::<Vec<_>>());
}

#[test]
fn each_outside_library_is_named_only_by_the_modules_that_own_it() {
    let crates = dependencies();
    for (name, _) in CRATES {
        assert!(crates.contains(*name), "CRATES speaks of {name}, which is no dependency: {crates:?}");
    }
    let sources = source::load(root(), "src");
    report(&sources.iter().flat_map(|source| crate_violations(source, &crates)).collect::<Vec<_>>());
}

#[test]
fn only_config_reads_the_environment() {
    let sources = source::load(root(), "src");
    report(&sources.iter().flat_map(environment_violations).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut sources = source::load(root(), "src");
    sources.extend(source::load(root(), "tests"));
    report(&sources.iter().flat_map(shape_violations).collect::<Vec<_>>());
}

#[test]
fn every_invariant_of_the_architecture_page_names_its_test() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md"))
        .expect("docs/ARCHITECTURE.md is missing; it explains the modules and holds the invariants");
    let mut sources = source::load(root(), "src");
    sources.extend(source::load(root(), "tests"));
    let tests = sources.iter().flat_map(Source::tests).collect();
    report(&invariant_violations(&page, &tests));
}

/// The rules themselves, tried on small files.
mod rules {
    use super::*;

    fn lines(violations: &[String]) -> Vec<&str> {
        violations.iter().map(|violation| violation.split(": ").next().unwrap()).collect()
    }

    #[test]
    fn a_use_against_the_direction_is_found_in_every_form() {
        let text = "//! x\nuse crate::web::page;\nuse crate::{\n    domain::{task, web},\n    jobs,\n};\n\
                    fn f() { super::super::tasks::go() }\nuse super::super::{clock, fly::Client};\n";
        let seen = module_violations(&Source::new("src/db/tasks.rs", text));
        assert_eq!(
            lines(&seen),
            ["src/db/tasks.rs:2", "src/db/tasks.rs:3", "src/db/tasks.rs:7", "src/db/tasks.rs:8"],
            "{seen:#?}"
        );
        for (violation, module) in seen.iter().zip(["web", "jobs", "tasks", "fly"]) {
            assert!(violation.contains(&format!("db must not use {module};")), "{violation}");
        }
    }

    #[test]
    fn a_module_may_use_itself_its_parents_file_and_the_leaves() {
        let text =
            "//! x\nuse super::Pool;\nuse crate::db::rows;\nuse crate::{clock::Clock, config::Limits};\n";
        assert_eq!(module_violations(&Source::new("src/db/tasks.rs", text)), [""; 0]);
        assert_eq!(module_violations(&Source::new("src/db/mod.rs", "//! x\nuse super::clock;")), [""; 0]);
    }

    #[test]
    fn the_domain_may_not_even_use_the_leaves() {
        let seen = module_violations(&Source::new("src/domain/task.rs", "//! x\nuse crate::clock::Clock;\n"));
        assert_eq!(lines(&seen), ["src/domain/task.rs:2"]);
    }

    #[test]
    fn comments_text_and_test_code_are_free() {
        let text = "//! See [`crate::web`].\n/* crate::web::x */\nconst A: &str = \"crate::web::x\";\n\
                    const B: &str = r#\"\"crate::web::x\"#;\nconst C: char = '\"';\n\
                    #[cfg(test)]\nmod tests {\n    use crate::web::x;\n    fn f() { g('}') }\n}\n\
                    use crate::web::y;\n";
        let seen = module_violations(&Source::new("src/db/tasks.rs", text));
        assert_eq!(lines(&seen), ["src/db/tasks.rs:11"], "{seen:#?}");
    }

    #[test]
    fn a_library_outside_its_room_is_found_but_a_module_of_that_name_is_not() {
        let crates = dependencies();
        let text = "//! x\nuse sqlx::query;\nfn f() { ::reqwest::get() }\nuse crate::web::axum::x;\nuse hex::encode;\n";
        let seen = crate_violations(&Source::new("src/web/page.rs", text), &crates);
        assert_eq!(lines(&seen), ["src/web/page.rs:2", "src/web/page.rs:3"], "{seen:#?}");
        let domain =
            crate_violations(&Source::new("src/domain/task.rs", "//! x\nuse tokio::time;\n"), &crates);
        assert_eq!(lines(&domain), ["src/domain/task.rs:2"], "{domain:#?}");
    }

    #[test]
    fn reading_the_environment_elsewhere_is_found() {
        let text = "//! x\nfn f() { std::env::var_os(\"A\"); }\n";
        assert_eq!(
            lines(&environment_violations(&Source::new("src/fly/mod.rs", text))),
            ["src/fly/mod.rs:2"]
        );
        assert_eq!(environment_violations(&Source::new("src/config/mod.rs", text)), [""; 0]);
    }

    #[test]
    fn a_long_or_headless_file_is_found_and_its_tests_count_apart() {
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(500));
        assert_eq!(lines(&shape_violations(&Source::new("src/web/page.rs", &long))), ["src/web/page.rs:500"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(400));
        let balanced = format!("//! x\n{}{tests}", "fn f() {}\n".repeat(400));
        assert_eq!(shape_violations(&Source::new("src/web/page.rs", &balanced)), [""; 0]);
        let headless = shape_violations(&Source::new("src/web/page.rs", "use x;\n"));
        assert_eq!(lines(&headless), ["src/web/page.rs:1"]);
        let main = format!("//! x\n{}", "\n".repeat(60));
        assert_eq!(lines(&shape_violations(&Source::new("src/main.rs", &main))), ["src/main.rs:60"]);
    }

    #[test]
    fn an_invariant_without_a_test_that_exists_is_found() {
        let tests = BTreeSet::from(["nothing_accepted_is_ever_lost"]);
        let page = "# House\n\nInvariant: All good (`db`, `nothing_accepted_is_ever_lost`).\n\n\
                    **Invariant:** None named.\n\n- Invariant: `nothing_accepted_is_lost_any_more` is gone, \
                    `nothing_accepted_is_ever_lost` is not.\n";
        let seen = invariant_violations(page, &tests);
        assert_eq!(lines(&seen), ["docs/ARCHITECTURE.md:5", "docs/ARCHITECTURE.md:7"], "{seen:#?}");
        assert_eq!(lines(&invariant_violations("# House\n", &tests)), ["docs/ARCHITECTURE.md:1"]);
    }

    #[test]
    fn test_functions_are_told_from_others() {
        let text = "//! x\nfn helper() {}\n#[test]\nfn a_test() {}\n#[tokio::test]\n#[ignore]\nasync fn another() {}\n";
        assert_eq!(Source::new("src/web/page.rs", text).tests(), ["a_test", "another"]);
    }
}
