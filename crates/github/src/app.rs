//! REST calls of the App itself: its registration, its webhook deliveries, its installations.

use domain::ids::{InstallationId, RepositoryName, UserId};
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::SecretString;
use serde::Deserialize;

use super::client::Client;
use super::error::{Error, Kind};
use super::request::{self, Request};
use super::throttle::Throttle;

/// The App's registration on GitHub.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AppInfo {
    /// The URL name of the App. Its comments are written by `<slug>[bot]`.
    #[serde(default)]
    pub slug: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
    /// Permission names and their levels, e.g. `contents` and `write`.
    #[serde(default)]
    pub permissions: BTreeMap<String, String>,
    /// The webhook events the App subscribes to.
    #[serde(default)]
    pub events: Vec<String>,
}

/// The App's webhook configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HookConfig {
    /// The URL; `None` if no webhook is configured.
    #[serde(default)]
    pub url: Option<String>,
}

/// One attempt to deliver one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HookDelivery {
    /// The id of this attempt, which [`Client::redeliver`] takes.
    pub id: i64,
    /// The id of the event, shared by all of its attempts and sent as the `X-GitHub-Delivery` header.
    pub guid: String,
    /// The time of the attempt.
    pub delivered_at: DateTime<Utc>,
    /// Whether this attempt repeats an earlier one.
    #[serde(default)]
    pub redelivery: bool,
    /// `OK`, or GitHub's description of the failure.
    #[serde(default)]
    pub status: String,
    /// The HTTP status the receiver answered with; 0 if it did not answer.
    #[serde(default)]
    pub status_code: i64,
    /// The event name, e.g. `issue_comment`.
    #[serde(default)]
    pub event: String,
    /// The action of the event, e.g. `created`; some events have none.
    #[serde(default)]
    pub action: Option<String>,
}

/// An account's installation of the App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallationInfo {
    /// GitHub's id of the installation.
    pub id: InstallationId,
    /// The login of the user or organization; empty if GitHub does not include it.
    pub account_login: String,
    /// GitHub's id of the account.
    pub account_id: Option<UserId>,
    /// GitHub's account type: `User` or `Organization`.
    pub account_type: String,
    /// GitHub's repository selection: `all` or `selected`.
    pub repository_selection: String,
    /// Whether the account suspended the installation; every call then fails with [`Kind::Forbidden`].
    pub suspended: bool,
    /// The permissions the account granted, which may lag behind [`AppInfo::permissions`].
    pub permissions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct InstallationBody {
    id: InstallationId,
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
    /// Absent for an enterprise account, which has a slug instead.
    #[serde(default, alias = "slug")]
    login: String,
    #[serde(default)]
    id: Option<UserId>,
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
    /// Returns the App's registration: `GET /app`. This is the cheapest check of the App's id and private key.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] if the id or the key is wrong.
    pub async fn app(&self) -> Result<AppInfo, Error> {
        self.send(&Request::get("/app", &[])?).await?.json()
    }

    /// Returns the webhook configuration: `GET /app/hook/config`.
    pub async fn hook_config(&self) -> Result<HookConfig, Error> {
        self.send(&Request::get("/app/hook/config", &[])?).await?.json()
    }

    /// Returns one page of webhook deliveries, newest first, and the cursor of the next page, if there is one:
    /// `GET /app/hook/deliveries`. GitHub keeps deliveries for three days.
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

    /// Requests a redelivery: `POST /app/hook/deliveries/{delivery_id}/attempts`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::Invalid`] if GitHub no longer keeps the delivery.
    pub async fn redeliver(&self, delivery_id: i64) -> Result<(), Error> {
        let route = "/app/hook/deliveries/{delivery_id}/attempts";
        let request = Request::new(Method::POST, route, &[&delivery_id])?;
        // Recovery after an outage requests many redeliveries, so they keep the interval between mutations.
        let _turn = self
            .throttle()
            .turn(self.clock())
            .await
            .map_err(|until| Error::rate_limited(until, request.call()))?;
        self.send(&request).await.map(drop)
    }

    /// Returns the id of the installation that covers a repository: `GET /repos/{owner}/{repo}/installation`.
    /// `None` if the App is not installed on the account or the repository is not selected.
    pub async fn find_installation(&self, repo: &RepositoryName) -> Result<Option<InstallationId>, Error> {
        let request = Request::get("/repos/{owner}/{repo}/installation", &[&repo.owner, &repo.name])?;
        match self.send(&request).await {
            Ok(answer) => Ok(Some(answer.json::<InstallationBody>()?.id)),
            Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns all installations of the App: `GET /app/installations`, all pages.
    pub async fn list_installations(&self) -> Result<Vec<InstallationInfo>, Error> {
        let bodies: Vec<InstallationBody> = self.list(Request::get("/app/installations", &[])?).await?;
        Ok(bodies.into_iter().map(InstallationInfo::from).collect())
    }

    /// Revokes an installation token before it expires: `DELETE /installation/token`. A token that is no longer
    /// valid (401 or 404) counts as revoked.
    pub async fn revoke(&self, token: &SecretString) -> Result<(), Error> {
        let request = Request::new(Method::DELETE, "/installation/token", &[])?;
        // The installation of the token is unknown here, so no installation's throttle is checked or updated.
        let apart = Throttle::new(std::time::Duration::ZERO);
        match self.wire().send(&request, token, &apart).await {
            Ok(_) | Err(Error { kind: Kind::Unauthorized, .. } | Error { kind: Kind::NotFound, .. }) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::super::fake::{Fake, reply, reply_with};
    use super::*;

    #[tokio::test]
    async fn the_apps_own_calls_share_one_signed_token() {
        let fake = Fake::start(|seen| match seen.path.as_str() {
            "/app" => Some(reply(
                200,
                json!({"slug": "porter", "permissions": {"contents": "write"}, "events": ["issue_comment"]}),
            )),
            "/app/hook/config" => Some(reply(200, json!({"content_type": "json"}))),
            _ => None,
        })
        .await;
        let client = fake.client();
        let app = client.app().await.expect("the app");
        assert_eq!((app.slug.as_str(), app.permissions["contents"].as_str()), ("porter", "write"));
        assert_eq!(client.hook_config().await.expect("the webhook"), HookConfig { url: None });
        let calls = fake.calls();
        assert!(calls[0].token().starts_with("eyJ"), "a JWT");
        assert_eq!(calls[0].token(), calls[1].token(), "signed once");
    }

    #[tokio::test]
    async fn deliveries_are_listed_by_page_with_a_cursor() {
        let fake = Fake::start(|seen| {
            let link = [(
                "link",
                "<https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_9>; rel=\"next\"",
            )];
            let delivery = json!([{
                "id": 12, "guid": "0b98", "delivered_at": "2027-01-15T08:00:00Z", "redelivery": false,
                "duration": 0.27, "status": "timed out", "status_code": 0, "event": "issue_comment",
                "action": null, "installation_id": 7, "repository_id": 1, "throttled_at": null,
            }]);
            Some(reply_with(200, if seen.query.contains("cursor") { &[] } else { &link }, delivery))
        })
        .await;
        let client = fake.client();
        let (deliveries, next) = client.list_deliveries(None).await.expect("a page");
        assert_eq!((deliveries[0].id, deliveries[0].action.as_deref()), (12, None));
        assert_eq!(next.as_deref(), Some("v1_9"));
        let (_, next) = client.list_deliveries(next.as_deref()).await.expect("the last page");
        assert_eq!(next, None);
        assert_eq!(
            fake.lines(),
            ["GET /app/hook/deliveries?per_page=100", "GET /app/hook/deliveries?per_page=100&cursor=v1_9"]
        );
    }

    #[tokio::test]
    async fn a_redelivery_is_requested_by_id() {
        let fake = Fake::start(|_| Some(reply(202, json!({})))).await;
        fake.client().redeliver(12).await.expect("accepted");
        assert_eq!(fake.lines(), ["POST /app/hook/deliveries/12/attempts"]);
    }

    #[tokio::test]
    async fn a_repository_without_the_app_has_no_installation() {
        let fake = Fake::start(|seen| {
            (seen.path == "/repos/acme/web/installation").then(|| reply(200, json!({"id": 7})))
        })
        .await;
        let client = fake.client();
        assert_eq!(
            client.find_installation(&RepositoryName::new("acme", "web")).await.expect("an answer"),
            Some(InstallationId::new(7))
        );
        assert_eq!(
            client.find_installation(&RepositoryName::new("acme", "other")).await.expect("an answer"),
            None
        );
    }

    #[tokio::test]
    async fn installations_include_their_account() {
        let fake = Fake::start(|_| {
            Some(reply(
                200,
                json!([
                    {"id": 7, "account": {"login": "acme", "id": 3}, "target_type": "Organization",
                     "repository_selection": "selected", "suspended_at": "2027-01-15T08:00:00Z"},
                    {"id": 8, "account": null},
                ]),
            ))
        })
        .await;
        let seen = fake.client().list_installations().await.expect("a list");
        assert_eq!((seen[0].account_login.as_str(), seen[0].suspended), ("acme", true));
        assert_eq!((seen[1].account_login.as_str(), seen[1].suspended), ("", false));
        assert_eq!(fake.lines(), ["GET /app/installations?per_page=100"]);
    }

    #[tokio::test]
    async fn a_token_is_revoked_with_itself_and_may_already_be_invalid() {
        for status in [204, 401, 404] {
            let fake = Fake::start(move |_| Some(reply(status, json!({})))).await;
            let token = SecretString::from("ghs_handed_out");
            fake.client().revoke(&token).await.expect("ended");
            let call = &fake.calls()[0];
            assert_eq!(
                (call.line().as_str(), call.token()),
                ("DELETE /installation/token", token.expose_secret())
            );
        }
        let fake = Fake::start(|_| Some(reply(500, json!({})))).await;
        let error = fake.client().revoke(&SecretString::from("ghs_handed_out")).await.expect_err("not ended");
        assert!(error.is_transient() && !format!("{error} {error:?}").contains("ghs_"), "{error:?}");
    }

    #[tokio::test]
    async fn debug_output_and_errors_contain_no_secret() {
        let fake = Fake::start(|_| None).await;
        let settings = super::super::Settings {
            api_url: fake.url.clone(),
            app_id: "12345".into(),
            private_key: super::super::fake::KEY.pkcs8.clone().into(),
            mutation_interval: std::time::Duration::ZERO,
        };
        let key_line = super::super::fake::KEY.pkcs8.lines().nth(1).expect("a line");
        let error = fake.client().app().await.expect_err("a 404");
        let shown = format!("{settings:?} {:?} {error:?} {error}", fake.client());
        assert!(!shown.contains(key_line) && !shown.contains("eyJ"), "{shown}");
    }
}
