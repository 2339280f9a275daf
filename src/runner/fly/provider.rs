//! Determines the Fly token and app of a person: their own, or the shared ones of the operator (main-spec §3, §8).
//! The place that is stored with an attempt is the name of the app.

use std::sync::Arc;

use secrecy::SecretString;

use super::{FlyRunner, INVALID_TOKEN};
use crate::runner::{Error, Holdings, MachineProvider, Scope};

/// The name of the secret that stores a person's token.
const TOKEN: &str = "FLY_API_TOKEN";
/// The setting that contains the name of a person's app.
const APP: &str = "flyAppName";

/// Provides Fly Machines.
pub struct FlyMachines {
    api: fly::Api,
    shared_token: Option<SecretString>,
    shared_app: Option<String>,
}

impl FlyMachines {
    /// Returns a provider for this API. People without their own token and app use the shared ones.
    pub fn new(api: fly::Api, shared_token: Option<SecretString>, shared_app: Option<String>) -> Self {
        Self { api, shared_token, shared_app }
    }

    /// Returns the token and app for people without a token. The shared token is used with the shared app only,
    /// because it may have access to other apps that people must not choose.
    fn shared(&self) -> Option<(&SecretString, &str)> {
        self.shared_token.as_ref().zip(self.shared_app.as_deref())
    }

    /// Returns the app of a person who has their own token.
    fn app<'a>(&'a self, holdings: &Holdings<'a>) -> Option<&'a str> {
        holdings.setting(APP).or(self.shared_app.as_deref())
    }
}

impl MachineProvider for FlyMachines {
    fn kind(&self) -> &'static str {
        "fly"
    }

    fn missing(&self, holdings: &Holdings<'_>) -> Vec<String> {
        let mut missing = Vec::new();
        if !holdings.has(TOKEN) {
            if self.shared().is_some() {
                return missing;
            }
            missing.push("Fly token".to_owned());
        }
        if self.app(holdings).is_none() {
            missing.push("Fly app name".to_owned());
        }
        missing
    }

    fn scope(&self, holdings: &Holdings<'_>, place: Option<&str>) -> Result<Scope, Error> {
        let (token, app) = match (holdings.secret(TOKEN), self.shared()) {
            (None, Some((token, app))) => (Some(token), Some(app)),
            (token, _) => (token, self.app(holdings)),
        };
        let (Some(token), Some(app)) = (token, place.or(app)) else {
            let message = "Machines at Fly need a Fly token and the name of a Fly app.".to_owned();
            return Err(Error::Refused { message });
        };
        let client = self.api.client(token);
        let client = client.map_err(|_| Error::Refused { message: INVALID_TOKEN.to_owned() })?;
        Ok(Scope {
            runner: Arc::new(FlyRunner::new(client, app)),
            place: Some(app.to_owned()),
            credential: Some(token.clone()),
        })
    }
}
