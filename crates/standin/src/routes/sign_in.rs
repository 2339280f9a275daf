//! Routes of the sign-in: the consent page, which redirects at once, and the exchange of its code.
//!
//! <https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app>

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::super::sign_in::{REFRESH_LIFE, TOKEN_LIFE};
use super::super::strict::{Query, Reject};
use super::super::{Error, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorization {
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    #[serde(rename = "login")]
    _login: Option<String>,
    #[serde(rename = "allow_signup")]
    _allow_signup: Option<String>,
    #[serde(rename = "prompt")]
    _prompt: Option<String>,
}

pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<Authorization>,
) -> Result<Response, Reject> {
    let mut state = shared.state();
    if wanted.client_id != state.app.client_id {
        return Err(Reject::not_found());
    }
    let mut target = Url::parse(&wanted.redirect_uri)
        .map_err(|_| Reject::unprocessable("The redirect_uri is not valid."))?;
    let plain = wanted.code_challenge.is_some() && wanted.code_challenge_method.as_deref() != Some("S256");
    match state.sign_ins.visitor.clone() {
        _ if plain => {
            target.query_pairs_mut().append_pair("error", "invalid_request");
        }
        Some(login) => {
            let now = shared.clock.now();
            let code = state.sign_ins.consent(login, wanted.redirect_uri, wanted.code_challenge, now)?;
            target.query_pairs_mut().append_pair("code", &code);
        }
        None => {
            let reason = "The user has denied your application access.";
            let mut query = target.query_pairs_mut();
            query.append_pair("error", "access_denied").append_pair("error_description", reason);
        }
    }
    if let Some(state) = wanted.state {
        target.query_pairs_mut().append_pair("state", &state);
    }
    // GitHub responds with 302.
    let location = Redirect::to(target.as_str());
    Ok((StatusCode::FOUND, location.into_response().headers().clone()).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    client_id: String,
    client_secret: String,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    grant_type: Option<String>,
    refresh_token: Option<String>,
}

/// GitHub responds with 200 to refused exchanges as well.
fn refuse(error: &str, description: &str) -> Response {
    Json(json!({ "error": error, "error_description": description, "error_uri": "https://docs.github.com/apps" }))
        .into_response()
}

pub(super) async fn exchange(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !text(header::ACCEPT).contains("json") {
        shared.violation("POST /login/oauth/access_token: the answer must be asked for as JSON".to_owned());
    }
    let fields = if text(header::CONTENT_TYPE).contains("json") {
        serde_json::from_slice::<Value>(&body)
    } else {
        Ok(json!(url::form_urlencoded::parse(&body).into_owned().collect::<BTreeMap<String, String>>()))
    };
    let asked = match fields.and_then(serde_json::from_value::<Exchange>) {
        Ok(asked) => asked,
        Err(error) => {
            shared.violation(format!("POST /login/oauth/access_token: {error}"));
            return StatusCode::UNPROCESSABLE_ENTITY.into_response();
        }
    };
    answer(&shared, asked).unwrap_or_else(|error| Reject::from(error).into_response())
}

fn answer(shared: &Shared, asked: Exchange) -> Result<Response, Error> {
    let now = shared.clock.now();
    let mut state = shared.state();
    if asked.client_id != state.app.client_id || asked.client_secret != shared.client_secret.expose_secret() {
        let reason = "The client_id and/or client_secret passed are incorrect.";
        return Ok(refuse("incorrect_client_credentials", reason));
    }
    let login = if asked.grant_type.as_deref() == Some("refresh_token") {
        match state.sign_ins.refresh(asked.refresh_token.as_deref().unwrap_or_default(), now) {
            Some(login) => login,
            None => {
                let reason = "The refresh token passed is incorrect or expired.";
                return Ok(refuse("bad_refresh_token", reason));
            }
        }
    } else {
        let consent = state.sign_ins.redeem(asked.code.as_deref().unwrap_or_default(), now);
        let verified = |challenge: &Option<String>| {
            let proof = asked.code_verifier.as_ref().map(|v| URL_SAFE_NO_PAD.encode(Sha256::digest(v)));
            *challenge == proof
        };
        let same_place = |uri: &str| asked.redirect_uri.as_ref().is_none_or(|given| given == uri);
        match consent {
            Some(consent) if !same_place(&consent.redirect_uri) => {
                let reason = "The redirect_uri MUST match the registered callback URL for this application.";
                return Ok(refuse("redirect_uri_mismatch", reason));
            }
            Some(consent) if verified(&consent.challenge) => consent.login,
            _ => {
                let reason = "The code passed is incorrect or expired.";
                return Ok(refuse("bad_verification_code", reason));
            }
        }
    };
    let (access, refresh) = state.sign_ins.start(&login, now)?;
    let answer = json!({
        "access_token": access, "expires_in": TOKEN_LIFE.num_seconds(), "refresh_token": refresh,
        "refresh_token_expires_in": REFRESH_LIFE.num_seconds(), "scope": "", "token_type": "bearer",
    });
    Ok(Json(answer).into_response())
}
