//! Who calls: the App by a signed JWT, an installation by a token that was really issued and really expires.
//!
//! Rules: <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>. Handlers
//! take [`AppCaller`] or [`InstallationCaller`] and so never run for anyone else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, request};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::strict::Reject;
use super::world::{Repository, RepositoryId, World};
use super::{Error, Shared};

/// How much a token may do with one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look.
    Read,
    /// Look and change.
    Write,
    /// Everything.
    Admin,
}

/// The App's private key for Porter, and the public half that checks its JWTs.
pub(super) struct AppKey {
    pub(super) private_pem: SecretString,
    public_der: Vec<u8>,
}

impl AppKey {
    /// Makes a fresh RSA key of 2048 bits, as GitHub does for an App.
    pub(super) fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Key)?;
        let private = pair.as_der().map_err(|_| Error::Key)?;
        let encoded = STANDARD.encode(private.as_ref());
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in encoded.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok(Self { private_pem: pem.into(), public_der: pair.public_key().as_ref().to_vec() })
    }
}

/// The installation tokens in circulation. No `Debug` that shows them.
#[derive(Default)]
pub(super) struct Tokens(HashMap<String, Token>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

/// What one installation token may do.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) installation: u64,
    /// Narrowed to these; nothing: all that the installation covers.
    pub(super) repositories: Option<Vec<RepositoryId>>,
    pub(super) permissions: BTreeMap<String, Access>,
    pub(super) expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Keeps a token and gives its text, in the long stateless shape of 2026:
    /// `ghs_<app id>_<three parts with dots>`, about 520 characters.
    pub(super) fn issue(&mut self, app_id: u64, token: Token) -> Result<String, Error> {
        let mut random = [0_u8; 375];
        getrandom::fill(&mut random).map_err(|_| Error::Key)?;
        let [head, claims, signature] =
            [&random[..27], &random[27..120], &random[120..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        let text = format!("ghs_{app_id}_{head}.{claims}.{signature}").replace('-', "_");
        self.0.insert(text.clone(), token);
        Ok(text)
    }

    /// The token of this text, unless it expired.
    pub(super) fn find(&self, text: &str, now: DateTime<Utc>) -> Option<&Token> {
        self.0.get(text).filter(|token| now < token.expires_at)
    }

    pub(super) fn revoke(&mut self, text: &str) {
        self.0.remove(text);
    }

    pub(super) fn revoke_all(&mut self, installation: u64) {
        self.0.retain(|_, token| token.installation != installation);
    }
}

/// The request carried a valid JWT of the App.
pub(super) struct AppCaller;

/// The request carried a valid installation token.
pub(super) struct InstallationCaller {
    pub(super) token: Token,
    /// The token's own text, for its revocation.
    pub(super) text: String,
}

impl FromRequestParts<Arc<Shared>> for AppCaller {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut request::Parts, shared: &Arc<Shared>) -> Result<Self, Reject> {
        let jwt =
            credential(&parts.headers).ok_or_else(|| Reject::unauthorized("Requires authentication"))?;
        check_jwt(shared, &jwt)?;
        Ok(Self)
    }
}

impl FromRequestParts<Arc<Shared>> for InstallationCaller {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut request::Parts, shared: &Arc<Shared>) -> Result<Self, Reject> {
        let text =
            credential(&parts.headers).ok_or_else(|| Reject::unauthorized("Requires authentication"))?;
        Self::from_text(shared, text).ok_or_else(|| Reject::unauthorized("Bad credentials"))
    }
}

impl InstallationCaller {
    /// The caller that holds this token, if it is one that still counts.
    pub(super) fn from_text(shared: &Shared, text: String) -> Option<Self> {
        let world = shared.world();
        let token = world.tokens.find(&text, shared.clock.now())?.clone();
        let installation = world.find_installation(token.installation)?;
        installation.suspended_at.is_none().then_some(Self { token, text })
    }

    /// The repository, if the token reaches it and may do any one of `needs`.
    ///
    /// # Errors
    /// 404 for a repository outside the token's reach (GitHub does not say that it exists), 403 for a lack of
    /// permission.
    pub(super) fn reach<'w>(
        &self,
        world: &'w World,
        (owner, name): (&str, &str),
        needs: &[(&str, Access)],
    ) -> Result<&'w Repository, Reject> {
        let repository = world.find_repository(owner, name).ok_or_else(Reject::not_found)?;
        let covered = world.find_installation(self.token.installation).is_some_and(|i| i.covers(repository));
        let narrowed_out = self.token.repositories.as_ref().is_some_and(|ids| !ids.contains(&repository.id));
        if !covered || narrowed_out {
            return Err(Reject::not_found());
        }
        let allowed = needs
            .iter()
            .any(|(kind, access)| self.token.permissions.get(*kind).is_some_and(|held| held >= access));
        if allowed {
            Ok(repository)
        } else {
            Err(Reject::forbidden("Resource not accessible by integration"))
        }
    }
}

/// The credential of an `Authorization: Bearer …` or `token …` header.
fn credential(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token"))
        .then(|| credential.trim().to_owned())
}

#[derive(Deserialize)]
struct Claims {
    iss: Issuer,
    iat: i64,
    exp: i64,
}

/// GitHub takes the App's id, as a number or as text, or its client id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Issuer {
    Number(u64),
    Text(String),
}

fn check_jwt(shared: &Shared, jwt: &str) -> Result<(), Reject> {
    let mut validation = Validation::new(Algorithm::RS256);
    // The times are checked below, against the stand-in's own clock.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let key = DecodingKey::from_rsa_der(&shared.key.public_der);
    let claims = jsonwebtoken::decode::<Claims>(jwt, &key, &validation)
        .map_err(|_| Reject::unauthorized("A JSON web token could not be decoded"))?
        .claims;
    let world = shared.world();
    let known = match &claims.iss {
        Issuer::Number(id) => *id == world.app.id,
        Issuer::Text(text) => *text == world.app.id.to_string() || *text == world.app.client_id,
    };
    let now = shared.clock.now().timestamp();
    let complaint = if !known {
        "Integration not found"
    } else if claims.iat > now {
        "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
    } else if claims.exp <= now {
        "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the \
         assertion expires"
    } else if claims.exp > now + TimeDelta::minutes(10).num_seconds() {
        "'Expiration time' claim ('exp') is too far in the future"
    } else {
        return Ok(());
    };
    let status = if known { StatusCode::UNAUTHORIZED } else { StatusCode::NOT_FOUND };
    Err(Reject::new(status, complaint))
}
