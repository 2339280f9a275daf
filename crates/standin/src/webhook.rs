//! Webhooks: signing, sending, the App's list of deliveries, and redelivery on request.
//!
//! As on github.com: the receiver has ten seconds to respond, there is no automatic redelivery, a redelivery
//! keeps the GUID, and a delivery can be redelivered for three days.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;

use super::state::{GithubState, Repository, RepositoryId};
use super::{Error, Shared, StandIn, payloads};

/// How long GitHub waits for a response, and how long it keeps a delivery.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const KEPT: TimeDelta = TimeDelta::days(3);

/// The receiver of the App's webhooks.
pub(super) type WebhookUrl = String;

/// One attempt to deliver a webhook.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// GitHub's id of this attempt.
    pub id: u64,
    /// `X-GitHub-Delivery`, the same for a redelivery.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// `action` of the payload.
    pub action: Option<String>,
    /// The receiver's status; `None` without a response.
    pub status: Option<u16>,
    /// The body of the receiver's response, as JSON or else as a JSON string.
    pub answer: Value,
    /// The id of the comment in the payload, if any.
    pub comment_id: Option<u64>,
    /// Whether this is a redelivery.
    pub redelivery: bool,
    /// Time of sending, by the stand-in's clock.
    pub delivered_at: DateTime<Utc>,
    /// Response time of the receiver.
    pub duration: Duration,
    pub(super) installation_id: Option<u64>,
    pub(super) repository_id: Option<RepositoryId>,
    pub(super) body: Vec<u8>,
}

impl Delivery {
    /// GitHub's name for the outcome; `OK` means success.
    pub fn status_text(&self) -> String {
        match self.status {
            Some(200..=299) => "OK".to_owned(),
            Some(status) => format!("Invalid HTTP Response: {status}"),
            None if self.duration >= RESPONSE_TIMEOUT => "timed out".to_owned(),
            None => "failed to connect to host".to_owned(),
        }
    }

    /// Whether the receiver accepted it.
    pub fn succeeded(&self) -> bool {
        matches!(self.status, Some(200..=299))
    }
}

/// How a raw delivery is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// With the App's webhook secret.
    Valid,
    /// Without a signature header.
    Missing,
    /// With exactly this header.
    Header(String),
}

/// A webhook before it is sent.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) guid: String,
    pub(super) event: String,
    pub(super) action: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) comment_id: Option<u64>,
    pub(super) installation_id: Option<u64>,
    pub(super) repository_id: Option<RepositoryId>,
    pub(super) redelivery: bool,
}

impl Outgoing {
    /// A webhook about a repository, for the installation that covers it.
    pub(super) fn about(
        state: &GithubState,
        repository: &Repository,
        (event, action): (&str, &str),
        sender: &str,
        subject: Value,
    ) -> Self {
        let installation = state.find_installation_of(repository);
        let mut payload = json!({
            "action": action,
            "repository": payloads::repository(state, repository),
            "sender": payloads::account(state, sender),
        });
        if let (Value::Object(payload), Value::Object(subject)) = (&mut payload, subject) {
            payload.extend(subject);
        }
        if let Some(installation) = installation {
            payload["installation"] =
                json!({ "id": installation.id, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u" });
        }
        let comment_id = payload.pointer("/comment/id").and_then(Value::as_u64);
        Self {
            installation_id: installation.map(|installation| installation.id),
            repository_id: Some(repository.id),
            comment_id,
            ..Self::raw(event, payload.to_string().into_bytes())
        }
    }

    /// A webhook with exactly these bytes as its body.
    pub(super) fn raw(event: &str, body: Vec<u8>) -> Self {
        let parsed = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        Self {
            guid: uuid::Uuid::new_v4().to_string(),
            event: event.to_owned(),
            action: parsed["action"].as_str().map(str::to_owned),
            comment_id: parsed.pointer("/comment/id").and_then(Value::as_u64),
            installation_id: parsed.pointer("/installation/id").and_then(Value::as_u64),
            repository_id: parsed.pointer("/repository/id").and_then(Value::as_u64).map(RepositoryId),
            redelivery: false,
            body,
        }
    }
}

impl Shared {
    /// `sha256=…` of a body with the App's webhook secret.
    fn sign(&self, body: &[u8]) -> Result<String, Error> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.webhook_secret.expose_secret().as_bytes())
            .map_err(|_| Error::Key)?;
        mac.update(body);
        Ok(format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
    }

    /// Sends a webhook, waits for the response and records the delivery. Does nothing without a receiver.
    pub(super) async fn send(&self, outgoing: Outgoing, signature: Signature) -> Result<Delivery, Error> {
        let url = self.state().webhook_url.clone();
        let started = Instant::now();
        let delivered_at = self.clock.now();
        let (status, answer) = match &url {
            Some(url) => self.post(url, &outgoing, signature).await?,
            None => (None, Value::Null),
        };
        let mut state = self.state();
        let delivery = Delivery {
            id: state.next_id(),
            guid: outgoing.guid,
            event: outgoing.event,
            action: outgoing.action,
            status,
            answer,
            comment_id: outgoing.comment_id,
            redelivery: outgoing.redelivery,
            delivered_at,
            duration: started.elapsed(),
            installation_id: outgoing.installation_id,
            repository_id: outgoing.repository_id,
            body: outgoing.body,
        };
        if url.is_some() {
            state.deliveries.push(delivery.clone());
        }
        drop(state);
        self.changed();
        Ok(delivery)
    }

    async fn post(
        &self,
        url: &str,
        outgoing: &Outgoing,
        signature: Signature,
    ) -> Result<(Option<u16>, Value), Error> {
        let app_id = self.state().app.id;
        let mut request = self
            .http
            .post(url)
            .timeout(RESPONSE_TIMEOUT)
            .header("accept", "*/*")
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/5f1e2d3")
            .header("x-github-delivery", &outgoing.guid)
            .header("x-github-hook-id", "470000001")
            .header("x-github-hook-installation-target-id", app_id.to_string())
            .header("x-github-hook-installation-target-type", "integration");
        if !outgoing.event.is_empty() {
            request = request.header("x-github-event", &outgoing.event);
        }
        let header = match signature {
            Signature::Valid => Some(self.sign(&outgoing.body)?),
            Signature::Missing => None,
            Signature::Header(header) => Some(header),
        };
        if let Some(header) = header {
            request = request.header("x-hub-signature-256", header);
        }
        let Ok(response) = request.body(outgoing.body.clone()).send().await else {
            return Ok((None, Value::Null));
        };
        let status = response.status().as_u16();
        let text = response.text().await.unwrap_or_default();
        Ok((Some(status), serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Sends a webhook in the background, as GitHub does for actions of the App through the API.
    pub(super) fn send_later(self: &Arc<Self>, outgoing: Outgoing) {
        let subscribed = self.state().app.events.contains(&outgoing.event);
        if !subscribed || !self.echo {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move { shared.send(outgoing, Signature::Valid).await.ok() });
    }

    /// The webhook of an earlier delivery, if it is young enough to be redelivered.
    pub(super) fn find_redelivery(&self, wanted: impl Fn(&Delivery) -> bool) -> Option<Outgoing> {
        let oldest = self.clock.now() - KEPT;
        let state = self.state();
        let delivery = state.deliveries.iter().rev().find(|d| wanted(d) && d.delivered_at >= oldest)?;
        Some(Outgoing {
            guid: delivery.guid.clone(),
            event: delivery.event.clone(),
            action: delivery.action.clone(),
            body: delivery.body.clone(),
            comment_id: delivery.comment_id,
            installation_id: delivery.installation_id,
            repository_id: delivery.repository_id,
            redelivery: true,
        })
    }

    /// The deliveries that GitHub still lists for the App, newest first.
    pub(super) fn list_deliveries(&self) -> Vec<Delivery> {
        let oldest = self.clock.now() - KEPT;
        self.state().deliveries.iter().rev().filter(|d| d.delivered_at >= oldest).cloned().collect()
    }
}

impl StandIn {
    /// Sends any bytes as a webhook, such as malformed JSON, a forged signature or an unknown event. With an
    /// empty `event` the header is omitted. `guid` is the delivery's id; with `None` a new one is generated.
    /// A receiver that is down yields a delivery without a status.
    pub async fn deliver_raw(
        &self,
        event: &str,
        body: impl Into<Vec<u8>>,
        signature: Signature,
        guid: Option<&str>,
    ) -> Result<Delivery, Error> {
        let mut outgoing = Outgoing::raw(event, body.into());
        if let Some(guid) = guid {
            guid.clone_into(&mut outgoing.guid);
        }
        self.shared.send(outgoing, signature).await
    }

    /// Sends `ping`, as GitHub does when a webhook is set up.
    pub async fn ping(&self) -> Result<Delivery, Error> {
        let body = json!({ "zen": "Keep it logically awesome.", "hook_id": 470_000_001 }).to_string();
        self.deliver_raw("ping", body, Signature::Valid, None).await
    }

    /// Sends the latest delivery with this GUID again, with the same body.
    pub async fn redeliver(&self, guid: &str) -> Result<Delivery, Error> {
        let outgoing = self
            .shared
            .find_redelivery(|delivery| delivery.guid == guid)
            .ok_or_else(|| Error::Unknown(format!("delivery {guid}")))?;
        self.shared.send(outgoing, Signature::Valid).await
    }
}
