//! What the App asks about itself: its registration, its webhook deliveries, where it is installed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::SecretString;
use serde::Deserialize;

use super::client::Client;
use super::error::Error;
use super::request::{self, Request};
use super::throttle::Throttle;

/// The App as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AppInfo {
    /// The name in URLs; the App comments as `<slug>[bot]`.
    #[serde(default)]
    pub slug: String,
    /// The name people read.
    #[serde(default)]
    pub name: String,
    /// Permission to level, e.g. `contents` to `write`.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    /// The webhook events it subscribes to.
    #[serde(default)]
    pub events: Vec<String>,
}

/// Where the App's webhook goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HookConfig {
    /// The URL; nothing when no webhook is configured.
    #[serde(default)]
    pub url: Option<String>,
}

/// One attempt to deliver one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HookDelivery {
    /// Of this attempt: what [`Client::redeliver`] takes.
    pub id: i64,
    /// Of the event: the same for all its attempts, and in the `X-GitHub-Delivery` header.
    pub guid: String,
    /// When the attempt was made.
    pub delivered_at: DateTime<Utc>,
    /// Whether it repeats an earlier one.
    #[serde(default)]
    pub redelivery: bool,
    /// `OK`, or what went wrong in GitHub's words.
    #[serde(default)]
    pub status: String,
    /// What the receiver answered; 0 when it did not.
    #[serde(default)]
    pub status_code: i64,
    /// The event, e.g. `issue_comment`.
    #[serde(default)]
    pub event: String,
    /// Its action, e.g. `created`; some events have none.
    #[serde(default)]
    pub action: Option<String>,
}

/// One account that installed the App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallationInfo {
    /// GitHub's id.
    pub id: i64,
    /// The login of the user or organization; empty when GitHub does not tell.
    pub account_login: String,
    /// GitHub's id of that account.
    pub account_id: Option<i64>,
    /// `User` or `Organization`, in GitHub's words.
    pub account_type: String,
    /// `all` or `selected`, in GitHub's words.
    pub repository_selection: String,
    /// Whether the account suspended it: every call then fails with [`Error::Forbidden`].
    pub suspended: bool,
    /// What the account granted, which may lag behind [`AppInfo::permissions`].
    pub permissions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct InstallationBody {
    id: i64,
    #[serde(default)]
    account: Option<AccountBody>,
    #[serde(default)]
    target_type: Option<String>,
    #[serde(default)]
    repository_selection: Option<String>,
    #[serde(default)]
    suspended_at: Option<DateTime<Utc>>,
    #[serde(default)]
    permissions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AccountBody {
    /// Missing for an enterprise, which has a slug instead.
    #[serde(default, alias = "slug")]
    login: String,
    #[serde(default)]
    id: Option<i64>,
}

impl From<InstallationBody> for InstallationInfo {
    fn from(body: InstallationBody) -> Self {
        let (account_login, account_id) =
            body.account.map_or_else(Default::default, |account| (account.login, account.id));
        Self {
            id: body.id,
            account_login,
            account_id,
            account_type: body.target_type.unwrap_or_default(),
            repository_selection: body.repository_selection.unwrap_or_default(),
            suspended: body.suspended_at.is_some(),
            permissions: body.permissions,
        }
    }
}

impl Client {
    /// The App itself: `GET /app`. The cheapest proof that key and id are right.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when they are not; others as every call.
    pub async fn app(&self) -> Result<AppInfo, Error> {
        self.send(&Request::get("/app", &[])?).await?.json()
    }

    /// Where webhooks go: `GET /app/hook/config`.
    ///
    /// # Errors
    /// As every call.
    pub async fn hook_config(&self) -> Result<HookConfig, Error> {
        self.send(&Request::get("/app/hook/config", &[])?).await?.json()
    }

    /// A page of webhook deliveries, newest first, and the cursor of the next page, if there is one:
    /// `GET /app/hook/deliveries`. GitHub keeps them for three days.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_deliveries(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<HookDelivery>, Option<String>), Error> {
        let mut request = Request::get("/app/hook/deliveries", &[])?.paged();
        if let Some(cursor) = cursor {
            request = request.query("cursor", cursor);
        }
        let answer = self.send(&request).await?;
        let next = answer
            .link()
            .and_then(request::next_query)
            .and_then(|query| request::parameter(&query, "cursor"))
            .filter(|next| Some(next.as_str()) != cursor);
        Ok((answer.json()?, next))
    }

    /// Asks GitHub to deliver once more: `POST /app/hook/deliveries/{delivery_id}/attempts`.
    ///
    /// # Errors
    /// [`Error::NotFound`] or [`Error::Invalid`] when GitHub no longer keeps it; others as every call.
    pub async fn redeliver(&self, delivery_id: i64) -> Result<(), Error> {
        let route = "/app/hook/deliveries/{delivery_id}/attempts";
        let request = Request::new(Method::POST, route, &[&delivery_id])?;
        // A sweep after an outage asks for many: they keep the pause that mutations keep.
        let _turn = self
            .throttle()
            .turn(self.clock())
            .await
            .map_err(|until| Error::RateLimited { until, call: request.call() })?;
        self.send(&request).await.map(drop)
    }

    /// The installation that covers a repository: `GET /repos/{owner}/{repo}/installation`. Nothing when the
    /// App is not installed there, or that repository is not selected.
    ///
    /// # Errors
    /// As every call.
    pub async fn find_installation(&self, owner: &str, repo: &str) -> Result<Option<i64>, Error> {
        let request = Request::get("/repos/{owner}/{repo}/installation", &[&owner, &repo])?;
        match self.send(&request).await {
            Ok(answer) => Ok(Some(answer.json::<InstallationBody>()?.id)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every account that installed the App: `GET /app/installations`, all pages.
    ///
    /// # Errors
    /// As every call.
    pub async fn list_installations(&self) -> Result<Vec<InstallationInfo>, Error> {
        let bodies: Vec<InstallationBody> = self.list(Request::get("/app/installations", &[])?).await?;
        Ok(bodies.into_iter().map(InstallationInfo::from).collect())
    }

    /// Ends an installation token before its time: `DELETE /installation/token`. One that has ended already
    /// is fine.
    ///
    /// # Errors
    /// As every call, but for 401 and 404.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), Error> {
        let request = Request::new(Method::DELETE, "/installation/token", &[])?;
        // Whose token it is nobody tells, so no installation's limit applies or is learned.
        let apart = Throttle::new(std::time::Duration::ZERO);
        match self.wire().send(&request, token, &apart).await {
            Ok(_) | Err(Error::Unauthorized { .. } | Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
