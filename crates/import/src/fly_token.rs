//! Moves Fly tokens from the settings to the secrets. The earlier Porter stored a person's Fly token
//! unencrypted in the field `flyToken` of `config_json`; Porter stores it encrypted in `user_secrets`, with
//! the provider `fly` and the key `FLY_API_TOKEN` (main-spec §8, §9).

use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use sqlx::SqliteConnection;

use super::{ImportError, Verdict};
use crate::tables::{Key, Secret, Target};
use crypto::vault::{Identity, Vault};

const FIELD: &str = "flyToken";
const PROVIDER: &str = "fly";
const ENV_KEY: &str = "FLY_API_TOKEN";

/// Moves every Fly token in the settings of this database to the secrets, in one transaction, and returns the
/// number of changed settings. Settings that are not a JSON object are skipped with a warning. Called at each
/// start.
pub async fn adopt_fly_tokens(
    connection: &mut SqliteConnection,
    vault: &Vault,
) -> Result<usize, ImportError> {
    let mut target = Target::begin(connection).await?;
    let mut cleared = 0;
    for mut settings in target.list_settings_naming_a_fly_token().await? {
        let Some((config_json, token)) = take_fly_token(&settings.config_json) else {
            tracing::warn!(
                user.key = settings.user_key,
                "the settings are not a JSON object; a Fly token in them is not moved"
            );
            continue;
        };
        let Some(token) = token else { continue };
        settings.config_json = config_json;
        store_fly_token(&mut target, vault, &settings.user_key, &token, &settings.updated_at).await?;
        target.store_settings(&settings).await?;
        cleared += 1;
    }
    target.commit().await?;
    Ok(cleared)
}

/// Encrypts and stores the token, unless the stored secret is as new or newer. Returns whether it was stored.
pub(super) async fn store_fly_token(
    target: &mut Target<'_>,
    vault: &Vault,
    user_key: &str,
    token: &SecretString,
    updated_at: &str,
) -> Result<bool, ImportError> {
    let existing =
        target.find_time(Key::Secret { user_key, provider_id: PROVIDER, env_key: ENV_KEY }).await?;
    let writes = Verdict::of(existing.as_deref(), updated_at).writes();
    if writes {
        let identity = Identity::UserSecret { user_key, provider_id: PROVIDER, env_key: ENV_KEY };
        let secret = Secret {
            user_key: user_key.to_owned(),
            provider_id: PROVIDER.to_owned(),
            env_key: ENV_KEY.to_owned(),
            sealed: vault.seal(&identity, token)?,
            updated_at: updated_at.to_owned(),
        };
        target.store_secret(&secret).await?;
    }
    Ok(writes)
}

/// The settings without their Fly token, and the token. Settings without a token are returned unchanged.
/// `None` if they are not a JSON object.
pub(super) fn take_fly_token(config_json: &str) -> Option<(String, Option<SecretString>)> {
    let mut object: Object = serde_json::from_str(config_json).ok()?;
    let token = object
        .0
        .iter()
        .filter(|(name, _)| name == FIELD)
        .filter_map(|(_, value)| serde_json::from_str::<String>(value.get()).ok())
        .rfind(|token| !token.trim().is_empty());
    match token {
        Some(token) => {
            object.0.retain(|(name, _)| name != FIELD);
            Some((serde_json::to_string(&object).ok()?, Some(SecretString::from(token.trim()))))
        }
        None => Some((config_json.to_owned(), None)),
    }
}

/// A JSON object that preserves the order and repetition of its fields and the formatting of its values.
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn taken(config_json: &str) -> Option<(String, Option<String>)> {
        let (rest, token) = take_fly_token(config_json)?;
        Some((rest, token.map(|token| token.expose_secret().to_owned())))
    }

    #[test]
    fn the_token_is_removed_and_the_rest_is_unchanged() {
        let seen = taken(r#"{"z":1.50,"flyToken":" fo1_x ","a":{"flyToken":"inner", "b":"ü"}}"#);
        let expected =
            (r#"{"z":1.50,"a":{"flyToken":"inner", "b":"ü"}}"#.to_owned(), Some("fo1_x".to_owned()));
        assert_eq!(seen, Some(expected));
    }

    #[test]
    fn every_occurrence_of_a_repeated_field_is_removed() {
        let seen = taken(r#"{"flyToken":"one","a":1,"flyToken":"two","flyToken":""}"#);
        assert_eq!(seen, Some((r#"{"a":1}"#.to_owned(), Some("two".to_owned()))));
    }

    #[test]
    fn settings_without_a_token_are_unchanged() {
        for settings in [r#"{ "a" : 1 }"#, r#"{"flyToken":""}"#, r#"{"flyToken":null}"#, r#"{"flyToken":7}"#]
        {
            assert_eq!(taken(settings), Some((settings.to_owned(), None)));
        }
    }

    #[test]
    fn text_that_is_not_an_object_is_rejected() {
        for settings in ["", "[]", "null", r#"{"flyToken":"x""#, r#""flyToken""#] {
            assert_eq!(taken(settings), None, "{settings}");
        }
    }
}
