//! `POST /api/webhooks/github` (main-spec §5). The signature is checked before the payload is parsed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;

use super::body_limit::BodyLimit;
use super::{Configured, Error, Site};
use crate::tasks::Policy;
use crate::tasks::intake::{Answer, Delivery, Intake};

/// GitHub's maximum payload size (docs.github.com, "Webhook events and payloads"). The time includes the wait until
/// a large body may be read.
pub(super) const BODY: BodyLimit = BodyLimit { bytes: 25 * 1024 * 1024, time: Duration::from_secs(30) };
/// From this size on, the number of bodies held in memory at once is limited.
const LARGE: usize = 1024 * 1024;
/// The timeout for receiving a body: GitHub stops waiting for the response after ten seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How many large bodies are held in memory at once.
const MAX_LARGE_BODIES: usize = 4;

/// Receives webhooks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Webhooks {
    /// What GitHub signs with.
    secret: Arc<SecretString>,
    intake: Intake,
    policy: Arc<Policy>,
    /// A permit for each large body that may be held in memory.
    large_bodies: Arc<Semaphore>,
}

impl Webhooks {
    pub(super) fn new(secret: SecretString, intake: Intake, policy: Arc<Policy>) -> Self {
        let large_bodies = Arc::new(Semaphore::new(MAX_LARGE_BODIES));
        Self { secret: Arc::new(secret), intake, policy, large_bodies }
    }
}

/// A delivery with a valid signature.
pub(super) struct VerifiedWebhook {
    guid: Option<String>,
    event: Option<String>,
    body: Bytes,
}

impl FromRequest<Site> for VerifiedWebhook {
    type Rejection = Error;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Error> {
        let (mut parts, mut body) = request.into_parts();
        let Configured(webhooks) = Configured::<Webhooks>::from_request_parts(&mut parts, site).await?;
        let text = |name: &str| parts.headers.get(name)?.to_str().ok().map(str::to_owned);
        let Some(signature) = text("x-hub-signature-256") else {
            discard(body).await;
            return Err(invalid_signature());
        };
        let announced = length(&parts.headers);
        if announced.is_some_and(|length| length > BODY.bytes) {
            discard(body).await;
            return Err(too_large());
        }
        // A body of unknown length counts as large.
        let _large = match announced {
            Some(length) if length < LARGE => None,
            _ => webhooks.large_bodies.acquire().await.ok(),
        };
        let whole = tokio::time::timeout(ANSWER_TIMEOUT, Limited::new(&mut body, BODY.bytes).collect()).await;
        let body = match whole {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                discard(body).await;
                return Err(too_large());
            }
            Ok(Err(_)) => return Err(Error::bad_request("the body broke off")),
            Err(_) => return Err(too_slow()),
        };
        if !crypto::webhook::verify(&webhooks.secret, &body, &signature) {
            return Err(invalid_signature());
        }
        Ok(Self { guid: text("x-github-delivery"), event: text("x-github-event"), body })
    }
}

/// Stores a delivery. When the response is 2xx, it is on disk.
pub(super) async fn receive(
    Configured(webhooks): Configured<Webhooks>,
    delivery: VerifiedWebhook,
) -> Result<Response, Error> {
    let missing = |header: &str| Error::bad_request(format!("the {header} header is missing"));
    let event = delivery.event.ok_or_else(|| missing("X-GitHub-Event"))?;
    if event == "ping" {
        let _: serde::de::IgnoredAny = serde_json::from_slice(&delivery.body)
            .map_err(|error| Error::bad_request(format!("the payload is not JSON: {error}")))?;
        return Ok(Json(json!({ "status": "pong" })).into_response());
    }
    let guid = delivery.guid.filter(|guid| !guid.is_empty()).ok_or_else(|| missing("X-GitHub-Delivery"))?;
    let delivery = Delivery::read(guid, event, &delivery.body, &webhooks.policy)
        .map_err(|error| Error::new(StatusCode::BAD_REQUEST, "invalid_payload", error.to_string()))?;
    let answer = webhooks.intake.take(delivery).await.map_err(|error| Error::unavailable(&error))?;
    let body = match answer {
        Answer::Accepted { task: Some(task) } => json!({ "status": "accepted", "taskId": task }),
        Answer::Accepted { task: None } => json!({ "status": "accepted" }),
        Answer::Duplicate { task: Some(task) } => json!({ "status": "duplicate", "taskId": task }),
        Answer::Duplicate { task: None } => json!({ "status": "duplicate" }),
        Answer::Ignored { reason } => json!({ "status": "ignored", "reason": reason }),
        Answer::Rejected { reason } => json!({ "status": "rejected", "reason": reason }),
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads and discards the rest of the body: a sender that is cut off in the middle of its body sees a broken
/// connection instead of the response. Limited in size and time.
async fn discard(body: Body) {
    let mut left = 4 * BODY.bytes;
    let mut stream = body.into_data_stream();
    let reading = async {
        while let Some(Ok(chunk)) = stream.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    };
    // After the timeout, a slow sender gets a broken connection.
    let _ = tokio::time::timeout(ANSWER_TIMEOUT, reading).await;
}

fn invalid_signature() -> Error {
    let message = "the X-Hub-Signature-256 header is missing or does not fit the body";
    Error::new(StatusCode::UNAUTHORIZED, "invalid_signature", message)
}

fn too_slow() -> Error {
    Error::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")
}

fn too_large() -> Error {
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "the body is larger than 25 MB")
}
