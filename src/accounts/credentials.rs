//! The keys that a person's tasks may use: the person's stored ones and the ones the operator shares with everyone.
//! Used by the preflight, the watcher and the cleanup.

use domain::ids::UserId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::SecretString;

use super::Error;
use crypto::vault::{Identity, Vault};
use db::Db;
use db::users::Person;
use domain::settings::Settings;

/// Loads people's keys. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    vault: Arc<Vault>,
    shared: Arc<BTreeMap<String, SecretString>>,
    kinds: Arc<BTreeSet<String>>,
}

/// The keys and settings of one person's tasks.
pub struct Keyring {
    /// The person's settings.
    pub settings: Settings,
    /// Provider keys by name.
    pub keys: BTreeMap<String, SecretString>,
    /// Secrets for machines by kind and name. They are never passed to an agent.
    machines: BTreeMap<String, BTreeMap<String, SecretString>>,
}

impl Keyring {
    /// Returns the stored secrets for machines of this kind, by name.
    pub fn machine_secrets(&self, kind: &str) -> &BTreeMap<String, SecretString> {
        static NONE: BTreeMap<String, SecretString> = BTreeMap::new();
        self.machines.get(kind).unwrap_or(&NONE)
    }

    /// Returns every secret value.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        // URLs that accompany a key are not secret.
        let keys = self.keys.iter().filter(|(name, _)| !name.ends_with("_URL")).map(|(_, value)| value);
        keys.chain(self.machines.values().flat_map(BTreeMap::values))
    }
}

impl Credentials {
    /// Creates a source of keys that are stored in this database and encrypted with this vault. `shared` are the
    /// keys that everyone may use, by name. A secret whose provider is in `kinds`, the kinds of machines, is never an
    /// agent's key.
    pub fn new(
        db: Db,
        vault: Arc<Vault>,
        shared: BTreeMap<String, SecretString>,
        kinds: BTreeSet<String>,
    ) -> Self {
        Self { db, vault, shared: Arc::new(shared), kinds: Arc::new(kinds) }
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
        let mut keys = (*self.shared).clone();
        let mut machines: BTreeMap<String, BTreeMap<String, SecretString>> = BTreeMap::new();
        if let Some(user_key) = &person.user_key {
            for secret in db::secrets::list_of_user(&mut connection, user_key).await? {
                let identity = Identity::UserSecret {
                    user_key,
                    provider_id: &secret.provider_id,
                    env_key: &secret.env_key,
                };
                match self.vault.open(&identity, &secret.sealed) {
                    Ok(value) if self.kinds.contains(&secret.provider_id) => {
                        machines.entry(secret.provider_id).or_default().insert(secret.env_key, value);
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
        Ok(Keyring { settings, keys, machines })
    }

    /// Returns whether this person has the key or may use a shared one, without decrypting anything.
    pub fn has_key(&self, person: &Person, env_key: &str) -> bool {
        self.shared.contains_key(env_key)
            || person
                .secrets
                .iter()
                .any(|secret| secret.env_key == env_key && !self.kinds.contains(&secret.provider))
    }
}
