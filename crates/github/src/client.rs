//! The App's client: its settings, the state that all calls share, and authentication as the App.

use domain::ids::InstallationId;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::{Error, Kind};
use super::installation::{Installation, Shared};
use super::jwt::AppKey;
use super::pages::Pages;
use super::request::Request;
use super::throttle::{Throttle, outlasting_limits};
use super::wire::{Answer, Wire};
use domain::clock::Clock;

/// Settings of the client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The REST API: `https://api.github.com`, or `https://HOST/api/v3` of a GitHub Enterprise Server.
    pub api_url: Url,
    /// The App's id or its client id, used as the issuer of its JWTs.
    pub app_id: String,
    /// The App's RSA private key as PEM, with real newlines.
    pub private_key: SecretString,
    /// The minimum time between two mutations of one installation. GitHub recommends one second.
    pub mutation_interval: Duration,
}

/// A client that is authenticated as the App. Cheap to clone; all clones share tokens, throttles and known limits.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    wire: Wire,
    key: AppKey,
    throttle: Throttle,
    mutation_interval: Duration,
    installations: Mutex<HashMap<InstallationId, Arc<Shared>>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api_url", &self.inner.wire.base().as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates the client without making a call. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if the private key cannot sign, the URL is not http(s), or TLS cannot be set up.
    pub fn new(settings: Settings, clock: Clock) -> Result<Self, Error> {
        let key = AppKey::new(settings.app_id, &settings.private_key, clock.now())?;
        Ok(Self {
            inner: Arc::new(Inner {
                wire: Wire::new(&settings.api_url, clock)?,
                key,
                throttle: Throttle::new(settings.mutation_interval),
                mutation_interval: settings.mutation_interval,
                installations: Mutex::default(),
            }),
        })
    }

    /// Returns a client for one installation. Makes no call: an unknown id fails at the first request.
    pub fn installation(&self, id: InstallationId) -> Installation {
        let mut known = self.inner.installations.lock().unwrap_or_else(PoisonError::into_inner);
        let shared =
            known.entry(id).or_insert_with(|| Arc::new(Shared::new(self.inner.mutation_interval))).clone();
        Installation::new(self.clone(), id, shared)
    }

    pub(super) fn wire(&self) -> &Wire {
        &self.inner.wire
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.wire.clock
    }

    pub(super) fn throttle(&self) -> &Throttle {
        &self.inner.throttle
    }

    /// Sends a request as the App. Retries after a short rate limit.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Error> {
        outlasting_limits(self.clock(), || self.send_once(request)).await
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, Error> {
        let token = self.inner.key.token(self.clock().now())?;
        let answer = self.wire().send(request, &token, self.throttle()).await;
        if matches!(answer, Err(Error { kind: Kind::Unauthorized, .. })) {
            self.inner.key.forget();
        }
        answer
    }

    /// Reads all pages of a list as the App.
    pub(super) async fn list<T: DeserializeOwned>(&self, first: Request) -> Result<Vec<T>, Error> {
        let mut list = Pages::new(first);
        while let Some(request) = list.next.take() {
            let answer = self.send(&request).await?;
            list.add(&request, &answer)?;
        }
        Ok(list.items)
    }
}
