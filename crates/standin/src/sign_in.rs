//! Sign-in of people with the App: codes, user tokens, refresh tokens.
//!
//! Rules: <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app>, the pages
//! on user access tokens. A code is valid once, for ten minutes; a token for eight hours. A refresh issues a
//! new pair and revokes the old access token and refresh token.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use super::auth::opaque;
use super::{Error, StandIn};

/// Lifetimes of a code, a user token and a refresh token.
const CODE_LIFE: TimeDelta = TimeDelta::minutes(10);
pub(super) const TOKEN_LIFE: TimeDelta = TimeDelta::seconds(28_800);
pub(super) const REFRESH_LIFE: TimeDelta = TimeDelta::seconds(15_811_200);

/// The consent of a person, until its code is exchanged.
#[derive(Clone)]
pub(super) struct Consent {
    pub(super) login: String,
    pub(super) redirect_uri: String,
    /// The PKCE challenge (S256), if the client sent one.
    pub(super) challenge: Option<String>,
    pub(super) expires_at: DateTime<Utc>,
}

struct Session {
    login: String,
    access: String,
    refresh: String,
    expires_at: DateTime<Utc>,
    refresh_expires_at: DateTime<Utc>,
}

/// A user access token and its refresh token.
#[derive(Clone, Debug)]
pub struct UserTokens {
    /// `ghu_…`, valid for eight hours.
    pub access: SecretString,
    /// `ghr_…`, valid for six months and one use.
    pub refresh: SecretString,
    /// Expiry of the access token.
    pub expires_at: DateTime<Utc>,
}

/// The active sign-ins. `Debug` does not show tokens.
#[derive(Default)]
pub(super) struct SignIns {
    /// The person who opens the consent page and agrees; `None`: consent is denied.
    pub(super) visitor: Option<String>,
    codes: HashMap<String, Consent>,
    sessions: Vec<Session>,
}

impl std::fmt::Debug for SignIns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sign-ins, {:?} at the browser", self.sessions.len(), self.visitor)
    }
}

impl SignIns {
    /// Stores a consent and returns its code.
    pub(super) fn consent(
        &mut self,
        login: String,
        redirect_uri: String,
        challenge: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<String, Error> {
        let code = opaque(15)?;
        self.codes
            .insert(code.clone(), Consent { login, redirect_uri, challenge, expires_at: now + CODE_LIFE });
        Ok(code)
    }

    /// Takes the consent of a code.
    pub(super) fn redeem(&mut self, code: &str, now: DateTime<Utc>) -> Option<Consent> {
        self.codes.remove(code).filter(|consent| now < consent.expires_at)
    }

    /// Signs a person in and returns the tokens.
    pub(super) fn start(&mut self, login: &str, now: DateTime<Utc>) -> Result<(String, String), Error> {
        let (access, refresh) = (format!("ghu_{}", opaque(27)?), format!("ghr_{}", opaque(57)?));
        self.sessions.push(Session {
            login: login.to_owned(),
            access: access.clone(),
            refresh: refresh.clone(),
            expires_at: now + TOKEN_LIFE,
            refresh_expires_at: now + REFRESH_LIFE,
        });
        Ok((access, refresh))
    }

    /// Ends the sign-in of this refresh token and returns its person.
    pub(super) fn refresh(&mut self, refresh: &str, now: DateTime<Utc>) -> Option<String> {
        let index = self.sessions.iter().position(|s| s.refresh == refresh && now < s.refresh_expires_at)?;
        Some(self.sessions.swap_remove(index).login)
    }

    /// The person of this access token, if it is valid.
    pub(super) fn find(&self, access: &str, now: DateTime<Utc>) -> Option<&str> {
        let session = self.sessions.iter().find(|s| s.access == access && now < s.expires_at);
        session.map(|session| session.login.as_str())
    }
}

impl StandIn {
    /// Sets the person who opens the consent page and agrees. With `None`, consent is denied.
    pub fn sit_at_browser(&self, login: Option<&str>) {
        self.shared.state().sign_ins.visitor = login.map(str::to_owned);
    }

    /// Signs a person in without the pages.
    pub fn sign_in(&self, login: &str) -> Result<UserTokens, Error> {
        let now = self.shared.clock.now();
        let mut state = self.shared.state();
        if state.find_account(login).is_none() {
            return Err(Error::Unknown(login.to_owned()));
        }
        let (access, refresh) = state.sign_ins.start(login, now)?;
        Ok(UserTokens { access: access.into(), refresh: refresh.into(), expires_at: now + TOKEN_LIFE })
    }

    /// Ends all sign-ins of a person, as when the person revokes the App's authorization.
    pub fn revoke_sign_ins(&self, login: &str) {
        self.shared.state().sign_ins.sessions.retain(|session| session.login != login);
    }
}
