//! The HTTP client below octocrab.
//!
//! octocrab's own default client calls itself `octocrab` and appends headers instead of replacing them, so
//! two `User-Agent` lines would go out; and it would be a second HTTP stack beside the one that talks to
//! Fly. This adapter lets octocrab speak through reqwest, as its `build_with_reqwest` does, minus those headers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use tower::Service;
use url::{Host, Url};

use super::error::Error;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An octocrab without a credential, for the API at `base`.
///
/// # Errors
/// [`Error::Misconfigured`] when TLS cannot be set up (no certificates of authorities on this machine), or
/// `base` is not an absolute URL.
pub(super) fn octocrab(base: &Url) -> Result<Octocrab, Error> {
    let broken = |message: String| Error::Misconfigured { message };
    let mut client = tls::client()
        .user_agent(concat!("porter/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // Redirects are followed in `wire`, which keeps method and body and never leaves GitHub.
        .redirect(reqwest::redirect::Policy::none());
    if base.scheme() == "http" {
        // No TLS will be spoken: a bare machine without certificates of authorities can run the demo.
        client = client.tls_certs_only([]);
    }
    if is_loopback(base) {
        client = client.no_proxy();
    }
    let client = client
        .build()
        .map_err(|error| broken(format!("the HTTPS client cannot start: {}", root_cause(&error))))?;
    let base = base
        .as_str()
        .parse()
        .map_err(|error| broken(format!("the API URL {base} is not usable: {error}")))?;
    let Ok(octocrab) = OctocrabBuilder::new_empty()
        .with_service(Transport(client))
        .with_layer(&BaseUriLayer::new(base))
        .with_auth(AuthState::None)
        .build();
    Ok(octocrab)
}

/// Whether the URL points at this machine, where no proxy has a say.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The innermost cause: what an operator can act on ("Connection refused"). Never the outer layers, which
/// repeat the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// reqwest as the service that octocrab's layers stand on.
#[derive(Clone, Debug)]
struct Transport(reqwest::Client);

impl Service<http::Request<OctoBody>> for Transport {
    type Response = http::Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // reqwest keeps its own pool and queue.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap))?;
            client.execute(request).await.map(http::Response::from)
        })
    }
}
