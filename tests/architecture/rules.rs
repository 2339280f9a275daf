//! The rules themselves, tried on small files. Called by nobody.

use super::*;

fn lines(violations: &[String]) -> Vec<&str> {
    violations.iter().map(|violation| violation.split(": ").next().unwrap()).collect()
}

#[test]
fn a_use_against_the_direction_is_found_in_every_form() {
    let text = "//! x\nuse crate::web::page;\nuse crate::{\n    runner::{task, web},\n    jobs,\n};\n\
                fn f() { super::super::tasks::go() }\nuse super::super::{accounts, web::Client};\n\
                use github::Client;\n";
    let seen = module_violations(&Source::new("src/accounts/keys.rs", text));
    assert_eq!(
        lines(&seen),
        [2, 3, 3, 7, 8, 9].map(|line| format!("src/accounts/keys.rs:{line}")),
        "{seen:#?}"
    );
    for (violation, module) in seen.iter().zip(["web", "runner", "jobs", "tasks", "web", "github"]) {
        assert!(violation.contains(&format!("accounts must not use {module};")), "{violation}");
    }
}

#[test]
fn a_module_may_use_itself_its_parents_file_and_what_is_listed() {
    let text = "//! x\nuse super::Pool;\nuse crate::jobs::rows;\nuse domain::clock::Clock;\n\
                use crate::{tasks::Limits};\n";
    assert_eq!(module_violations(&Source::new("src/jobs/keys.rs", text)), [""; 0]);
    let text = "//! x\nuse super::tasks;";
    assert_eq!(module_violations(&Source::new("src/jobs/mod.rs", text)), [""; 0]);
}

#[test]
fn a_module_that_has_the_name_of_a_crate_is_not_the_crate() {
    let text = "//! x\nmod github;\nfn f() { github::go() }\n";
    assert_eq!(module_violations(&Source::new("src/config/mod.rs", text)), [""; 0]);
    let seen = module_violations(&Source::new("src/config/mod.rs", &(text.to_owned() + "use ::github::x;")));
    assert_eq!(lines(&seen), ["src/config/mod.rs:4"]);
}

#[test]
fn a_permission_that_nothing_uses_is_found() {
    let text = "//! x\nuse domain::task::Task;\nuse crate::tasks::Store;\n";
    let seen = unused_permissions(&[Source::new("src/jobs/mod.rs", text)]);
    let about_jobs: Vec<_> = seen.iter().filter(|line| line.contains(": jobs may use")).collect();
    assert_eq!(about_jobs.len(), 1, "{seen:#?}");
    assert!(about_jobs[0].contains("jobs may use db and does not"), "{about_jobs:?}");
    let seen = unused_owners(&[Source::new("crates/db/src/lib.rs", "//! x\nuse sqlx::query;\n")]);
    assert!(seen.iter().any(|line| line.contains(": import may name sqlx and does not")), "{seen:#?}");
    assert!(!seen.iter().any(|line| line.contains(": db may name sqlx")), "{seen:#?}");
}

#[test]
fn a_row_of_the_map_that_differs_is_found() {
    let page = "# x\n\n| where | what | may use |\n|---|---|---|\n| `crates/db` | x | `domain` |\n\
                | `app`, `main` | x | everything |\n| `jobs` | x | `db`, and no more |\n| `gone` | x | nothing |\n\
                \n| where | x | x |\n";
    let real = |name: &str| -> BTreeSet<String> {
        let names: &[&str] = if name == "db" { &["domain"] } else { EVERYTHING };
        names.iter().map(|&name| name.to_owned()).collect()
    };
    let seen = map_violations(page, &["db", "app", "main", "jobs", "web"], real);
    let expected = ["docs/ARCHITECTURE.md:7", "docs/ARCHITECTURE.md:8", "docs/ARCHITECTURE.md:1"];
    assert_eq!(lines(&seen), expected, "{seen:#?}");
}

#[test]
fn comments_text_and_test_code_are_free() {
    let text = "//! See [`crate::web`].\n/* crate::web::x */\nconst A: &str = \"crate::web::x\";\n\
                const B: &str = r#\"\"crate::web::x\"#;\nconst C: char = '\"';\n\
                #[cfg(test)]\nmod tests {\n    use crate::web::x;\n    fn f() { g('}') }\n}\n\
                use crate::web::y;\n";
    let seen = module_violations(&Source::new("src/accounts/keys.rs", text));
    assert_eq!(lines(&seen), ["src/accounts/keys.rs:11"], "{seen:#?}");
}

#[test]
fn a_library_outside_its_room_is_found_but_a_module_of_that_name_is_not() {
    let libraries = BTreeSet::from(["sqlx", "reqwest", "axum", "hex"].map(str::to_owned));
    let text =
        "//! x\nuse sqlx::query;\nfn f() { ::reqwest::get() }\nuse crate::web::axum::x;\nuse hex::encode;\n";
    let seen = library_violations(&Source::new("src/web/page.rs", text), &libraries);
    assert_eq!(lines(&seen), ["src/web/page.rs:2", "src/web/page.rs:3"], "{seen:#?}");
}

#[test]
fn a_manifest_that_names_a_library_of_others_is_found() {
    let libraries = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let seen = manifest_violations("worker", &libraries(&["domain", "hex", "reqwest", "sqlx"]));
    assert_eq!(lines(&seen), ["crates/worker/Cargo.toml"], "{seen:#?}");
    let seen = manifest_violations("domain", &libraries(&["serde", "tokio"]));
    assert_eq!(lines(&seen), ["crates/domain/Cargo.toml"], "{seen:#?}");
}

#[test]
fn reading_the_environment_elsewhere_is_found() {
    let text = "//! x\nfn f() { std::env::var_os(\"A\"); }\n";
    assert_eq!(
        lines(&environment_violations(&Source::new("crates/fly/src/lib.rs", text))),
        ["crates/fly/src/lib.rs:2"]
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
    let page = "# Page\n\nInvariant: All good (`db`, `nothing_accepted_is_ever_lost`).\n\n\
                **Invariant:** None named.\n\n- Invariant: `nothing_accepted_is_lost_any_more` is gone, \
                `nothing_accepted_is_ever_lost` is not.\n";
    let seen = invariant_violations(page, &tests);
    assert_eq!(lines(&seen), ["docs/ARCHITECTURE.md:5", "docs/ARCHITECTURE.md:7"], "{seen:#?}");
    assert_eq!(lines(&invariant_violations("# Page\n", &tests)), ["docs/ARCHITECTURE.md:1"]);
}

#[test]
fn test_functions_are_told_from_others() {
    let text =
        "//! x\nfn helper() {}\n#[test]\nfn a_test() {}\n#[tokio::test]\n#[ignore]\nasync fn another() {}\n";
    assert_eq!(Source::new("src/web/page.rs", text).tests(), ["a_test", "another"]);
}
