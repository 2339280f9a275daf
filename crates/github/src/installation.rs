//! One installation of the App: its access token, its throttle, and the restricted tokens issued from it.

use domain::ids::InstallationId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::client::Client;
use super::error::{Error, Kind};
use super::pages::Pages;
use super::request::Request;
use super::throttle::{Throttle, outlasting_limits};
use super::wire::Answer;

/// A token that expires within this time is not used for another call.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// An installation access token as GitHub issued it.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token: an opaque string, at present up to about 520 characters.
    pub token: SecretString,
    /// The expiry, one hour after it was issued.
    pub expires_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct IssuedBody {
    token: String,
    expires_at: DateTime<Utc>,
}

/// The state shared by all handles of one installation.
pub(super) struct Shared {
    throttle: Throttle,
    /// The server's own token. The lock is held while a new token is requested, so that concurrent callers make
    /// one request.
    token: Mutex<Option<IssuedToken>>,
}

impl Shared {
    /// Creates the state without a token and with `interval` between mutations.
    pub(super) fn new(interval: Duration) -> Self {
        Self { throttle: Throttle::new(interval), token: Mutex::default() }
    }
}

/// A client that is authenticated as one installation. Cheap to clone.
#[derive(Clone)]
pub struct Installation {
    client: Client,
    id: InstallationId,
    shared: Arc<Shared>,
}

impl fmt::Debug for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installation").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Installation {
    pub(super) fn new(client: Client, id: InstallationId, shared: Arc<Shared>) -> Self {
        Self { client, id, shared }
    }

    /// Returns GitHub's id of the installation.
    pub fn id(&self) -> InstallationId {
        self.id
    }

    /// Returns the number of successful calls since the process started. An increase shows that GitHub is reachable.
    pub fn calls_served(&self) -> u64 {
        self.shared.throttle.calls_served()
    }

    /// Issues a new token that is restricted to one repository and these permissions (`("contents", "write")`).
    /// It is never cached, so [`Client::revoke`] affects only its holder. `repo_name` is the name without the
    /// owner. GitHub always adds `metadata: read`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the installation was not granted the repository or a permission, [`Kind::Gone`] if the
    /// App is no longer installed.
    pub async fn narrowed_token(
        &self,
        repo_name: &str,
        permissions: &[(&str, &str)],
    ) -> Result<IssuedToken, Error> {
        let permissions: Map<String, Value> =
            permissions.iter().map(|(name, level)| ((*name).to_owned(), json!(level))).collect();
        self.new_token(Some(json!({"repositories": [repo_name], "permissions": permissions}))).await
    }

    /// Requests a token: `POST /app/installations/{installation_id}/access_tokens`.
    async fn new_token(&self, narrowed: Option<Value>) -> Result<IssuedToken, Error> {
        let route = "/app/installations/{installation_id}/access_tokens";
        let request = Request { body: narrowed, ..Request::new(Method::POST, route, &[&self.id])? };
        match self.client.send(&request).await {
            Ok(answer) => {
                let IssuedBody { token, expires_at } = answer.json()?;
                Ok(IssuedToken { token: token.into(), expires_at })
            }
            // The missing resource is the installation, not the resource of the caller's request.
            Err(error) if error.kind == Kind::NotFound => Err(Error {
                kind: Kind::Gone,
                message: "the App is no longer installed there".into(),
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    /// Returns the server's own token, which has all permissions granted to the App.
    async fn token(&self) -> Result<SecretString, Error> {
        let mut cached = self.shared.token.lock().await;
        let now = self.client.clock().now();
        if let Some(issued) = cached.as_ref().filter(|issued| now + MARGIN < issued.expires_at) {
            return Ok(issued.token.clone());
        }
        let issued = self.new_token(None).await?;
        let token = issued.token.clone();
        *cached = Some(issued);
        Ok(token)
    }

    /// Discards a token that GitHub rejected, unless another caller has already replaced it.
    async fn forget(&self, refused: &SecretString) {
        let mut cached = self.shared.token.lock().await;
        if cached.as_ref().is_some_and(|issued| issued.token.expose_secret() == refused.expose_secret()) {
            *cached = None;
        }
    }

    /// Sends a request as the installation. A mutation waits for its turn, a short rate limit is waited out, and a
    /// token that GitHub rejects is replaced once.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Error> {
        outlasting_limits(self.client.clock(), || self.send_once(request)).await
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, Error> {
        let Self { client, shared, .. } = self;
        let limited = |until| Error::rate_limited(until, request.call());
        // Checked before the token is requested: a rate-limited installation makes no call.
        shared.throttle.check(client.clock()).map_err(limited)?;
        let _turn = match request.is_read() {
            true => None,
            false => Some(shared.throttle.turn(client.clock()).await.map_err(limited)?),
        };
        let token = self.token().await?;
        match client.wire().send(request, &token, &shared.throttle).await {
            Err(Error { kind: Kind::Unauthorized, .. }) => {
                self.forget(&token).await;
                let token = self.token().await?;
                let answer = client.wire().send(request, &token, &shared.throttle).await;
                if matches!(answer, Err(Error { kind: Kind::Unauthorized, .. })) {
                    self.forget(&token).await;
                }
                answer
            }
            answer => answer,
        }
    }

    /// Reads one resource.
    pub(super) async fn load<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.send(request).await?.json()
    }

    /// Reads one resource; `None` if it does not exist.
    pub(super) async fn find<T: DeserializeOwned>(&self, request: &Request) -> Result<Option<T>, Error> {
        match self.load(request).await {
            Ok(found) => Ok(Some(found)),
            Err(Error { kind: Kind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all pages of a list.
    pub(super) async fn list<T: DeserializeOwned>(&self, first: Request) -> Result<Vec<T>, Error> {
        let mut list = Pages::new(first);
        while let Some(request) = list.next.take() {
            let answer = self.send(&request).await?;
            list.add(&request, &answer)?;
        }
        Ok(list.items)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fake::{Fake, reply, reply_with};
    use domain::ids::{IssueNumber, RepositoryName};

    use super::*;

    fn is_repo(seen: &super::super::fake::Seen) -> bool {
        seen.path.starts_with("/repos")
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_token() {
        let fake =
            Fake::start(|seen| is_repo(seen).then(|| reply(200, json!({"id": 1, "name": "web"})))).await;
        let client = fake.client();
        let calls = (0..20).map(|_| {
            let installation = client.installation(InstallationId::new(7));
            tokio::spawn(async move { installation.repository(&RepositoryName::new("acme", "web")).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic").expect("a repository");
        }
        assert_eq!(fake.token_calls().len(), 1);
        assert_eq!(fake.token_calls()[0].line(), "POST /app/installations/7/access_tokens");
        assert_eq!(fake.token_calls()[0].body, Value::Null, "the server's own token is not narrowed");
        assert!(fake.calls().iter().all(|call| call.token() == "ghs_test_1"));
    }

    #[tokio::test]
    async fn a_token_is_renewed_five_minutes_before_it_expires() {
        let fake =
            Fake::start(|seen| is_repo(seen).then(|| reply(200, json!({"id": 1, "name": "web"})))).await;
        let installation = fake.installation();
        let mut used = Vec::new();
        for minutes in [0, 54, 1] {
            fake.clock.advance(TimeDelta::minutes(minutes));
            installation.repository(&RepositoryName::new("acme", "web")).await.expect("a repository");
            used.push(fake.calls().last().expect("a call").token().to_owned());
        }
        assert_eq!(used, ["ghs_test_1", "ghs_test_1", "ghs_test_2"]);
    }

    #[tokio::test]
    async fn a_rejected_token_is_replaced_once() {
        let fake = Fake::start(|seen| {
            is_repo(seen).then(|| match seen.token() {
                "ghs_test_1" => reply(401, json!({"message": "Bad credentials"})),
                _ => reply(201, json!({"id": 5, "body": "", "created_at": "2027-01-15T08:00:00Z"})),
            })
        })
        .await;
        fake.installation()
            .create_comment(&RepositoryName::new("acme", "web"), IssueNumber::new(1), "hi")
            .await
            .expect("the second token works");
        assert_eq!(fake.calls().len(), 2);

        let fake =
            Fake::start(|seen| is_repo(seen).then(|| reply(401, json!({"message": "Bad credentials"}))))
                .await;
        let installation = fake.installation();
        let error =
            installation.repository(&RepositoryName::new("acme", "web")).await.expect_err("no token works");
        assert!(matches!(error, Error { kind: Kind::Unauthorized, .. }), "{error:?}");
        assert_eq!((fake.calls().len(), fake.token_calls().len()), (2, 2));
        let shown = format!("{error} {error:?} {installation:?}");
        assert!(!shown.contains("ghs_"), "{shown}");
    }

    #[tokio::test]
    async fn a_wrong_key_is_unauthorized_and_not_retried() {
        let fake = Fake::start(|seen| {
            seen.path
                .ends_with("access_tokens")
                .then(|| reply(401, json!({"message": "A JSON web token could not be decoded"})))
        })
        .await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a refusal");
        assert!(matches!(error, Error { kind: Kind::Unauthorized, .. }), "{error:?}");
        assert_eq!(fake.seen().len(), 1);
    }

    #[tokio::test]
    async fn a_removed_installation_is_gone_and_not_a_missing_branch() {
        let fake = Fake::start(|seen| {
            seen.path.ends_with("access_tokens").then(|| reply(404, json!({"message": "Not Found"})))
        })
        .await;
        let installation = fake.installation();
        let error = installation
            .find_branch(&RepositoryName::new("acme", "web"), "main")
            .await
            .expect_err("no installation");
        assert!(matches!(error, Error { kind: Kind::Gone, .. }), "{error:?}");
        let error = installation
            .permission(&RepositoryName::new("acme", "web"), "ana")
            .await
            .expect_err("no installation");
        assert!(matches!(error, Error { kind: Kind::Gone, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_restricted_token_is_for_one_repository_and_is_never_cached() {
        let fake = Fake::start(|_| None).await;
        let installation = fake.installation();
        let first = installation.narrowed_token("web", &[("contents", "write")]).await.expect("a token");
        let second = installation.narrowed_token("web", &[("contents", "write")]).await.expect("a token");
        assert_ne!(first.token.expose_secret(), second.token.expose_secret());
        assert_eq!(first.expires_at, fake.clock.now() + TimeDelta::hours(1));
        for call in fake.token_calls() {
            assert_eq!(call.body, json!({"repositories": ["web"], "permissions": {"contents": "write"}}));
        }
        assert!(!format!("{first:?}").contains("ghs_"), "{first:?}");
    }

    #[tokio::test]
    async fn a_short_limit_is_waited_out_and_a_long_one_is_returned() {
        // The tests' clock does not advance, so the shortest limit is one that has already ended.
        let limits = ["0", "4"];
        let count = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| {
            let limit = |seconds: &&str| reply_with(429, &[("retry-after", *seconds)], json!({}));
            let next = || limits.get(count.fetch_add(1, Ordering::SeqCst)).map(limit);
            is_repo(seen).then(|| next().unwrap_or_else(|| reply(201, json!([]))))
        })
        .await;
        let installation = fake.installation();
        let error = installation
            .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(1), &["a"])
            .await
            .expect_err("the long limit");
        assert_eq!(error.retry_at(fake.clock.now()), Some(fake.clock.now() + TimeDelta::seconds(4)));
        assert_eq!(fake.calls().len(), 2, "one retry after the short limit");
        fake.clock.advance(TimeDelta::seconds(4));
        installation
            .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(1), &["a"])
            .await
            .expect("the limit is over");
    }

    #[tokio::test]
    async fn mutations_of_one_installation_keep_their_interval_and_reads_do_not_wait() {
        let interval = Duration::from_millis(40);
        let fake = Fake::start(|seen| is_repo(seen).then(|| reply(200, json!([])))).await;
        let client = fake.client_with(interval, "");
        let labels = |id: i64| {
            let installation = client.installation(InstallationId::new(id));
            tokio::spawn(async move {
                installation
                    .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(id), &["porter:task"])
                    .await
            })
        };
        // The other installation has its own interval.
        let work: Vec<_> = [7, 7, 8, 7].into_iter().map(labels).collect();
        client
            .installation(InstallationId::new(7))
            .list_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(7))
            .await
            .expect("a read");
        for done in work {
            done.await.expect("no panic").expect("labels");
        }
        let mutations: Vec<_> = fake
            .calls()
            .into_iter()
            .filter(|call| call.method == "POST" && call.path.contains("/issues/7/"))
            .collect();
        assert_eq!(mutations.len(), 3);
        for pair in mutations.windows(2) {
            let answered = pair[0].answered.expect("an answer");
            let pause = pair[1].arrived.checked_duration_since(answered).expect("one after another");
            assert!(pause >= interval, "expected a pause of at least {interval:?}, saw {pause:?}");
        }
        let read = fake.calls().into_iter().find(|call| call.method == "GET").expect("the read");
        assert!(read.arrived < mutations[2].arrived, "the read was sent before the waiting mutation");
    }

    #[tokio::test]
    async fn a_cancelled_mutation_releases_its_turn() {
        let fake = Fake::start(|seen| is_repo(seen).then(|| reply(200, json!([])))).await;
        let installation = fake.installation();
        {
            let repository = RepositoryName::new("acme", "web");
            let mut given_up = Box::pin(installation.add_labels(&repository, IssueNumber::new(1), &["a"]));
            let mut idle = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(given_up.as_mut().poll(&mut idle).is_pending());
        }
        installation
            .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(1), &["b"])
            .await
            .expect("its turn");
    }

    #[tokio::test]
    async fn all_pages_of_a_list_are_read() {
        let count = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| {
            is_repo(seen).then(|| {
                let page = count.fetch_add(1, Ordering::SeqCst) + 1;
                let mut response = reply(200, json!([{"name": format!("label-{page}")}]));
                if page < 3 {
                    // GitHub's links contain the repository's id; these also contain another host.
                    let link = format!(
                        "<https://api.github.com/repositories/1/x?per_page=100&page={}>; rel=\"next\"",
                        page + 1
                    );
                    response.headers_mut().insert("link", link.parse().expect("a header"));
                }
                response
            })
        })
        .await;
        let labels = fake
            .installation()
            .list_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(4))
            .await
            .expect("labels");
        assert_eq!(labels, ["label-1", "label-2", "label-3"]);
        assert_eq!(
            fake.lines(),
            [
                "GET /repos/acme/web/issues/4/labels?per_page=100",
                "GET /repos/acme/web/issues/4/labels?per_page=100&page=2",
                "GET /repos/acme/web/issues/4/labels?per_page=100&page=3",
            ]
        );
    }
}
