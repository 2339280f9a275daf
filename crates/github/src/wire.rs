//! One HTTP exchange with GitHub: headers, timeout, redirects, immediate retries of reads, and the conversion of
//! the response into an answer or an [`Error`].

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use octocrab::Octocrab;
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use tracing::Instrument;
use url::Url;

use super::error::{self, Call, Error, Kind};
use super::request::Request;
use super::throttle::{self, Throttle};
use super::transport;
use domain::clock::Clock;

/// The REST API version that Porter is written for. Later versions remove fields it reads.
const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
const ACCEPT: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
/// The timeout of one exchange, from connecting to the last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum size of a response body. GitHub's largest (a comparison with patches) is a few megabytes.
const ANSWER_LIMIT: usize = 32 * 1024 * 1024;
/// The number of immediate retries of a read after a broken connection or a 5xx status.
const READ_RETRIES: u32 = 2;
/// The maximum number of redirects. A renamed repository needs one, however often it was renamed.
const REDIRECT_LIMIT: usize = 3;

/// Sends requests to GitHub. Holds no credential.
pub(super) struct Wire {
    octocrab: Octocrab,
    base: Url,
    timeout: Duration,
    pub(super) clock: Clock,
}

/// A 2xx response.
#[derive(Debug)]
pub(super) struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
    call: Box<Call>,
}

/// A response with any status.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A missing response.
enum Lost {
    /// No response within the timeout: an immediate retry would probably time out as well.
    TimedOut,
    /// The connection could not be established, or was lost.
    Broken(String),
}

impl Wire {
    /// Creates a wire to the API at `base`, e.g. `https://api.github.com` or `https://ghe.example/api/v3`. Must be
    /// called inside a tokio runtime, where octocrab starts its worker.
    ///
    /// # Errors
    /// [`Kind::Misconfigured`] if `base` is not an http(s) URL or TLS cannot be set up.
    pub(super) fn new(base: &Url, clock: Clock) -> Result<Self, Error> {
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(Error::misconfigured(format!("{base} is not an http(s) URL")));
        }
        Ok(Self { octocrab: transport::octocrab(&base)?, base, timeout: REQUEST_TIMEOUT, clock })
    }

    /// Returns the API's base URL.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Sends `request` with `token` and records rate limits in `throttle`.
    ///
    /// # Errors
    /// Any kind except the two specific to pull requests; see [`Error`].
    pub(super) async fn send(
        &self,
        request: &Request,
        token: &SecretString,
        throttle: &Throttle,
    ) -> Result<Answer, Error> {
        let span = tracing::debug_span!(
            "github",
            github.method = %request.method,
            github.route = request.route,
            github.status = tracing::field::Empty,
            github.request_id = tracing::field::Empty,
        );
        let exchange = async {
            throttle.check(&self.clock).map_err(|until| Error::rate_limited(until, request.call()))?;
            let outcome = self.exchange(request, token).await;
            self.judge(request, token, throttle, outcome)
        };
        exchange.instrument(span).await
    }

    /// Sends the request and retries a read up to [`READ_RETRIES`] times after a short pause.
    async fn exchange(&self, request: &Request, token: &SecretString) -> Result<Reply, Lost> {
        let mut tries = 0;
        loop {
            let outcome = self.follow(request, token).await;
            let again = match &outcome {
                // A response that names a time for the retry is not retried before that time.
                Ok(reply) => {
                    let stumbled =
                        reply.status.is_server_error() && reply.status != StatusCode::NOT_IMPLEMENTED;
                    stumbled && !reply.headers.contains_key(header::RETRY_AFTER)
                }
                Err(Lost::Broken(_)) => true,
                Err(Lost::TimedOut) => false,
            };
            if !again || !request.is_read() || tries == READ_RETRIES {
                return outcome;
            }
            tokio::time::sleep(pause(tries)).await;
            tries += 1;
        }
    }

    /// Sends the request and follows redirects within the API (a renamed or transferred repository).
    ///
    /// Method and body are kept, as GitHub's best practices require. The token is never sent to another origin.
    async fn follow(&self, request: &Request, token: &SecretString) -> Result<Reply, Lost> {
        // The base path is added here: octocrab's layer adds it only if the path does not start with it, which is
        // wrong for a base like `/a` and a route like `/app`.
        let base = self.base.path().trim_end_matches('/');
        let mut target = format!("{base}{}", request.path);
        if !request.query.is_empty() {
            target = format!("{target}?{}", request.query);
        }
        for _ in 0..REDIRECT_LIMIT {
            let reply = self.once(request, &target, token).await?;
            match self.redirect(&reply, &target) {
                Some(next) => target = next,
                None => return Ok(reply),
            }
        }
        self.once(request, &target, token).await
    }

    /// Returns path and query of the redirect target if it is within the same API.
    fn redirect(&self, reply: &Reply, from: &str) -> Option<String> {
        if !matches!(reply.status.as_u16(), 301 | 302 | 307 | 308) {
            return None;
        }
        let location = reply.headers.get(header::LOCATION)?.to_str().ok()?;
        let to = self.base.join(from).ok()?.join(location).ok()?;
        if to.origin() != self.base.origin() {
            return None;
        }
        Some(match to.query() {
            Some(query) => format!("{}?{query}", to.path()),
            None => to.path().to_owned(),
        })
    }

    /// Sends one HTTP request to `target` (path and query) with the timeout.
    async fn once(&self, request: &Request, target: &str, token: &SecretString) -> Result<Reply, Lost> {
        let broken = |error: &dyn std::error::Error| Lost::Broken(transport::root_cause(error));
        let exchange = async {
            let octocrab = self.octocrab.user_access_token(token.clone()).map_err(|error| broken(&error))?;
            let builder = http::Request::builder().method(request.method.clone()).uri(target);
            let mut request =
                octocrab.build_request(builder, request.body.as_ref()).map_err(|error| broken(&error))?;
            request.headers_mut().insert("x-github-api-version", API_VERSION);
            request.headers_mut().insert(header::ACCEPT, ACCEPT);
            let response = octocrab.execute(request).await.map_err(|error| broken(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT)
                .collect()
                .await
                .map_err(|error| broken(error.as_ref()))?
                .to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body: body.into() })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(Lost::TimedOut))
    }

    /// Converts the response into an answer or an error, and records rate limits.
    fn judge(
        &self,
        request: &Request,
        token: &SecretString,
        throttle: &Throttle,
        outcome: Result<Reply, Lost>,
    ) -> Result<Answer, Error> {
        let mut call = request.call();
        let unavailable = |message: String, call: Box<Call>| {
            Err(Error::new(Kind::Unavailable { retry_after: None }, message, call))
        };
        let reply = match outcome {
            Ok(reply) => reply,
            Err(Lost::TimedOut) => {
                return unavailable(format!("no answer within {:?}", self.timeout), call);
            }
            Err(Lost::Broken(cause)) => return unavailable(cause, call),
        };
        call.status = Some(reply.status);
        call.request_id = reply
            .headers
            .get("x-github-request-id")
            .and_then(|id| id.to_str().ok())
            .map(|id| id.chars().take(100).collect());
        let span = tracing::Span::current();
        span.record("github.status", reply.status.as_u16());
        span.record("github.request_id", call.request_id());
        if reply.status.is_success() {
            throttle.served();
            return Ok(Answer { headers: reply.headers, body: reply.body, call });
        }
        let now: DateTime<Utc> = self.clock.now();
        let message = error::explanation(reply.status, &reply.body, token.expose_secret());
        if let Some(wait) = throttle::wait_asked(reply.status, &reply.headers, &message, now) {
            return Err(Error::rate_limited(throttle.limited(wait, now), call));
        }
        let retry_after = throttle::retry_after(&reply.headers, now);
        Err(Error::from_status(reply.status, message, retry_after, call))
    }
}

impl Answer {
    /// Parses the body as JSON; unknown fields are ignored.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the body does not have the documented form.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // serde's message quotes the value, which may be a token, so only the position is kept.
            let said = error.to_string();
            let what =
                if said.starts_with("missing field") { said } else { format!("line {}", error.line()) };
            Error::new(
                Kind::Unavailable { retry_after: None },
                format!("the answer is not what GitHub's documentation promises ({what})"),
                self.call.clone(),
            )
        })
    }

    /// Returns the `Link` header, which contains the URLs of the other pages.
    pub(super) fn link(&self) -> Option<&str> {
        self.headers.get(header::LINK).and_then(|link| link.to_str().ok())
    }

    /// Returns the call that this answers.
    pub(super) fn call(&self) -> Box<Call> {
        self.call.clone()
    }
}

/// Returns the pause before a read is retried: 100 ms, then 200 ms, plus up to the same amount of random jitter
/// so that callers that failed together do not retry together.
fn pause(tries: u32) -> Duration {
    let base = 100 * 2_u64.pow(tries);
    // If randomness is not available, the pause only lacks jitter.
    let jitter = getrandom::u64().unwrap_or_default() % base;
    Duration::from_millis(base + jitter)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use serde_json::json;

    use super::super::fake::{self, Fake, Seen, reply, reply_with};
    use super::super::{Client, Settings};
    use domain::ids::{CommentId, IssueNumber, RepositoryName};

    use super::*;

    /// Starts a fake that answers repository calls with these statuses in order, and with 200 afterwards.
    async fn answering_with(statuses: &'static [u16]) -> Fake {
        let count = AtomicUsize::new(0);
        Fake::start(move |seen: &Seen| {
            if !seen.path.starts_with("/repos") {
                return None;
            }
            let status = statuses.get(count.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(200);
            Some(reply(status, json!({"id": 1, "name": "web", "message": "said"})))
        })
        .await
    }

    #[tokio::test]
    async fn every_request_has_user_agent_and_api_version() {
        let fake = answering_with(&[]).await;
        fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect("a repository");
        for seen in fake.seen() {
            assert_eq!(seen.header("user-agent"), concat!("porter/", env!("CARGO_PKG_VERSION")));
            assert_eq!(seen.header("accept"), "application/vnd.github+json");
            assert_eq!(seen.header("x-github-api-version"), "2022-11-28");
            for name in ["user-agent", "accept", "x-github-api-version", "authorization", "content-length"] {
                assert_eq!(seen.headers.get_all(name).iter().count(), 1, "{name} of {}", seen.line());
            }
        }
    }

    #[tokio::test]
    async fn the_base_path_of_an_enterprise_server_is_kept() {
        // `/app` starts with `/a`: octocrab alone would not add the base path.
        for base in ["api/v3", "api/v3/", "a"] {
            let fake = Fake::start(|_| Some(reply(200, json!({"slug": "porter"})))).await;
            fake.client_with(Duration::ZERO, base).app().await.expect("the app");
            assert_eq!(fake.lines(), [format!("GET /{}/app", base.trim_end_matches('/'))]);
        }
    }

    #[tokio::test]
    async fn a_read_is_tried_three_times_on_server_errors() {
        let fake = answering_with(&[502, 503]).await;
        fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect("the third answer");
        assert_eq!(fake.calls().len(), 3);

        let fake = answering_with(&[500, 500, 500, 500]).await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::Unavailable { .. }, .. }), "{error:?}");
        assert_eq!(fake.calls().len(), 3);
    }

    #[tokio::test]
    async fn a_call_that_is_not_implemented_is_not_retried() {
        let fake = answering_with(&[501, 501, 501]).await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::NotFound, .. }), "{error:?}");
        assert_eq!(fake.calls().len(), 1);
    }

    #[tokio::test]
    async fn a_mutation_is_never_retried_by_the_client() {
        let fake = answering_with(&[502]).await;
        let error = fake
            .installation()
            .create_comment(&RepositoryName::new("acme", "web"), IssueNumber::new(1), "hi")
            .await
            .expect_err("a failure");
        assert!(error.is_transient(), "{error:?}");
        assert_eq!(fake.calls().len(), 1);
    }

    #[tokio::test]
    async fn a_retry_after_of_a_server_error_is_respected() {
        let fake = Fake::start(|seen| {
            seen.path.starts_with("/repos").then(|| reply_with(503, &[("retry-after", "90")], json!({})))
        })
        .await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert_eq!(error.retry_at(fake::start()), Some(fake::start() + TimeDelta::seconds(90)));
        assert_eq!(fake.calls().len(), 1);
    }

    #[tokio::test]
    async fn a_refused_connection_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let settings = Settings {
            api_url: format!("http://{address}").parse().expect("a URL"),
            app_id: "12345".into(),
            private_key: fake::KEY.pkcs8.clone().into(),
            mutation_interval: Duration::ZERO,
        };
        let client = Client::new(settings, Clock::fixed(fake::start())).expect("a client");
        let error = client.app().await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::Unavailable { .. }, .. }), "{error:?}");
        assert!(
            error.to_string().starts_with("GitHub is not available: GET /app: Connection refused"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_timeout_is_unavailable_and_not_retried() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", silent.local_addr().expect("an address"));
        let mut wire = Wire::new(&base.parse().expect("a URL"), Clock::fixed(fake::start())).expect("a wire");
        wire.timeout = Duration::from_millis(50);
        let request = Request::get("/app", &[]).expect("a request");
        let error = wire
            .send(&request, &SecretString::from("ghs_x"), &Throttle::new(Duration::ZERO))
            .await
            .expect_err("a failure");
        assert_eq!(error.to_string(), "GitHub is not available: GET /app: no answer within 50ms");
        silent.accept().await.expect("the one connection");
        let mut idle = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(silent.poll_accept(&mut idle).is_pending(), "expected no second connection");
    }

    #[tokio::test]
    async fn an_unreadable_response_is_unavailable_and_not_quoted() {
        let fake =
            Fake::start(|seen| seen.path.ends_with("access_tokens").then(|| reply(201, json!("ghs_leak"))))
                .await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::Unavailable { .. }, .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("ghs_leak"), "{error:?}");
    }

    #[tokio::test]
    async fn a_redirect_to_a_renamed_repository_keeps_method_and_body() {
        let fake = Fake::start(|seen| match seen.path.as_str() {
            "/repos/acme/old/issues/1/comments" => {
                Some(reply_with(307, &[("location", "/repositories/9/issues/1/comments")], json!({})))
            }
            "/repositories/9/issues/1/comments" => {
                Some(reply(201, json!({"id": 5, "body": "hi", "created_at": "2027-01-15T08:00:00Z"})))
            }
            _ => None,
        })
        .await;
        let comment = fake
            .installation()
            .create_comment(&RepositoryName::new("acme", "old"), IssueNumber::new(1), "hi")
            .await
            .expect("a comment");
        assert_eq!(comment.id.get(), 5);
        let calls = fake.calls();
        assert_eq!(calls[1].line(), "POST /repositories/9/issues/1/comments");
        assert_eq!(calls[1].body, json!({"body": "hi"}));
        assert_eq!(calls[1].token(), calls[0].token());
    }

    #[tokio::test]
    async fn the_token_is_not_sent_to_another_host() {
        let stranger = Fake::start(|_| Some(reply(200, json!({"id": 1, "name": "web"})))).await;
        let elsewhere = stranger.url.join("/repos/acme/web").expect("a URL").to_string();
        let fake = Fake::start(move |seen| {
            let there = [("location", elsewhere.as_str())];
            seen.path.starts_with("/repos").then(|| reply_with(301, &there, json!({})))
        })
        .await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::Unavailable { .. }, .. }), "{error:?}");
        assert_eq!(stranger.lines(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_redirect_loop_ends() {
        let fake = Fake::start(|seen| {
            let here = [("location", seen.path.as_str())];
            seen.path.starts_with("/repos").then(|| reply_with(301, &here, json!({})))
        })
        .await;
        let error =
            fake.installation().repository(&RepositoryName::new("acme", "web")).await.expect_err("a failure");
        assert!(matches!(error, Error { kind: Kind::Unavailable { .. }, .. }), "{error:?}");
        assert_eq!(fake.calls().len(), 1 + REDIRECT_LIMIT);
    }

    #[tokio::test]
    async fn a_limit_prevents_further_requests_until_it_ends() {
        let count = AtomicUsize::new(0);
        let fake = Fake::start(move |seen| {
            if !seen.path.starts_with("/repos") {
                return None;
            }
            Some(match count.fetch_add(1, Ordering::SeqCst) {
                0 => reply_with(403, &[("retry-after", "120")], json!({"message": "secondary rate limit"})),
                _ => reply(200, json!({"id": 1, "name": "web"})),
            })
        })
        .await;
        let client = fake.client();
        let installation = client.installation(domain::ids::InstallationId::new(7));
        let wanted = fake::start() + TimeDelta::seconds(120);
        for _ in 0..2 {
            let error =
                installation.repository(&RepositoryName::new("acme", "web")).await.expect_err("a limit");
            assert!(
                matches!(error, Error { kind: Kind::RateLimited { until }, .. } if until == wanted),
                "{error:?}"
            );
        }
        let error = installation
            .add_labels(&RepositoryName::new("acme", "web"), IssueNumber::new(1), &["x"])
            .await
            .expect_err("a limit");
        assert_eq!(error.retry_at(fake::start()), Some(wanted));
        assert_eq!(fake.calls().len(), 1);
        client
            .installation(domain::ids::InstallationId::new(8))
            .repository(&RepositoryName::new("acme", "web"))
            .await
            .expect("another installation is not limited");
        fake.clock.advance(TimeDelta::seconds(120));
        installation.repository(&RepositoryName::new("acme", "web")).await.expect("the limit is over");
    }

    #[tokio::test]
    async fn a_missing_permission_is_forbidden_and_explained() {
        let fake = Fake::start(|seen| {
            let id = [("x-github-request-id", "AB12:3"), ("x-ratelimit-remaining", "4999")];
            seen.path
                .starts_with("/repos")
                .then(|| reply_with(403, &id, json!({"message": "Resource not accessible by integration"})))
        })
        .await;
        let error = fake
            .installation()
            .react(&RepositoryName::new("acme", "web"), CommentId::new(3), "eyes")
            .await
            .expect_err("a refusal");
        assert!(matches!(error, Error { kind: Kind::Forbidden, .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "GitHub forbids this: POST /repos/acme/web/issues/comments/3/reactions answered 403 Forbidden \
             (request AB12:3): Resource not accessible by integration"
        );
    }
}
