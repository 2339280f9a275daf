//! Refused exports: the database is unchanged, and the message names the reason.

use crate::environment::{EXPORT, Environment, FLY_TOKEN, OCTOCAT, altered, vault};

#[tokio::test]
async fn one_secret_that_cannot_be_decrypted_fails_the_whole_import_and_is_named() {
    let mut environment = Environment::new().await;
    let seen = environment.refusal(&altered("F0fe/VvIFgDMwo2RZaSoyVpI", "F0fe/VvIFgDMwo2RZaSoyVpJ")).await;
    let expected = format!(
        "1 of 5 secrets of the export do not open; were they made under an older root secret \
         (PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS), or altered?\n  \
         user_secrets ({OCTOCAT}, amp, AMP_API_KEY): no configured encryption key opens it"
    );
    assert_eq!(seen, expected);

    let seen = environment.refusal(&altered("yI1RBXQgHUJtOhS3bYVINA==", "short")).await;
    let expected = "1 of 5 secrets of the export do not open\n  user_oauth_tokens (583231): \
        the stored ciphertext is damaged: its tag is not 16 bytes in base64";
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_wrong_root_secret_is_refused_with_a_hint() {
    let mut environment = Environment::new().await;
    environment.vault = vault(&["wrong".to_owned()]);
    let seen = environment.refusal(EXPORT).await;
    let hint =
        "5 of 5 secrets of the export do not open; is PORTER_SECRET_ENCRYPTION_KEY the earlier Porter's";
    assert!(seen.starts_with(hint), "{seen}");
    assert!(!seen.contains(FLY_TOKEN), "{seen}");
}

#[tokio::test]
async fn statements_that_no_export_contains_are_refused_at_any_position() {
    let mut environment = Environment::imported().await;
    for (sql, name) in [
        ("ATTACH 'x.db' AS x;", "ATTACH"),
        ("DROP TABLE users;", "DROP"),
        ("DELETE FROM users;", "DELETE"),
        ("UPDATE users SET github_login = 'x';", "UPDATE"),
        ("CREATE TRIGGER t AFTER INSERT ON users BEGIN DELETE FROM users; END;", "CREATE TRIGGER"),
    ] {
        let seen = environment.refusal(&format!("{sql}\n{EXPORT}")).await;
        assert_eq!(seen, format!("line 1 of the export: {name} is not allowed there"));
        let seen = environment.refusal(&format!("{EXPORT}\n{sql}")).await;
        assert!(seen.ends_with(&format!("of the export: {name} is not allowed there")), "{seen}");
    }
}

#[tokio::test]
async fn an_export_that_is_cut_short_anywhere_within_a_statement_is_refused() {
    let mut environment = Environment::new().await;
    for end in (1..EXPORT.trim_end().len() - 1).step_by(97).filter(|&end| EXPORT.is_char_boundary(end)) {
        let cut = &EXPORT[..end];
        let result = environment.import(cut).await;
        assert!(result.is_err(), "the first {end} bytes of the export were imported");
        assert_eq!(environment.dump().await, Vec::<String>::new());
    }
    let seen = environment.refusal(EXPORT.trim_end().trim_end_matches(';')).await;
    assert_eq!(seen, "the export ends within the statement that begins on line 48; was it cut short?");
}

#[tokio::test]
async fn rows_of_a_user_who_is_not_in_the_export_are_refused() {
    let mut environment = Environment::new().await;
    let user = EXPORT.lines().find(|line| line.contains("583231,'octocat'")).unwrap();
    let seen = environment.refusal(&altered(user, "")).await;
    let expected =
        format!("the export holds the settings of user {OCTOCAT}, but not that user; is it complete?");
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn settings_that_are_no_json_object_are_refused() {
    let mut environment = Environment::new().await;
    let seen = environment
        .refusal(&altered(r#"{"version":"1.0.0","executionMode":"cloud","flyToken":"fo1"#, "fo1"))
        .await;
    assert_eq!(seen, format!("the settings of user {OCTOCAT} in the export are no JSON object"));
}

#[tokio::test]
async fn errors_of_sqlite_name_the_line_and_never_quote_a_value() {
    let mut environment = Environment::new().await;
    let first = EXPORT.lines().find(|line| line.starts_with("INSERT INTO users")).unwrap();
    let seen = environment.refusal(&altered(first, &format!("{first}\n{first}"))).await;
    assert_eq!(
        seen,
        "line 10 of the export, INSERT INTO users: SQLite refuses it: UNIQUE constraint failed: users.user_key"
    );
    let seen =
        environment.refusal(&altered(first, "INSERT INTO users VALUES('sk-secret' 'sk-secret');")).await;
    assert_eq!(seen, "line 9 of the export, INSERT INTO users: SQLite refuses it: a syntax error");
}
