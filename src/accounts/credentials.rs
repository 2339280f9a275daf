//! The keys that a person's tasks may use: the person's stored ones and the ones the operator shares with everyone.
//! Used by the preflight, the watcher and the cleanup.

use domain::ids::UserId;
use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;

use super::Error;
use crate::config::SharedCredentials;
use crypto::vault::{Identity, Vault};
use db::Db;
use db::users::Person;
use domain::settings::Settings;

/// The provider under which a person's Fly token is stored (main-spec §8).
pub const FLY_PROVIDER: &str = "fly";
/// The name of a person's Fly token.
pub const FLY_TOKEN_KEY: &str = "FLY_API_TOKEN";

/// Loads people's keys. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    vault: Arc<Vault>,
    shared: Arc<SharedCredentials>,
}

/// The keys and settings of one person's tasks.
pub struct Keyring {
    /// The person's settings.
    pub settings: Settings,
    /// Provider keys by name.
    pub keys: BTreeMap<String, SecretString>,
    /// The token for creating machines.
    pub fly_token: Option<SecretString>,
    /// The app that machines are created in.
    pub fly_app: Option<String>,
}

impl Credentials {
    /// Creates a source of keys that are stored in this database and encrypted with this vault.
    pub fn new(db: Db, vault: Arc<Vault>, shared: SharedCredentials) -> Self {
        Self { db, vault, shared: Arc::new(shared) }
    }

    /// Returns the vault that decrypts stored values.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Loads and decrypts the keys this person may use. A stored key that cannot be decrypted counts as missing, so
    /// that the person is asked to store it again.
    pub async fn load(&self, github_user_id: UserId) -> Result<Keyring, Error> {
        let mut connection = self.db.read().await?;
        let person = db::users::load_person(&mut connection, github_user_id).await?;
        let settings = Settings::parse(person.settings.as_deref());
        let mut keys = self.shared.keys.clone();
        let mut own_token = None;
        if let Some(user_key) = &person.user_key {
            for secret in db::secrets::list_of_user(&mut connection, user_key).await? {
                let identity = Identity::UserSecret {
                    user_key,
                    provider_id: &secret.provider_id,
                    env_key: &secret.env_key,
                };
                match self.vault.open(&identity, &secret.sealed) {
                    Ok(value) if secret.provider_id == FLY_PROVIDER => {
                        if secret.env_key == FLY_TOKEN_KEY {
                            own_token = Some(value);
                        }
                    }
                    Ok(value) => {
                        keys.insert(secret.env_key, value);
                    }
                    Err(error) => tracing::warn!(
                        user.id = %github_user_id,
                        secret.name = %secret.env_key,
                        error = %error,
                        "a stored key cannot be decrypted and counts as missing"
                    ),
                }
            }
        }
        let (fly_token, fly_app) = match (own_token, self.shared_place()) {
            (None, Some((token, app))) => (Some(token.clone()), Some(app.clone())),
            (own_token, _) => {
                let own_app = settings.fly_app_name.clone().filter(|app| !app.is_empty());
                (own_token, own_app.or_else(|| self.shared.fly_app.clone()))
            }
        };
        Ok(Keyring { settings, keys, fly_token, fly_app })
    }

    /// Returns the token and app for machines of people without their own token. The shared token is used only with
    /// the shared app: it may have access to other apps, which users must not be able to name.
    fn shared_place(&self) -> Option<(&SecretString, &String)> {
        self.shared.fly_token.as_ref().zip(self.shared.fly_app.as_ref())
    }

    /// Returns whether this person has the key or may use a shared one, without decrypting anything.
    pub fn has_key(&self, person: &Person, env_key: &str) -> bool {
        self.shared.keys.contains_key(env_key)
            || person.secrets.iter().any(|name| {
                name.split_once('/').is_some_and(|(provider, key)| provider != FLY_PROVIDER && key == env_key)
            })
    }

    /// Returns the names of the credentials that this person lacks for machines on Fly.
    pub fn missing_for_fly(&self, person: &Person, settings: &Settings) -> Vec<String> {
        let mut missing = Vec::new();
        let stored = person.secrets.iter().any(|name| name == "fly/FLY_API_TOKEN");
        if !stored {
            if self.shared_place().is_some() {
                return missing;
            }
            missing.push("Fly token".to_owned());
        }
        let app = settings.fly_app_name.as_deref().is_some_and(|app| !app.is_empty());
        if !app && self.shared.fly_app.is_none() {
            missing.push("Fly app name".to_owned());
        }
        missing
    }
}
