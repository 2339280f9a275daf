//! Checks what the compiler does not: which module of the root package may use which, that docs/ARCHITECTURE.md
//! says the same, which library belongs to whom, how long a file may be, and that every written invariant has a
//! test. Each failure names file, line, rule and what to do. The rules are tested on small files in [`rules`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod rules;
mod source;
mod spec;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source::Source;

/// The crates of the workspace that live under `crates/`.
const OWN_CRATES: &[&str] =
    &["crypto", "db", "domain", "fly", "github", "import", "standin", "tls", "worker"];

/// The modules of the root package.
const MODULES: &[&str] = &[
    "accounts",
    "app",
    "config",
    "demo",
    "doctor",
    "jobs",
    "lifecycle",
    "runner",
    "tasks",
    "telemetry",
    "web",
];

/// In place of a list: every module and every crate.
const EVERYTHING: &[&str] = &["everything"];

/// Which modules and crates a module of the root package may use besides itself. What a crate may use is in its
/// `Cargo.toml`. The table in docs/ARCHITECTURE.md says the same.
const MAY_USE: &[(&str, &[&str])] = &[
    // Config tries the App's key.
    ("config", &["crypto"]),
    ("telemetry", &["config"]),
    ("lifecycle", &[]),
    ("runner", &["domain", "fly"]),
    ("accounts", &["domain", "crypto", "db"]),
    // Tasks ask accounts for the keys of the person they run for.
    ("tasks", &["domain", "crypto", "db", "github", "runner", "accounts", "config"]),
    ("jobs", &["domain", "db", "tasks"]),
    ("web", &["domain", "crypto", "db", "accounts", "tasks"]),
    ("demo", EVERYTHING),
    ("doctor", EVERYTHING),
    ("app", EVERYTHING),
    ("lib", EVERYTHING),
    ("main", EVERYTHING),
    ("arguments", EVERYTHING),
];

/// Which modules of the root package and which crates may name a library. Libraries that are not listed are free
/// for all but `domain`.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("sqlx", &["db", "import"]),
    ("rusqlite", &["import"]),
    ("axum", &["web", "standin"]),
    ("axum_extra", &["web"]),
    ("hyper", &["web"]),
    ("hyper_util", &["web"]),
    ("tower_http", &["web"]),
    ("askama", &["web"]),
    ("octocrab", &["github"]),
    ("reqwest", &["tls", "github", "fly", "worker", "doctor", "standin"]),
    ("rustls", &["tls"]),
    ("ring", &["crypto", "standin"]),
    ("nix", &["worker", "runner"]),
    ("aes_gcm", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("clap", &["arguments", "demo"]),
    ("dotenvy", &["config"]),
    ("tracing_subscriber", &["telemetry"]),
];

/// The only libraries the rules of Porter are written with.
const DOMAIN_LIBRARIES: &[&str] =
    &["base64", "chrono", "uuid", "thiserror", "serde", "serde_json", "pulldown_cmark", "toml"];

/// Who reads the environment: `config`, and the stand-in, whose git needs the PATH.
const ENVIRONMENT_READERS: &[&str] = &["src/config/", "crates/standin/src/git.rs"];

/// The longest a file may be, without its tests; its tests may be as long again.
const MAX_FILE_LINES: usize = 500;

/// The longest `main.rs` may be.
const MAX_MAIN_LINES: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Fails with every violation at once.
fn report(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// The packages that a manifest names for the product, as code writes them.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let sections = text.split("\n[");
    let lines = sections.filter(|section| section.starts_with("dependencies]")).flat_map(str::lines).skip(1);
    let names = lines.filter_map(|line| line.split(['.', ' ']).next()).filter(|name| !name.is_empty());
    names.filter(|name| !name.starts_with('#')).map(|name| name.replace('-', "_")).collect()
}

fn own_manifest(name: &str) -> String {
    format!("crates/{name}/Cargo.toml")
}

fn own_crates() -> BTreeSet<String> {
    OWN_CRATES.iter().map(|&name| name.to_owned()).collect()
}

/// The files of the root package and of every crate, without those under `tests/`.
fn product_sources() -> Vec<Source> {
    let crates = OWN_CRATES.iter().flat_map(|name| source::load(root(), &format!("crates/{name}/src")));
    source::load(root(), "src").into_iter().chain(crates).collect()
}

fn all_sources() -> Vec<Source> {
    let mut sources = product_sources();
    for folder in OWN_CRATES.iter().map(|name| format!("crates/{name}/tests")).chain(["tests".to_owned()]) {
        if root().join(&folder).is_dir() {
            sources.extend(source::load(root(), &folder));
        }
    }
    sources
}

/// The modules and crates that a file of the root package uses, without its own module.
fn used(source: &Source) -> Vec<source::Mention> {
    let modules = source.modules_named().into_iter();
    let modules = modules.filter(|mention| MODULES.contains(&mention.name.as_str()));
    let mut used: Vec<_> = modules.chain(source.crates_named(&own_crates())).collect();
    used.retain(|mention| mention.name != source.room());
    used.sort_by_key(|mention| mention.line);
    used
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
    let allows = |name: &str| *allowed == EVERYTHING || allowed.contains(&name);
    used(source)
        .iter()
        .filter(|mention| !allows(&mention.name))
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

/// Permissions of the root package's modules that nothing in `sources` makes use of.
fn unused_permissions(sources: &[Source]) -> Vec<String> {
    let uses: BTreeSet<(String, String)> = sources
        .iter()
        .flat_map(|source| used(source).into_iter().map(|mention| (source.room().to_owned(), mention.name)))
        .collect();
    let listed = MAY_USE.iter().filter(|(_, allowed)| *allowed != EVERYTHING);
    let pairs = listed.flat_map(|(module, allowed)| allowed.iter().map(move |name| (*module, *name)));
    pairs
        .filter(|(module, name)| !uses.contains(&((*module).to_owned(), (*name).to_owned())))
        .map(|(module, name)| {
            format!(
                "tests/architecture/main.rs: {module} may use {name} and does not; remove it from MAY_USE and \
                 from docs/ARCHITECTURE.md"
            )
        })
        .collect()
}

fn library_violations(source: &Source, libraries: &BTreeSet<String>) -> Vec<String> {
    let room = source.room();
    let mut violations = Vec::new();
    for mention in source.crates_named(libraries) {
        let owners = LIBRARIES.iter().find(|(owned, _)| *owned == mention.name);
        if let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&room)) {
            violations.push(format!(
                "{}:{}: {room} must not name {}; only {} may. Add a verb there and call it",
                source.path,
                mention.line,
                mention.name,
                owners.join(", ")
            ));
        }
    }
    violations
}

/// The same rule for a crate: what its manifest names.
fn manifest_violations(name: &str, libraries: &BTreeSet<String>) -> Vec<String> {
    let mut violations = Vec::new();
    let place = own_manifest(name);
    for library in libraries.iter().map(String::as_str).filter(|library| !OWN_CRATES.contains(library)) {
        if name == "domain" && !DOMAIN_LIBRARIES.contains(&library) {
            let allowed = DOMAIN_LIBRARIES.join(", ");
            violations.push(format!(
                "{place}: domain is pure and must not use {library}; it may use: {allowed}. Do the impure part in \
                 a use case (tasks, accounts)"
            ));
        }
        let owners = LIBRARIES.iter().find(|(owned, _)| *owned == library);
        if let Some((_, owners)) = owners.filter(|(_, owners)| !owners.contains(&name)) {
            violations.push(format!(
                "{place}: {name} must not depend on {library}; only {} may. Add a verb there and call it",
                owners.join(", ")
            ));
        }
    }
    violations
}

/// Entries of `LIBRARIES` that nothing makes use of.
fn unused_owners(sources: &[Source]) -> Vec<String> {
    let names: BTreeSet<String> = LIBRARIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let uses: BTreeSet<(String, String)> = sources
        .iter()
        .flat_map(|source| {
            let named = source.crates_named(&names).into_iter();
            named.map(|mention| (mention.name, source.room().to_owned()))
        })
        .collect();
    let pairs = LIBRARIES.iter().flat_map(|(name, owners)| owners.iter().map(move |owner| (*name, *owner)));
    pairs
        .filter(|(name, owner)| !uses.contains(&((*name).to_owned(), (*owner).to_owned())))
        .map(|(name, owner)| {
            format!(
                "tests/architecture/main.rs: {owner} may name {name} and does not; remove it from LIBRARIES"
            )
        })
        .collect()
}

/// Where the map in docs/ARCHITECTURE.md differs from what `may_use` gives for a module or crate; `rooms` are all
/// of them.
fn map_violations(page: &str, rooms: &[&str], may_use: impl Fn(&str) -> BTreeSet<String>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut missing: BTreeSet<&str> = rooms.iter().copied().collect();
    let backticked = |cell: &str| -> Vec<String> {
        let names = cell.split('`').skip(1).step_by(2);
        names.map(|name| name.trim_start_matches("crates/").to_owned()).collect()
    };
    let lines = page.lines().enumerate().skip_while(|(_, line)| !line.starts_with("| where |"));
    for (index, line) in lines.take_while(|(_, line)| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = line.split('|').collect();
        let place = format!("docs/ARCHITECTURE.md:{}", index + 1);
        let written: BTreeSet<String> = match cells[3].trim() {
            "everything" => EVERYTHING.iter().map(|&name| name.to_owned()).collect(),
            "nothing" => BTreeSet::new(),
            _ => backticked(cells[3]).into_iter().collect(),
        };
        for name in backticked(cells[1]) {
            if !missing.remove(name.as_str()) {
                violations.push(format!("{place}: there is no {name}, or it has a row already"));
                continue;
            }
            let real = may_use(&name);
            if real != written {
                violations.push(format!("{place}: says that {name} may use {written:?}, but it is {real:?}"));
            }
        }
    }
    violations
        .extend(missing.iter().map(|name| format!("docs/ARCHITECTURE.md:1: the map has no row for {name}")));
    violations
}

/// What a module of the root package or a crate may use of Porter.
fn may_use(name: &str) -> BTreeSet<String> {
    if OWN_CRATES.contains(&name) {
        return dependencies(&own_manifest(name)).intersection(&own_crates()).cloned().collect();
    }
    let (_, allowed) = MAY_USE.iter().find(|(module, _)| *module == name).unwrap();
    allowed.iter().map(|&name| name.to_owned()).collect()
}

fn environment_violations(source: &Source) -> Vec<String> {
    let reads = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
    let lines = source.product.lines().enumerate();
    let found = lines.filter(|(_, line)| reads.iter().any(|read| line.contains(read)));
    found
        .filter(|_| !ENVIRONMENT_READERS.iter().any(|reader| source.path.starts_with(reader)))
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
        if lines > MAX_FILE_LINES {
            violations.push(format!(
                "{}:{MAX_FILE_LINES}: has {lines} {what}, more than {MAX_FILE_LINES}; split it by idea",
                source.path
            ));
        }
    }
    if source.path == "src/main.rs" && product > MAX_MAIN_LINES {
        violations.push(format!(
            "src/main.rs:{MAX_MAIN_LINES}: has {product} lines, more than {MAX_MAIN_LINES}; main only dispatches"
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
    assert!(sources.len() > MODULES.len(), "only {} files found under src/", sources.len());
    report(&sources.iter().flat_map(module_violations).collect::<Vec<_>>());
}

#[test]
fn every_permission_is_made_use_of() {
    report(&unused_permissions(&source::load(root(), "src")));
    report(&unused_owners(&product_sources()));
}

#[test]
fn the_lists_name_every_crate_and_every_module() {
    let folders = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect()
    };
    assert_eq!(folders("crates"), own_crates());
    let modules = MODULES.iter().copied().chain(["lib", "main", "arguments"]);
    assert_eq!(folders("src"), modules.map(str::to_owned).collect());
}

#[test]
fn the_map_of_the_architecture_page_says_what_depends_on_what() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let modules = MODULES.iter().copied().chain(["main", "arguments"]);
    let rooms: Vec<&str> = OWN_CRATES.iter().copied().chain(modules).collect();
    report(&map_violations(&page, &rooms, may_use));
}

#[test]
fn each_outside_library_is_named_only_by_the_modules_that_own_it() {
    let libraries = dependencies("Cargo.toml");
    let sources = source::load(root(), "src");
    let mut violations: Vec<_> =
        sources.iter().flat_map(|source| library_violations(source, &libraries)).collect();
    violations.extend(
        OWN_CRATES.iter().flat_map(|name| manifest_violations(name, &dependencies(&own_manifest(name)))),
    );
    report(&violations);
}

#[test]
fn only_config_reads_the_environment() {
    report(&product_sources().iter().flat_map(environment_violations).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    report(&all_sources().iter().flat_map(shape_violations).collect::<Vec<_>>());
}

#[test]
fn every_invariant_of_the_architecture_page_names_its_test() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md"))
        .expect("docs/ARCHITECTURE.md is missing; it explains the modules and holds the invariants");
    let sources = all_sources();
    let tests = sources.iter().flat_map(Source::tests).collect();
    report(&invariant_violations(&page, &tests));
}
