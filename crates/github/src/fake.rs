//! (tests) A fake GitHub: an axum app on loopback that records requests and answers them with the test's
//! closure. It issues installation tokens unless the closure answers that route.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use ring::signature::RsaKeyPair;
use serde_json::{Value, json};
use url::Url;

use super::{Client, Installation, Settings};
use domain::clock::Clock;

/// The App's key in the tests: (PKCS#8 PEM, PKCS#1 PEM, public key as PKCS#1 DER).
pub struct TestKey {
    pub pkcs8: String,
    pub pkcs1: String,
    pub public_der: Vec<u8>,
}

pub static KEY: LazyLock<TestKey> = LazyLock::new(|| {
    let text = include_str!("../../standin/src/app-key.pem");
    let lines = text.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let body: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    let der = STANDARD.decode(body).expect("base64");
    let pair = RsaKeyPair::from_pkcs8(&der).expect("a key");
    // PKCS#8 wraps the PKCS#1 key in an octet string: version, algorithm, `04 82 <length>`, key.
    let start = der.windows(2).position(|pair| pair == [0x04, 0x82]).expect("the octet string") + 4;
    TestKey {
        pkcs8: pem("PRIVATE KEY", &der),
        pkcs1: pem("RSA PRIVATE KEY", &der[start..]),
        public_der: pair.public().as_ref().to_vec(),
    }
});

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The fixed time of the tests' clocks.
pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("an instant")
}

/// One received request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The path, still percent-encoded.
    pub path: String,
    pub query: String,
    pub headers: http::HeaderMap,
    pub body: Value,
    pub arrived: Instant,
    pub answered: Option<Instant>,
}

impl Seen {
    /// Returns `METHOD path?query` as received.
    pub fn line(&self) -> String {
        match self.query.as_str() {
            "" => format!("{} {}", self.method, self.path),
            query => format!("{} {}?{query}", self.method, self.path),
        }
    }

    pub fn token(&self) -> &str {
        self.header("authorization").strip_prefix("Bearer ").expect("a bearer token")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn is_token_call(&self) -> bool {
        self.path.ends_with("/access_tokens")
    }
}

/// Builds a response with a JSON body.
pub fn reply(status: u16, body: Value) -> Response {
    reply_with(status, &[], body)
}

/// Builds a response with headers and a JSON body.
pub fn reply_with(status: u16, headers: &[(&str, &str)], body: Value) -> Response {
    let mut response = (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response();
    for (name, value) in headers {
        response
            .headers_mut()
            .append(http::HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
    }
    response
}

/// The running fake server; it stops when the value is dropped.
pub struct Fake {
    pub url: Url,
    pub clock: Clock,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// Starts the fake. If `answer` returns `None`, a token request gets a token and any other request a 404.
    pub async fn start(answer: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) -> Self {
        let clock = Clock::fixed(start());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, time, answer) = (seen.clone(), clock.clone(), Arc::new(answer));
        let app = Router::new().fallback(move |request: Request| {
            let (log, time, answer) = (log.clone(), time.clone(), answer.clone());
            async move {
                let seen = record(request).await;
                let (index, issued) = {
                    let mut log = log.lock().expect("the log");
                    log.push(seen.clone());
                    (log.len() - 1, log.iter().filter(|seen| seen.is_token_call()).count())
                };
                // Yields so that requests that must not run concurrently overlap if they do.
                tokio::task::yield_now().await;
                let response = answer(&seen).unwrap_or_else(|| match seen.is_token_call() {
                    true => reply(
                        201,
                        json!({
                            "token": format!("ghs_test_{issued}"),
                            "expires_at": time.now() + TimeDelta::hours(1),
                        }),
                    ),
                    false => reply(404, json!({"message": "Not Found"})),
                });
                log.lock().expect("the log")[index].answered = Some(Instant::now());
                response
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a URL");
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("the fake serves") });
        Self { url, clock, seen, server }
    }

    /// Returns a client of this fake that uses the fake's clock and no interval between mutations.
    pub fn client(&self) -> Client {
        self.client_with(Duration::ZERO, "")
    }

    /// Returns a client with an interval between mutations and a base path for the API.
    pub fn client_with(&self, mutation_interval: Duration, base: &str) -> Client {
        let settings = Settings {
            api_url: self.url.join(base).expect("a URL"),
            app_id: "12345".into(),
            private_key: KEY.pkcs8.clone().into(),
            mutation_interval,
        };
        Client::new(settings, self.clock.clone()).expect("a client")
    }

    /// Returns installation 7 of such a client.
    pub fn installation(&self) -> Installation {
        self.client().installation(domain::ids::InstallationId::new(7))
    }

    /// Returns all requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the log").clone()
    }

    /// Returns all requests so far, without those for tokens.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| !seen.is_token_call()).collect()
    }

    /// Returns the requests for tokens so far.
    pub fn token_calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_token_call).collect()
    }

    /// Returns the request lines of [`Fake::calls`].
    pub fn lines(&self) -> Vec<String> {
        self.calls().iter().map(Seen::line).collect()
    }
}

async fn record(request: Request) -> Seen {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(Body::new(body), usize::MAX).await.expect("a body");
    Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        arrived,
        answered: None,
    }
}
