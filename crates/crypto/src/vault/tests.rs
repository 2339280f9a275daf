//! Tests of the vault: round trips, and that a modified, moved or foreign ciphertext does not open.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const SECRET: Identity =
    Identity::UserSecret { user_key: "u", provider_id: "anthropic", env_key: "ANTHROPIC_API_KEY" };

fn vault(root: &str, previous: &[&str]) -> Vault {
    Vault::new(root.into(), previous.iter().map(|&root| root.into()).collect())
}

fn open(vault: &Vault, identity: &Identity, sealed: &Sealed) -> Result<String, OpenError> {
    vault.open(identity, sealed).map(|plaintext| plaintext.expose_secret().to_owned())
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/d1-export/vectors.json")).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn sealed_vector(row: &Value) -> Sealed {
    let column = |name| text(row, name).to_owned();
    Sealed {
        encrypted_value: column("encrypted_value"),
        iv: column("iv"),
        tag: column("tag"),
        alg: column("alg"),
        key_version: column("key_version"),
    }
}

fn identity_vector(row: &Value) -> Identity<'_> {
    match text(row, "table") {
        "user_secrets" => Identity::UserSecret {
            user_key: text(row, "user_key"),
            provider_id: text(row, "provider_id"),
            env_key: text(row, "env_key"),
        },
        _ => Identity::OauthToken { github_user_id: row["github_user_id"].as_i64().unwrap().into() },
    }
}

#[test]
fn every_secret_of_the_earlier_porter_opens() {
    let vectors = vectors();
    let current = vault(text(&vectors, "root_secret"), &[]);
    let rotated = vault("a newer root secret", &["another", text(&vectors, "root_secret")]);
    let rows = vectors["secrets"].as_array().unwrap();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let (identity, sealed) = (identity_vector(row), sealed_vector(row));
        assert_eq!(open(&current, &identity, &sealed), Ok(text(row, "plaintext").to_owned()));
        assert_eq!(open(&rotated, &identity, &sealed), Ok(text(row, "plaintext").to_owned()));
        assert_eq!(open(&vault("wrong", &[]), &identity, &sealed), Err(OpenError::WrongKey));
    }
}

#[test]
fn user_keys_are_those_of_the_earlier_porter() {
    let vectors = vectors();
    let vault = vault(text(&vectors, "root_secret"), &["ignored"]);
    for user in vectors["user_keys"].as_array().unwrap() {
        let id = user["github_user_id"].as_i64().unwrap();
        assert_eq!(vault.user_key(id.into()), text(user, "user_key"));
    }
}

#[test]
fn a_sealed_secret_is_v2_with_its_own_nonce() {
    let vault = vault("root", &[]);
    let (one, other) = (vault.seal(&SECRET, &"s".into()).unwrap(), vault.seal(&SECRET, &"s".into()).unwrap());
    assert_eq!((one.alg.as_str(), one.key_version.as_str()), ("aes-256-gcm", "v2"));
    assert_ne!(one.iv, other.iv);
    assert_ne!(one.encrypted_value, other.encrypted_value);
}

#[test]
fn the_formats_do_not_share_a_key() {
    let keys = RootKeys::new(&"root".into());
    assert_ne!(*keys.v1.0, *keys.v2.0);
}

#[test]
fn v2_read_as_v1_does_not_open() {
    let vault = vault("root", &[]);
    let sealed = Sealed { key_version: "v1".to_owned(), ..vault.seal(&SECRET, &"s".into()).unwrap() };
    assert_eq!(open(&vault, &SECRET, &sealed), Err(OpenError::WrongKey));
}

#[test]
fn columns_in_an_unknown_format_are_corrupt() {
    let vault = vault("root", &[]);
    let good = vault.seal(&SECRET, &"secret".into()).unwrap();
    let of = |bytes: usize| STANDARD.encode(vec![0; bytes]);
    let damaged = [
        Sealed { alg: "rot13".to_owned(), ..good.clone() },
        Sealed { key_version: "v3".to_owned(), ..good.clone() },
        Sealed { key_version: String::new(), ..good.clone() },
        Sealed { encrypted_value: "not base64!".to_owned(), ..good.clone() },
        Sealed { iv: of(11), ..good.clone() },
        Sealed { iv: of(13), ..good.clone() },
        Sealed { iv: String::new(), ..good.clone() },
        Sealed { tag: of(15), ..good.clone() },
        Sealed { tag: of(17), ..good.clone() },
        Sealed { tag: "é".to_owned(), ..good.clone() },
    ];
    for sealed in damaged {
        let seen = open(&vault, &SECRET, &sealed);
        assert!(matches!(seen, Err(OpenError::Corrupt(_))), "{sealed:?} gave {seen:?}");
    }
}

#[test]
fn a_sealed_value_that_is_not_text_is_corrupt() {
    let vault = vault("root", &[]);
    let mut buffer = vec![0xff, 0xfe];
    let nonce = [0; 12];
    let tag = cipher(&vault.current.v1)
        .encrypt_inout_detached(&Nonce::from(nonce), &[], (&mut *buffer).into())
        .unwrap();
    let sealed = Sealed {
        encrypted_value: STANDARD.encode(buffer),
        iv: STANDARD.encode(nonce),
        tag: STANDARD.encode(tag),
        alg: ALG.to_owned(),
        key_version: "v1".to_owned(),
    };
    assert_eq!(open(&vault, &SECRET, &sealed), Err(OpenError::Corrupt("it holds no text")));
}

#[test]
fn resealing_updates_old_root_secrets_and_old_formats_once() {
    let (old, new) = (vault("old", &[]), vault("new", &["old"]));
    let sealed = old.seal(&SECRET, &"secret".into()).unwrap();
    assert_eq!(old.reseal(&SECRET, &sealed).unwrap(), None);
    let resealed = new.reseal(&SECRET, &sealed).unwrap().unwrap();
    assert_eq!(open(&vault("new", &[]), &SECRET, &resealed), Ok("secret".to_owned()));
    assert_eq!(new.reseal(&SECRET, &resealed).unwrap(), None);

    let vectors = vectors();
    let current = vault(text(&vectors, "root_secret"), &[]);
    let row = &vectors["secrets"][0];
    let resealed = current.reseal(&identity_vector(row), &sealed_vector(row)).unwrap().unwrap();
    assert_eq!(resealed.key_version, "v2");
    assert_eq!(open(&current, &identity_vector(row), &resealed), Ok(text(row, "plaintext").to_owned()));
}

#[test]
fn identities_that_only_differ_in_where_a_part_ends_are_different() {
    let of = |user_key, provider_id, env_key| {
        Identity::UserSecret { user_key, provider_id, env_key }.associated_data()
    };
    assert_ne!(of("ab", "c", "d"), of("a", "bc", "d"));
    assert_ne!(of("a", "", "b"), of("a", "b", ""));
    let attempt = |task_id, attempt| Identity::AttemptToken { task_id, attempt }.associated_data();
    assert_ne!(attempt("task_1", 12), attempt("task_11", 2));
}

/// Any row of any table.
fn any_row() -> impl Strategy<Value = (u8, String, String, String, i64)> {
    (0..4u8, ".{0,12}", "[a-z]{0,8}", "[A-Z_]{0,8}", any::<i64>())
}

fn identity((table, a, b, c, n): &(u8, String, String, String, i64)) -> Identity<'_> {
    match table {
        0 => Identity::UserSecret { user_key: a, provider_id: b, env_key: c },
        1 => Identity::OauthToken { github_user_id: (*n).into() },
        2 => Identity::AttemptToken { task_id: a, attempt: u32::try_from(n.unsigned_abs() % 1000).unwrap() },
        _ => Identity::InstanceSecret { name: a },
    }
}

fn flip(base64: &str, bit: prop::sample::Index) -> Option<String> {
    let mut bytes = STANDARD.decode(base64).unwrap();
    if bytes.is_empty() {
        return None;
    }
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    Some(STANDARD.encode(bytes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_sealed_secret_can_be_opened(root in ".{1,40}", plaintext in any::<String>(), row in any_row()) {
        let vault = vault(&root, &[]);
        let sealed = vault.seal(&identity(&row), &plaintext.as_str().into()).unwrap();
        prop_assert_eq!(open(&vault, &identity(&row), &sealed), Ok(plaintext));
    }

    #[test]
    fn every_modified_bit_is_detected(plaintext in ".{0,80}", bit in any::<prop::sample::Index>(), column in 0..3u8) {
        let vault = vault("root", &["older"]);
        let mut sealed = vault.seal(&SECRET, &plaintext.as_str().into()).unwrap();
        let column = match column {
            0 => &mut sealed.encrypted_value,
            1 => &mut sealed.iv,
            _ => &mut sealed.tag,
        };
        if let Some(altered) = flip(column, bit) {
            *column = altered;
            prop_assert_eq!(open(&vault, &SECRET, &sealed), Err(OpenError::WrongKey));
        }
    }

    #[test]
    fn a_ciphertext_copied_to_another_row_does_not_open(one in any_row(), other in any_row()) {
        prop_assume!(identity(&one) != identity(&other));
        let vault = vault("root", &[]);
        let sealed = vault.seal(&identity(&one), &"secret".into()).unwrap();
        prop_assert_eq!(open(&vault, &identity(&other), &sealed), Err(OpenError::WrongKey));
    }

    #[test]
    fn malformed_columns_cause_an_error_and_no_panic(
        encrypted_value in ".{0,60}", iv in ".{0,30}", tag in ".{0,30}", v2 in any::<bool>()
    ) {
        let key_version = if v2 { "v2" } else { "v1" }.to_owned();
        let sealed = Sealed { encrypted_value, iv, tag, alg: ALG.to_owned(), key_version };
        prop_assert!(open(&vault("", &[]), &SECRET, &sealed).is_err());
    }
}
