//! The keys a person's tasks may use: what they stored, and what the operator shares with everyone. Used by
//! the preflight, the watcher and the clean-up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::SecretString;

pub use crypto::vault::OpenError;
use crypto::vault::{Identity, SealError, Vault};
use db::Db;
use db::users::Person;
use domain::settings::Settings;

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Db(#[from] db::Error),
    /// A stored value does not open.
    #[error("a stored value does not open")]
    Open(#[from] OpenError),
    /// A value could not be sealed.
    #[error("a value could not be sealed")]
    Seal(#[from] SealError),
}

/// Finds people's keys. Cheap to clone.
#[derive(Clone)]
pub struct Credentials {
    db: Db,
    vault: Arc<Vault>,
    shared: Arc<BTreeMap<String, SecretString>>,
    kinds: Arc<BTreeSet<String>>,
}

/// What one person's tasks may use.
pub struct Keyring {
    /// What they have set.
    pub settings: Settings,
    /// Provider keys by their names.
    pub keys: BTreeMap<String, SecretString>,
    /// What they have stored for machines, by kind and name. No agent is given it.
    machines: BTreeMap<String, BTreeMap<String, SecretString>>,
}

impl Keyring {
    /// What they have stored for machines of this kind, by name.
    pub fn machine_secrets(&self, kind: &str) -> &BTreeMap<String, SecretString> {
        static NONE: BTreeMap<String, SecretString> = BTreeMap::new();
        self.machines.get(kind).unwrap_or(&NONE)
    }

    /// Everything secret that is in it.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        // Addresses that go with a key are no secrets.
        let keys = self.keys.iter().filter(|(name, _)| !name.ends_with("_URL")).map(|(_, value)| value);
        keys.chain(self.machines.values().flat_map(BTreeMap::values))
    }
}

impl Credentials {
    /// Keys from this database, opened with this vault; `shared` are everyone's, by name. What is stored under a
    /// provider among `kinds`, the kinds of machines, is no agent's key.
    pub fn new(
        db: Db,
        vault: Arc<Vault>,
        shared: BTreeMap<String, SecretString>,
        kinds: BTreeSet<String>,
    ) -> Self {
        Self { db, vault, shared: Arc::new(shared), kinds: Arc::new(kinds) }
    }

    /// What opens stored values.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Opens what this person may use. A stored key that does not open counts as missing, so that the
    /// person is told to store it anew.
    ///
    /// # Errors
    /// [`Error::Db`].
    pub async fn load(&self, github_user_id: i64) -> Result<Keyring, Error> {
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
                        user.id = github_user_id,
                        secret.name = %secret.env_key,
                        error = %error,
                        "a stored key does not open and counts as missing"
                    ),
                }
            }
        }
        Ok(Keyring { settings, keys, machines })
    }

    /// Whether this person has the key, or shares it, without opening anything.
    pub fn has_key(&self, person: &Person, env_key: &str) -> bool {
        self.shared.contains_key(env_key)
            || person.secrets.iter().any(|name| {
                let parts = name.split_once('/');
                parts.is_some_and(|(provider, key)| key == env_key && !self.kinds.contains(provider))
            })
    }
}
