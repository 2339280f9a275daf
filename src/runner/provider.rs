//! The interface of a kind of machines: what it requires of a person, and which machines are that person's. A Porter
//! process uses one [`MachineProvider`], which `app` chooses by `PORTER_RUNNER` and `tasks` calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{Error, Runner};
use domain::settings::Settings;

/// One kind of machines.
pub trait MachineProvider: Send + Sync {
    /// Returns its name in `PORTER_RUNNER`. People's secrets for it are stored with this name as the provider.
    fn kind(&self) -> &'static str;

    /// Returns what a person must still provide before a machine can be created for them, in terms that they know.
    /// Makes no calls, because it runs for every mention.
    fn missing(&self, holdings: &Holdings<'_>) -> Vec<String>;

    /// Returns the person's machines: those in `place`, where an earlier attempt's machine was created, or, without
    /// `place`, those where the next machine will be created.
    ///
    /// # Errors
    /// [`Error`] when something is [`missing`](Self::missing) or cannot be used.
    fn scope(&self, holdings: &Holdings<'_>, place: Option<&str>) -> Result<Scope, Error>;
}

/// What a person has stored for one kind of machines: the secrets by name, decrypted or not, and the settings.
pub struct Holdings<'a> {
    secrets: BTreeMap<&'a str, Option<&'a SecretString>>,
    settings: &'a Settings,
}

impl<'a> Holdings<'a> {
    /// Returns holdings whose secrets are not decrypted, which is enough to determine what is missing.
    pub fn named(settings: &'a Settings, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { secrets: names.into_iter().map(|name| (name, None)).collect(), settings }
    }

    /// Returns holdings with decrypted secrets.
    pub fn opened(settings: &'a Settings, secrets: &'a BTreeMap<String, SecretString>) -> Self {
        let secrets = secrets.iter().map(|(name, value)| (name.as_str(), Some(value)));
        Self { secrets: secrets.collect(), settings }
    }

    /// Returns whether the person has stored this secret.
    pub fn has(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// Returns the secret's value, or `None` when it is missing or was not decrypted.
    pub fn secret(&self, name: &str) -> Option<&'a SecretString> {
        self.secrets.get(name).copied().flatten()
    }

    /// Returns a top-level text of the person's settings; an empty text counts as absent.
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        self.settings.text(name).filter(|text| !text.is_empty())
    }
}

/// The machines in one place that one credential has access to.
pub struct Scope {
    /// The runner that manages them.
    pub runner: Arc<dyn Runner>,
    /// Their place, in the runner's terms. It is stored with an attempt and passed to [`MachineProvider::scope`]
    /// later. `None` when there is only one place.
    pub place: Option<String>,
    /// The credential that manages them, if it is a secret.
    pub credential: Option<SecretString>,
}

impl Scope {
    /// Returns whether one call covers both scopes. The same place with another credential is a different scope,
    /// because one person's invalid token must not hide the machines of others.
    pub fn is_same(&self, other: &Self) -> bool {
        let credential =
            |scope: &Self| scope.credential.as_ref().map(|secret| secret.expose_secret().to_owned());
        self.place == other.place && credential(self) == credential(other)
    }
}
