//! `porter import-d1` as a command; what it imports is tested in `crates/import`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const VECTORS: &str = include_str!("../fixtures/d1-export/vectors.json");

#[test]
fn the_command_prints_what_it_did_and_fails_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let seen = command(folder.path(), &root(), "tests/fixtures/d1-export/export.sql");
    let printed = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
    let expected = "users: 2 read, 2 inserted, 0 updated, 0 unchanged
user_settings: 2 read, 2 inserted, 0 updated, 0 unchanged
user_secrets: 3 read, 3 inserted, 0 updated, 0 unchanged
user_oauth_tokens: 2 read, 2 inserted, 0 updated, 0 unchanged
Fly tokens moved from user_settings to user_secrets: 1
The import is complete.
";
    assert_eq!(printed, expected);

    for (root, file, reason) in [
        ("wrong", "tests/fixtures/d1-export/export.sql", "nothing was imported: 5 of 5 secrets"),
        (root().as_str(), "tests/fixtures/d1-export/vectors.json", "nothing was imported: "),
        (root().as_str(), "no/such/file.sql", "cannot read no/such/file.sql"),
    ] {
        let seen = command(folder.path(), root, file);
        let message = String::from_utf8(seen.stderr).unwrap();
        assert_eq!(seen.status.code(), Some(1), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

fn command(folder: &Path, root: &str, file: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_porter"))
        .args(["import-d1", file])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("DATABASE_URL", url(folder))
        .env("PORTER_SECRET_ENCRYPTION_KEY", root)
        .output()
        .unwrap()
}

fn root() -> String {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    vectors["root_secret"].as_str().unwrap().to_owned()
}

fn url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("porter.db").display())
}
