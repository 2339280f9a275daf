//! The GitHub stand-in through its public interface: the HTTP API for Apps, git, and actions of people.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

mod app;
mod faults;
mod issues;
mod pages;
mod pulls;
mod sign_in;
mod webhooks;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use domain::clock::Clock;
use hmac::{Hmac, KeyInit, Mac};
use porter_standin::sample;
use porter_standin::{AccountKind, Effect, Fault, File, Options, Permission, Signature, StandIn};
use reqwest::{Method, Response};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;

const REPOSITORY: &str = "acme/greeter";
const LIMIT: Duration = Duration::from_secs(10);

/// A stand-in with the sample project, the user alice with push access, and the App installed.
struct Environment {
    github: StandIn,
    clock: Clock,
    http: reqwest::Client,
    installation: u64,
}

impl Environment {
    async fn start() -> Self {
        // A fixed clock, so that the tests control when a token expires. It starts at the real time, at which
        // octocrab signs its JWTs.
        let clock = Clock::fixed(Clock::system().now());
        let github = StandIn::start(Options { clock: clock.clone(), ..Options::new() }).await.unwrap();
        github.add_user("alice", 101);
        github.add_user("mallory", 102);
        let files: Vec<_> = sample::files()
            .into_iter()
            .map(|(path, text, executable)| File { executable, ..File::text(path, text) })
            .collect();
        github.add_repository("acme", "greeter", &files, "main").await.unwrap();
        github.add_repository("acme", "other", &[File::text("a", "a\n")], "main").await.unwrap();
        github.grant(REPOSITORY, "alice", Permission::Maintain).unwrap();
        let installation = github.install("acme").await.unwrap();
        let http = tls::client().user_agent("test").no_proxy().build().unwrap();
        Self { github, clock, http, installation }
    }

    fn jwt(&self, issuer: Value, issued: i64, expires: i64) -> String {
        let now = self.clock.now().timestamp();
        let claims = json!({ "iss": issuer, "iat": now + issued, "exp": now + expires });
        let pem = self.github.app().private_key_pem;
        let body: String = pem.expose_secret().lines().filter(|line| !line.starts_with("-----")).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(br#"{"alg":"RS256"}"#), encode(claims.to_string().as_bytes()));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encode(&signature))
    }

    async fn request(&self, method: Method, path: &str, credential: &str, body: Option<Value>) -> Response {
        let url = format!("{}{path}", self.github.api_url());
        let mut request = self.http.request(method, url).bearer_auth(credential);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn as_app(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let jwt = self.jwt(json!(self.github.app().id), -60, 540);
        self.request(method, path, &jwt, body).await
    }

    /// An installation token with this scope.
    async fn token(&self, narrowing: Value) -> String {
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let (status, answer) = read(self.as_app(Method::POST, &path, Some(narrowing)).await).await;
        assert_eq!(status, 201, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }

    /// The clone URL with a credential.
    fn clone_url(&self, token: &str) -> String {
        let url = self.github.web_url().replacen("http://", &format!("http://x-access-token:{token}@"), 1);
        format!("{url}/{REPOSITORY}.git")
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Runs git without the user's configuration; returns whether it succeeded, and its standard error.
async fn git(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = tokio::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=alice", "-c", "user.email=alice@example.com"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .await
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A receiver of webhooks that responds with `status` and passes each webhook to the channel.
async fn receiver(status: StatusCode) -> (String, mpsc::UnboundedReceiver<(HeaderMap, Vec<u8>)>) {
    let (sender, received) = mpsc::unbounded_channel();
    let handler = move |State(sender): State<mpsc::UnboundedSender<_>>,
                        headers: HeaderMap,
                        body: axum::body::Bytes| async move {
        sender.send((headers, body.to_vec())).unwrap();
        (status, axum::Json(json!({ "seen": true })))
    };
    let router = axum::Router::new().route("/hook", post(handler)).with_state(sender);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}
