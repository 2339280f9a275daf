//! Authentication: the App by a signed JWT, an installation by a token that was issued and expires.
//!
//! Rules: <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>. Handlers
//! take [`AppCaller`] or [`Caller`] as an extractor, so they run for authenticated callers only. The sign-in
//! of people is in `sign_in.rs`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, request};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::state::{GithubState, Permission, Repository, RepositoryId};
use super::strict::Reject;
use super::{Error, Shared};

/// A token's level of access to one kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
    /// Administer.
    Admin,
}

/// The App's private key for Porter, and the public key that verifies its JWTs.
pub(super) struct AppKey {
    pub(super) private_pem: SecretString,
    public_der: Vec<u8>,
}

impl AppKey {
    /// Loads the key that all stand-ins share. Generating one would need a library that nothing else uses.
    pub(super) fn load() -> Result<Self, Error> {
        let text = include_str!("app-key.pem");
        let begin = text.find("-----BEGIN").ok_or(Error::Key)?;
        let pem = &text[begin..];
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).map_err(|_| Error::Key)?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| Error::Key)?;
        Ok(Self { private_pem: pem.into(), public_der: pair.public().as_ref().to_vec() })
    }
}

/// The valid installation tokens, and all that were issued. `Debug` does not show them.
#[derive(Default)]
pub(super) struct Tokens {
    live: HashMap<String, Token>,
    issued: Vec<(SecretString, Token)>,
}

/// An installation token, valid or not.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub text: SecretString,
    /// Its permissions.
    pub permissions: BTreeMap<String, Access>,
    /// Whether it is neither revoked nor expired.
    pub is_live: bool,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.live.len())
    }
}

/// The scope of an installation token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) installation: u64,
    /// The repositories to which it is limited; `None` means all of the installation.
    pub(super) repositories: Option<Vec<RepositoryId>>,
    pub(super) permissions: BTreeMap<String, Access>,
    pub(super) expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Stores a token and returns its text, in GitHub's stateless format of 2026:
    /// `ghs_<app id>_<three parts with dots>`, about 520 characters.
    pub(super) fn issue(&mut self, app_id: u64, token: Token) -> Result<String, Error> {
        let text = format!("ghs_{app_id}_{}.{}.{}", opaque(27)?, opaque(93)?, opaque(255)?);
        self.issued.push((text.clone().into(), token.clone()));
        self.live.insert(text.clone(), token);
        Ok(text)
    }

    /// The token with this text, if it has not expired.
    pub(super) fn find(&self, text: &str, now: DateTime<Utc>) -> Option<&Token> {
        self.live.get(text).filter(|token| now < token.expires_at)
    }

    /// Every token that was issued, oldest first.
    pub(super) fn issued(&self, now: DateTime<Utc>) -> Vec<IssuedToken> {
        let issued = |(text, token): &(SecretString, Token)| IssuedToken {
            is_live: self.find(text.expose_secret(), now).is_some(),
            text: text.clone(),
            permissions: token.permissions.clone(),
        };
        self.issued.iter().map(issued).collect()
    }

    pub(super) fn revoke(&mut self, text: &str) {
        self.live.remove(text);
    }

    pub(super) fn revoke_all(&mut self, installation: u64) {
        self.live.retain(|_, token| token.installation != installation);
    }
}

/// A text of this many random bytes, in the alphabet of GitHub's tokens.
pub(super) fn opaque(bytes: usize) -> Result<String, Error> {
    let mut random = vec![0_u8; bytes];
    getrandom::fill(&mut random).map_err(|_| Error::Key)?;
    Ok(URL_SAFE_NO_PAD.encode(random).replace('-', "_"))
}

/// The request has a valid JWT of the App.
pub(super) struct AppCaller;

/// The request has a valid token of an installation or a person.
pub(super) enum Caller {
    /// The App, limited to the installation and the token's scope.
    Installation(Token),
    /// A person who signed in with the App, limited to the permissions of both.
    User(String),
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

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Reject;

    async fn from_request_parts(parts: &mut request::Parts, shared: &Arc<Shared>) -> Result<Self, Reject> {
        let text =
            credential(&parts.headers).ok_or_else(|| Reject::unauthorized("Requires authentication"))?;
        Self::from_text(shared, &text).ok_or_else(|| Reject::unauthorized("Bad credentials"))
    }
}

impl Caller {
    /// The caller with this token, if the token is valid.
    pub(super) fn from_text(shared: &Shared, text: &str) -> Option<Self> {
        let (state, now) = (shared.state(), shared.clock.now());
        if let Some(login) = state.sign_ins.find(text, now) {
            return Some(Self::User(login.to_owned()));
        }
        let token = state.tokens.find(text, now)?;
        let installation = state.find_installation(token.installation)?;
        installation.suspended_at.is_none().then(|| Self::Installation(token.clone()))
    }

    /// The login under which the caller acts.
    pub(super) fn login(&self, state: &GithubState) -> String {
        match self {
            Self::Installation(_) => state.app.bot(),
            Self::User(login) => login.clone(),
        }
    }

    /// The repository, if the caller has access to it and at least one of the permissions `needs`. Otherwise
    /// 404 if the caller has no access to the repository (GitHub does not disclose that it exists), or 403 if
    /// a permission is missing.
    pub(super) fn reach<'w>(
        &self,
        state: &'w GithubState,
        (owner, name): (&str, &str),
        needs: &[(&str, Access)],
    ) -> Result<&'w Repository, Reject> {
        let repository = state.find_repository(owner, name).ok_or_else(Reject::not_found)?;
        let installation = state.find_installation_of(repository).ok_or_else(Reject::not_found)?;
        let holds = |permissions: &BTreeMap<String, Access>, (kind, access): &(&str, Access)| {
            permissions.get(*kind).is_some_and(|held| held >= access)
        };
        let allowed = match self {
            Self::Installation(token) => {
                let outside = token.repositories.as_ref().is_some_and(|ids| !ids.contains(&repository.id));
                if token.installation != installation.id || outside {
                    return Err(Reject::not_found());
                }
                needs.iter().any(|need| holds(&token.permissions, need))
            }
            Self::User(login) => {
                let held = state.find_permission(repository, login).ok_or_else(Reject::not_found)?;
                let pushes = |(kind, access): &(&str, Access)| *kind == "contents" && *access > Access::Read;
                needs.iter().any(|need| {
                    holds(&installation.permissions, need) && (!pushes(need) || held >= Permission::Write)
                })
            }
        };
        if allowed {
            Ok(repository)
        } else {
            Err(Reject::forbidden("Resource not accessible by integration"))
        }
    }
}

/// The credential of a header `Authorization: Bearer …` or `Authorization: token …`.
pub(super) fn credential(headers: &HeaderMap) -> Option<String> {
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

/// GitHub accepts the App's id, as a number or as text, or its client id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Issuer {
    Number(u64),
    Text(String),
}

fn check_jwt(shared: &Shared, jwt: &str) -> Result<(), Reject> {
    let claims = signed_claims(jwt, &shared.key.public_der)
        .ok_or_else(|| Reject::unauthorized("A JSON web token could not be decoded"))?;
    let state = shared.state();
    let known = match &claims.iss {
        Issuer::Number(id) => *id == state.app.id,
        Issuer::Text(text) => *text == state.app.id.to_string() || *text == state.app.client_id,
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

/// The claims of a token that this key has signed with RS256, the only algorithm that GitHub takes. Their times are
/// checked by the caller, against the stand-in's own clock.
fn signed_claims(jwt: &str, public_der: &[u8]) -> Option<Claims> {
    #[derive(Deserialize)]
    struct Head {
        alg: String,
    }

    let (signed, signature) = jwt.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let head: Head = serde_json::from_slice(&decode(head)?).ok()?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_der);
    key.verify(signed.as_bytes(), &decode(signature)?).ok().filter(|()| head.alg == "RS256")?;
    serde_json::from_slice(&decode(claims)?).ok()
}
