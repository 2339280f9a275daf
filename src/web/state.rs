//! What handlers are given. [`Site`] is there from the start; [`Service`] only once the GitHub App is known, and it
//! can be replaced while Porter runs. A handler takes the one piece that it uses: `State<_>` of the site,
//! [`Configured<_>`](Configured) of the service.
//!
//! `app` builds both; nothing outside `web` can look into them.

use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::health::Health;
use super::session::SignIn;
use super::tasks::Tasks;
use super::webhook::Webhooks;
use crate::accounts::sessions::Sessions;
use crate::tasks::create::Creation;
use crate::tasks::intake::Intake;
use crate::tasks::reports::Callbacks;
use crate::tasks::{Context, Policy};

/// What is there whether or not the GitHub App is known. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    health: Arc<Health>,
    service: ServiceSlot,
    stop: CancellationToken,
}

impl Site {
    /// A site that answers for `service` as long as there is one. Cancelling `stop` ends streams and makes
    /// `/readyz` refuse.
    pub fn new(health: Health, service: ServiceSlot, stop: CancellationToken) -> Self {
        Self { health: Arc::new(health), service, stop }
    }
}

impl FromRef<Site> for Arc<Health> {
    fn from_ref(site: &Site) -> Self {
        site.health.clone()
    }
}

impl FromRef<Site> for ServiceSlot {
    fn from_ref(site: &Site) -> Self {
        site.service.clone()
    }
}

impl FromRef<Site> for CancellationToken {
    fn from_ref(site: &Site) -> Self {
        site.stop.clone()
    }
}

/// Holds the service that answers now. Clones share it: whoever holds one can replace the service while requests
/// are served. A request that has begun goes on with the service it began with.
#[derive(Clone, Default)]
pub struct ServiceSlot(Arc<RwLock<Option<Arc<Service>>>>);

impl ServiceSlot {
    /// The service, if there is one.
    pub fn get(&self) -> Option<Arc<Service>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts `service` in the place of whatever was there.
    pub fn set(&self, service: Service) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(service));
    }

    /// Takes the service away; requests for it are refused from now on.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What is there once the GitHub App is known.
pub struct Service {
    policy: Arc<Policy>,
    tasks: Tasks,
    webhooks: Webhooks,
    callbacks: Callbacks,
    creation: Creation,
    sign_in: SignIn,
}

impl Service {
    /// The service over these use cases.
    pub fn new(context: &Context, intake: Intake, sessions: Sessions, webhook_secret: SecretString) -> Self {
        let policy = context.policy().clone();
        Self {
            tasks: Tasks::new(context.store().clone(), policy.clone()),
            webhooks: Webhooks::new(webhook_secret, intake, policy.clone()),
            callbacks: Callbacks::new(context.clone()),
            creation: Creation::new(context.clone()),
            sign_in: SignIn::new(sessions, policy.clone()),
            policy,
        }
    }

    /// The operator's rules.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// People's tasks.
    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

/// One piece of the service. As an extractor it answers 503 while there is no service.
pub(super) struct Configured<T>(pub T);

impl<T: FromRef<Service>> FromRequestParts<Site> for Configured<T> {
    type Rejection = Error;

    async fn from_request_parts(_parts: &mut Parts, site: &Site) -> Result<Self, Error> {
        let service = site.service.get().ok_or_else(Error::not_configured)?;
        Ok(Self(T::from_ref(&service)))
    }
}

/// A piece that handlers may take.
macro_rules! piece {
    ($field:ident: $piece:ty) => {
        impl FromRef<Service> for $piece {
            fn from_ref(service: &Service) -> Self {
                service.$field.clone()
            }
        }
    };
}

piece!(policy: Arc<Policy>);
piece!(tasks: Tasks);
piece!(webhooks: Webhooks);
piece!(callbacks: Callbacks);
piece!(creation: Creation);
piece!(sign_in: SignIn);
