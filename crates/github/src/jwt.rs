//! The App's credential: a JSON Web Token signed with its private key.
//!
//! Rules: <https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>.
//! octocrab's `create_jwt` is not used: it reads the system clock and signs a new token for every call.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use crypto::rs256::SigningKey;
use secrecy::SecretString;
use serde::Serialize;

use super::error::Error;

/// Allows for a GitHub clock that is behind ours.
const BACKDATED: TimeDelta = TimeDelta::seconds(60);
/// GitHub accepts ten minutes; one minute is reserved for clock differences.
const LIFETIME: TimeDelta = TimeDelta::minutes(9);
/// A token that expires within this time is not used for another call.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// The App's private key and the last token signed with it.
pub(super) struct AppKey {
    app_id: String,
    key: SigningKey,
    signed: Mutex<Option<Signed>>,
}

struct Signed {
    token: SecretString,
    expires_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl AppKey {
    /// Takes the App's id (or client id) and its private key as PEM in PKCS#1 (GitHub's format) or PKCS#8.
    ///
    /// # Errors
    /// [`super::Kind::Misconfigured`] if the text is not an RSA private key that can sign.
    pub(super) fn new(app_id: String, pem: &SecretString, now: DateTime<Utc>) -> Result<Self, Error> {
        let key = SigningKey::from_pem(pem).map_err(|_| {
            Error::misconfigured(
                "the App's private key is not an RSA key in PEM form (-----BEGIN RSA PRIVATE KEY-----)",
            )
        })?;
        let key = Self { app_id, key, signed: Mutex::new(None) };
        // A parsed PEM may still be a damaged key. Signing once makes the start fail instead of the first task.
        key.token(now)?;
        Ok(key)
    }

    /// Returns a token that is valid for at least another minute.
    pub(super) fn token(&self, now: DateTime<Utc>) -> Result<SecretString, Error> {
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = signed.as_ref().filter(|signed| now + MARGIN <= signed.expires_at) {
            return Ok(signed.token.clone());
        }
        let expires_at = now + LIFETIME;
        let claims =
            Claims { iat: (now - BACKDATED).timestamp(), exp: expires_at.timestamp(), iss: &self.app_id };
        let token =
            self.sign(&claims).ok_or_else(|| Error::misconfigured("the App's private key cannot sign"))?;
        *signed = Some(Signed { token: token.clone(), expires_at });
        Ok(token)
    }

    /// Returns the claims as a signed token (RFC 7515, section 7.1).
    fn sign(&self, claims: &Claims<'_>) -> Option<SecretString> {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let signed = format!("{header}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).ok()?);
        Some(format!("{signed}.{signature}").into())
    }

    /// Discards a token that GitHub rejected, so that the next call signs a new one.
    pub(super) fn forget(&self) {
        *self.signed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use secrecy::ExposeSecret;
    use serde_json::{Value, json};

    use super::super::fake;
    use super::*;
    use crate::Kind;

    fn claims(token: &SecretString) -> Value {
        let parts: Vec<&str> = token.expose_secret().split('.').collect();
        let [header, claims, signature] = parts[..] else { panic!("expected three parts, seen {parts:?}") };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).expect("JSON");
        assert_eq!(json(header), json!({ "alg": "RS256", "typ": "JWT" }));
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &fake::KEY.public_der)
            .verify(format!("{header}.{claims}").as_bytes(), &decode(signature))
            .expect("a valid signature");
        let claims = json(claims);
        assert_eq!(claims["iss"], "12345");
        claims
    }

    fn app_key(pem: &str) -> Result<AppKey, Error> {
        AppKey::new("12345".into(), &SecretString::from(pem.to_owned()), fake::start())
    }

    #[test]
    fn the_token_is_backdated_and_valid_for_less_than_ten_minutes() {
        let key = app_key(&fake::KEY.pkcs8).expect("a key");
        let claims = claims(&key.token(fake::start()).expect("a token"));
        let now = fake::start().timestamp();
        assert_eq!(claims, serde_json::json!({"iat": now - 60, "exp": now + 540, "iss": "12345"}));
    }

    #[test]
    fn pkcs1_and_pkcs8_keys_can_sign() {
        for pem in [&fake::KEY.pkcs1, &fake::KEY.pkcs8, &format!("\n  {}\n", fake::KEY.pkcs1)] {
            let key = app_key(pem).expect("a key");
            claims(&key.token(fake::start()).expect("a token"));
        }
    }

    #[test]
    fn a_token_is_reused_until_shortly_before_it_expires() {
        let key = app_key(&fake::KEY.pkcs8).expect("a key");
        let at = |minutes| {
            let token = key.token(fake::start() + TimeDelta::minutes(minutes)).expect("a token");
            claims(&token)["iat"].as_i64().expect("an instant") - (fake::start() - BACKDATED).timestamp()
        };
        assert_eq!([at(0), at(4), at(8), at(9)], [0, 0, 0, 9 * 60]);
    }

    #[test]
    fn an_invalid_key_is_rejected_without_being_quoted() {
        let damaged = fake::KEY.pkcs1.replace("MII", "AAA");
        let certificate = fake::KEY.pkcs1.replace("RSA PRIVATE KEY", "CERTIFICATE");
        for pem in ["hunter2", &damaged, &certificate] {
            let error = app_key(pem).err().expect("a refusal");
            assert!(matches!(error, Error { kind: Kind::Misconfigured, .. }), "{error:?}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains(&pem[40.min(pem.len() - 1)..]), "{shown}");
        }
    }
}
