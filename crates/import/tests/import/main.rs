//! The import of the earlier Porter's database (main-spec §9).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod environment;
mod refusals;

use std::path::Path;

use porter_import::{Counts, adopt_fly_tokens};
use serde_json::Value;

use environment::{EXPORT, Environment, FLY_TOKEN, LATER, OCTOCAT, altered, root, vault, vectors};

fn inserted(read: usize) -> Counts {
    Counts { read, inserted: read, ..Counts::default() }
}

fn unchanged(read: usize) -> Counts {
    Counts { read, unchanged: read, ..Counts::default() }
}

#[tokio::test]
async fn every_secret_of_the_export_is_imported_and_can_be_decrypted() {
    let mut environment = Environment::new().await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!((report.users, report.settings), (inserted(2), inserted(2)));
    assert_eq!((report.secrets, report.oauth_tokens), (inserted(3), inserted(2)));
    assert_eq!(report.notes, Vec::<String>::new());
    for row in vectors()["secrets"].as_array().unwrap() {
        let text = |name: &str| row[name].as_str().unwrap();
        let seen = match row["github_user_id"].as_i64() {
            Some(id) => environment.oauth_token(id).await,
            None => environment.secret(text("user_key"), text("provider_id"), text("env_key")).await,
        };
        assert_eq!(seen, text("plaintext"));
    }
    for user in vectors()["user_keys"].as_array().unwrap() {
        let sql = format!("SELECT user_key FROM users WHERE github_user_id = {}", user["github_user_id"]);
        assert_eq!(environment.text(&sql).await, user["user_key"].as_str().unwrap());
    }
}

#[tokio::test]
async fn a_fly_token_moves_from_the_settings_to_the_secrets() {
    let mut environment = Environment::new().await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!((report.fly_tokens_moved, report.fly_tokens_superseded), (1, 0));
    assert_eq!(environment.secret(OCTOCAT, "fly", "FLY_API_TOKEN").await, FLY_TOKEN);
    let version = "SELECT key_version FROM user_secrets WHERE provider_id = 'fly'";
    assert_eq!(environment.text(version).await, "v2");

    let settings = format!("SELECT config_json FROM user_settings WHERE user_key = '{OCTOCAT}'");
    let seen = environment.text(&settings).await;
    let expected = altered(&format!(r#""flyToken":"{FLY_TOKEN}","#), "");
    assert!(expected.contains(&format!("'{OCTOCAT}','{}'", seen.replace('\'', "''"))), "{seen}");
}

#[tokio::test]
async fn no_secret_is_in_the_database_file_unencrypted() {
    let folder = Environment::imported().await.close().await;
    let plaintexts =
        vectors()["secrets"].as_array().unwrap().iter().map(|row| row["plaintext"].clone()).collect();
    let mut plaintexts: Vec<String> = serde_json::from_value(Value::Array(plaintexts)).unwrap();
    plaintexts.push(FLY_TOKEN.to_owned());
    assert_files_contain_none_of(folder.path(), &plaintexts);
}

fn assert_files_contain_none_of(folder: &Path, secrets: &[String]) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} contains {secret}", path.display());
        }
    }
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let mut environment = Environment::imported().await;
    let before = environment.dump().await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!(environment.dump().await, before);
    assert!(!report.changed(), "{report}");
    assert_eq!((report.users, report.settings), (unchanged(2), unchanged(2)));
    assert_eq!((report.secrets, report.oauth_tokens), (unchanged(3), unchanged(2)));
    assert_eq!((report.fly_tokens_moved, report.fly_tokens_superseded), (0, 0));
}

#[tokio::test]
async fn rows_that_are_newer_than_the_export_are_kept() {
    let mut environment = Environment::imported().await;
    for (table, owner) in [
        ("users", format!("user_key = '{OCTOCAT}'")),
        ("user_settings", format!("user_key = '{OCTOCAT}'")),
        ("user_secrets", format!("user_key = '{OCTOCAT}'")),
        ("user_oauth_tokens", "github_user_id = 583231".to_owned()),
    ] {
        environment.execute(&format!("UPDATE {table} SET updated_at = '{LATER}' WHERE {owner}")).await;
    }
    environment
        .execute(&format!("UPDATE user_settings SET config_json = '{{}}' WHERE user_key = '{OCTOCAT}'"))
        .await;
    let before = environment.dump().await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!(environment.dump().await, before);
    let kept =
        |read, newer_here| Counts { read, newer_here, unchanged: read - newer_here, ..Counts::default() };
    assert_eq!((report.users, report.settings), (kept(2, 1), kept(2, 1)));
    assert_eq!((report.secrets, report.oauth_tokens), (kept(3, 2), kept(2, 1)));
    assert!(
        report.to_string().contains("user_secrets: 3 read, 0 inserted, 0 updated, 1 unchanged, 2 newer here")
    );
}

#[tokio::test]
async fn a_newer_export_replaces_stored_rows() {
    let mut environment = Environment::imported().await;
    let newer = EXPORT.replace("2026-02-20T10:00:00.000Z", LATER).replace(FLY_TOKEN, "fo1_newer");
    let newer = newer.replace(r#""flyAppName":"porter-prod""#, r#""flyAppName":"other""#);
    let report = environment.import(&newer).await.unwrap();
    let updated = |read| Counts { read, updated: read, ..Counts::default() };
    assert_eq!((report.users, report.settings), (updated(2), updated(2)));
    assert_eq!((report.secrets, report.oauth_tokens), (updated(3), updated(2)));
    assert_eq!(report.fly_tokens_moved, 1);
    assert_eq!(environment.secret(OCTOCAT, "fly", "FLY_API_TOKEN").await, "fo1_newer");
    let settings = format!("SELECT config_json FROM user_settings WHERE user_key = '{OCTOCAT}'");
    assert!(environment.text(&settings).await.contains(r#""flyAppName":"other""#));
}

#[tokio::test]
async fn a_newer_stored_fly_token_is_not_overwritten_by_that_of_the_settings() {
    let mut environment = Environment::imported().await;
    environment
        .execute(&format!("UPDATE user_secrets SET updated_at = '{LATER}' WHERE provider_id = 'fly'"))
        .await;
    environment.execute("DELETE FROM user_settings").await;
    let report = environment.import(&EXPORT.replace(FLY_TOKEN, "fo1_older")).await.unwrap();
    assert_eq!((report.fly_tokens_moved, report.fly_tokens_superseded), (0, 1));
    assert_eq!(environment.secret(OCTOCAT, "fly", "FLY_API_TOKEN").await, FLY_TOKEN);
    assert!(!environment.dump().await.concat().contains("fo1_older"));
}

#[tokio::test]
async fn a_person_who_signed_in_under_another_root_secret_remains_one_user() {
    let mut environment = Environment::new().await;
    environment.vault = vault(&["a newer root secret".to_owned(), root()]);
    let key = environment.vault.user_key(583_231.into());
    environment
        .execute(&format!("INSERT INTO users VALUES ('{key}', 583231, 'octocat', '{LATER}', '{LATER}')"))
        .await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!(report.users, Counts { read: 2, inserted: 1, newer_here: 1, ..Counts::default() });
    assert_eq!(report.notes.len(), 1, "{report}");
    assert_eq!(environment.text("SELECT count(*) || '' FROM users").await, "2");
    assert_eq!(environment.secret(&key, "anthropic", "ANTHROPIC_API_KEY").await, "sk-ant-fixture-0001");
    assert_eq!(environment.secret(&key, "fly", "FLY_API_TOKEN").await, FLY_TOKEN);

    let before = environment.dump().await;
    assert!(!environment.import(EXPORT).await.unwrap().changed());
    assert_eq!(environment.dump().await, before);
}

#[tokio::test]
async fn an_export_without_its_last_statement_is_imported_with_a_note() {
    let last = "CREATE UNIQUE INDEX idx_user_oauth_login_norm ON user_oauth_tokens(github_login_norm);";
    let mut environment = Environment::new().await;
    let report = environment.import(&altered(last, "")).await.unwrap();
    assert_eq!(report.notes.len(), 1, "{report}");
    assert!(report.notes[0].contains("cut short"), "{report}");
}

#[tokio::test]
async fn an_oauth_token_needs_no_user() {
    let mut environment = Environment::new().await;
    let tokens_only: Vec<_> = EXPORT
        .lines()
        .filter(|line| !line.starts_with("INSERT INTO") || line.starts_with("INSERT INTO user_oauth_tokens"))
        .collect();
    let report = environment.import(&tokens_only.join("\n")).await.unwrap();
    assert_eq!((report.users, report.oauth_tokens), (Counts::default(), inserted(2)));
    assert_eq!(environment.oauth_token(583_231).await, "ghu_fixtureTokenOctocat0000000000000000");
}

#[tokio::test]
async fn a_login_of_another_stored_account_is_left_out_with_a_note() {
    let mut environment = Environment::imported().await;
    environment
        .execute("UPDATE user_oauth_tokens SET github_user_id = 7 WHERE github_user_id = 583231")
        .await;
    let before = environment.dump().await;
    let report = environment.import(EXPORT).await.unwrap();
    assert_eq!(report.oauth_tokens, Counts { read: 2, unchanged: 1, left_out: 1, ..Counts::default() });
    assert_eq!(
        report.notes,
        ["GitHub user 583231 must sign in again: the login octocat belongs to user 7 here"]
    );
    assert_eq!(environment.dump().await, before);
}

#[tokio::test]
async fn columns_may_be_missing_added_and_in_another_order() {
    let mut environment = Environment::new().await;
    let sql = r#"CREATE TABLE IF NOT EXISTS "users" ("extra" TEXT, "GitHub_User_Id" INTEGER, "user_key" TEXT);
        INSERT INTO "users" ("user_key","GitHub_User_Id","extra") VALUES('u',7,'x');
        CREATE TABLE user_settings (config_json TEXT, user_key TEXT);
        INSERT INTO user_settings VALUES(replace('{"a":\n"x;--y"}','\n',char(10)),'u');
        CREATE TABLE user_secrets (user_key, provider_id, env_key, encrypted_value, iv, tag);
        CREATE TABLE user_oauth_tokens (github_user_id, github_login, encrypted_token, iv, tag);
        INSERT INTO user_oauth_tokens VALUES(583231,'OctoCat',
          '6TCwlcBnWnJ5TzTGF6h10AqUS9JdE9DUd7KOaS2XgeOtaFfmY5SL','7UNEc+0sSy875X+x','yI1RBXQgHUJtOhS3bYVINA==');"#;
    let report = environment.import(sql).await.unwrap();
    assert_eq!((report.users, report.oauth_tokens), (inserted(1), inserted(1)));
    assert_eq!(environment.text("SELECT config_json FROM user_settings").await, "{\"a\":\n\"x;--y\"}");
    assert_eq!(environment.text("SELECT github_login_norm FROM user_oauth_tokens").await, "octocat");
    assert!(!environment.import(sql).await.unwrap().changed());

    let seen = environment.refusal(&sql.replace("config_json TEXT,", "other TEXT,")).await;
    assert_eq!(seen, "table `user_settings` of the export has no column `config_json`");
    let seen = environment.refusal(&sql.replace("VALUES('u',7,'x')", "VALUES('u','seven','x')")).await;
    assert_eq!(seen, "row 1 of table `users` of the export has an unusable `github_user_id`");
    let seen = environment.refusal(&sql.replace("VALUES('u',7,'x')", "VALUES(NULL,7,'x')")).await;
    assert_eq!(seen, "row 1 of table `users` of the export has an unusable `user_key`");
}

#[tokio::test]
async fn an_export_written_by_sqlite3_dump_is_imported() {
    let dump = format!(
        "\u{feff}PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE d1_migrations(id INTEGER);
        INSERT INTO d1_migrations VALUES(1);\nCREATE TABLE sqlite_sequence(name,seq);\nDELETE FROM sqlite_sequence;
        CREATE TABLE _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;\n{EXPORT}\nCOMMIT;\n"
    );
    let mut environment = Environment::new().await;
    let report = environment.import(&dump).await.unwrap();
    assert_eq!(report.secrets, inserted(3));
    assert!(
        report.to_string().contains("tables that are not Porter's, left out: _cf_KV, d1_migrations, sqlite_")
    );
    let seen = environment.refusal(dump.trim_end().trim_end_matches("COMMIT;")).await;
    assert_eq!(seen, "the export begins a transaction and never commits it; was it cut short?");
}

#[tokio::test]
async fn fly_tokens_in_the_settings_of_this_database_are_moved_once() {
    let mut environment = Environment::new().await;
    environment
        .execute(&format!(
            r#"INSERT INTO users VALUES ('a', 1, 'a', '{LATER}', '{LATER}'), ('b', 2, 'b', '{LATER}', '{LATER}'),
            ('c', 3, 'c', '{LATER}', '{LATER}'), ('d', 4, 'd', '{LATER}', '{LATER}');
            INSERT INTO user_settings VALUES ('a', '{{"x":1,"flyToken":"fo1_of_a"}}', '{LATER}'),
            ('b', '{{"flyToken":""}}', '{LATER}'), ('c', 'not JSON, "flyToken"', '{LATER}'),
            ('d', '{{"flyToken":"FlyV1 fm2_of_d"}}', '{LATER}');"#
        ))
        .await;
    assert_eq!(adopt_fly_tokens(&mut environment.connection, &environment.vault).await.unwrap(), 2);
    assert_eq!(environment.secret("a", "fly", "FLY_API_TOKEN").await, "fo1_of_a");
    assert_eq!(environment.secret("d", "fly", "FLY_API_TOKEN").await, "FlyV1 fm2_of_d");
    let settings = "SELECT group_concat(config_json, ' ' ORDER BY user_key) FROM user_settings";
    assert_eq!(environment.text(settings).await, r#"{"x":1} {"flyToken":""} not JSON, "flyToken" {}"#);

    let before = environment.dump().await;
    assert_eq!(adopt_fly_tokens(&mut environment.connection, &environment.vault).await.unwrap(), 0);
    assert_eq!(environment.dump().await, before);
}

#[tokio::test]
async fn a_moved_token_is_removed_from_the_database_file() {
    let mut environment = Environment::new().await;
    // As long as a real Fly token, so that the row's new content does not overwrite it by chance.
    let token = format!("fm2_{}", "macaroon".repeat(80));
    let rows: Vec<_> = EXPORT.lines().filter(|line| line.starts_with("INSERT INTO user")).collect();
    environment.execute(&rows.join("\n").replace(FLY_TOKEN, &token)).await;
    let mut environment = environment.reopened().await;
    assert_eq!(adopt_fly_tokens(&mut environment.connection, &environment.vault).await.unwrap(), 1);
    assert_eq!(environment.secret(OCTOCAT, "fly", "FLY_API_TOKEN").await, token);
    assert_files_contain_none_of(environment.close().await.path(), &["macaroonmacaroon".to_owned()]);
}
