//! The signed-in person: the session cookie (main-spec §8) as an extractor.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum_extra::extract::CookieJar;
use secrecy::SecretString;

use super::{Configured, Error, Site};
use crate::accounts::sessions::Sessions;
use crate::tasks::Policy;
use db::users::User;

/// The cookie's name; prefixed with `__Host-` if the public URL is https.
pub const SESSION_COOKIE: &str = "porter_session";

/// Finds the signed-in person. Cheap to clone.
#[derive(Clone)]
pub(super) struct SignIn {
    sessions: Sessions,
    policy: Arc<Policy>,
}

impl SignIn {
    pub(super) fn new(sessions: Sessions, policy: Arc<Policy>) -> Self {
        Self { sessions, policy }
    }
}

/// The person who sent the request. Requests without a session are answered with 401.
pub(super) struct SignedInUser(pub User);

impl FromRequestParts<Site> for SignedInUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Error> {
        let Configured(SignIn { sessions, policy }) = Configured::from_request_parts(parts, site).await?;
        let jar = CookieJar::from_headers(&parts.headers);
        let Some(cookie) = jar.get(&cookie_name(&policy)) else { return Err(unauthenticated(&policy)) };
        let id = SecretString::from(cookie.value());
        match sessions.find(&id).await {
            Ok(Some(user)) => Ok(Self(user)),
            Ok(None) => Err(unauthenticated(&policy)),
            Err(error) => Err(Error::unavailable(&error)),
        }
    }
}

/// Returns the name of the session cookie for this public URL.
pub(super) fn cookie_name(policy: &Policy) -> String {
    match policy.public_url.scheme() {
        "https" => format!("__Host-{SESSION_COOKIE}"),
        _ => SESSION_COOKIE.to_owned(),
    }
}

fn unauthenticated(policy: &Policy) -> Error {
    Error::new(StatusCode::UNAUTHORIZED, "unauthenticated", "sign in first")
        .with_action("sign_in", policy.link("api/auth/github"))
}
