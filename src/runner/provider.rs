//! A kind of machines, as the rest of Porter sees it: what it requires of a person, and which machines are that
//! person's. One [`MachineProvider`] serves a whole Porter; `app` chooses it by `PORTER_RUNNER`, `tasks` asks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{Error, Runner};
use domain::settings::Settings;

/// One kind of machines.
pub trait MachineProvider: Send + Sync {
    /// Its name in `PORTER_RUNNER`. People's secrets for it are stored under this name as their provider.
    fn kind(&self) -> &'static str;

    /// What a person still has to provide before a machine can be made for them, in words that they know. Asks
    /// nobody: it is called for every mention.
    fn missing(&self, holdings: &Holdings<'_>) -> Vec<String>;

    /// The person's machines: those in `place`, where an earlier attempt's machine was put, or, without one, those
    /// where the next machine goes.
    ///
    /// # Errors
    /// [`Error`] when something is [`missing`](Self::missing) or cannot be used.
    fn scope(&self, holdings: &Holdings<'_>, place: Option<&str>) -> Result<Scope, Error>;
}

/// What one person has for machines of one kind: their stored secrets by name, whether they were opened or not,
/// and their settings.
pub struct Holdings<'a> {
    secrets: BTreeMap<&'a str, Option<&'a SecretString>>,
    settings: &'a Settings,
}

impl<'a> Holdings<'a> {
    /// Secrets whose values were not opened: enough to tell what is missing.
    pub fn named(settings: &'a Settings, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { secrets: names.into_iter().map(|name| (name, None)).collect(), settings }
    }

    /// Secrets with their values.
    pub fn opened(settings: &'a Settings, secrets: &'a BTreeMap<String, SecretString>) -> Self {
        let secrets = secrets.iter().map(|(name, value)| (name.as_str(), Some(value)));
        Self { secrets: secrets.collect(), settings }
    }

    /// Whether the person has stored this secret.
    pub fn has(&self, name: &str) -> bool {
        self.secrets.contains_key(name)
    }

    /// The secret's value; nothing when it is not there or was not opened.
    pub fn secret(&self, name: &str) -> Option<&'a SecretString> {
        self.secrets.get(name).copied().flatten()
    }

    /// A text at the top of the person's settings; an empty one counts as absent.
    pub fn setting(&self, name: &str) -> Option<&'a str> {
        self.settings.text(name).filter(|text| !text.is_empty())
    }
}

/// The machines that one credential shows in one place.
pub struct Scope {
    /// They.
    pub runner: Arc<dyn Runner>,
    /// Where they are, as their runner names it; stored with an attempt, and given back to
    /// [`MachineProvider::scope`]. Nothing where there is only one place.
    pub place: Option<String>,
    /// What they are managed with, when that is a secret.
    pub credential: Option<SecretString>,
}

impl Scope {
    /// Whether one question answers for both. The same place with another credential is another scope: one
    /// person's bad token must not hide the machines of others.
    pub fn is_same(&self, other: &Self) -> bool {
        let credential =
            |scope: &Self| scope.credential.as_ref().map(|secret| secret.expose_secret().to_owned());
        self.place == other.place && credential(self) == credential(other)
    }
}
