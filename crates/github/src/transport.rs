//! The HTTP client used by octocrab.
//!
//! octocrab's default client sets its own `User-Agent` and appends headers instead of replacing them, so two
//! `User-Agent` headers would be sent. It would also add a second HTTP stack beside the one used for Fly. This
//! adapter lets octocrab use reqwest, like its `build_with_reqwest`, but without those headers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use tower::Service;
use url::{Host, Url};

use super::error::Error;

/// The timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Creates an octocrab client without a credential for the API at `base`.
///
/// # Errors
/// [`super::Kind::Misconfigured`] if TLS cannot be set up (this machine has no CA certificates), or `base` is
/// not an absolute URL.
pub(super) fn octocrab(base: &Url) -> Result<Octocrab, Error> {
    let mut client = tls::client()
        .user_agent(concat!("porter/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        // Redirects are followed in `wire`, which keeps method and body and stays on GitHub's origin.
        .redirect(reqwest::redirect::Policy::none());
    if base.scheme() == "http" {
        // TLS is not used, so the demo also runs on a machine without CA certificates.
        client = client.tls_certs_only([]);
    }
    if is_loopback(base) {
        client = client.no_proxy();
    }
    let client = client.build().map_err(|error| {
        Error::misconfigured(format!("the HTTPS client cannot start: {}", root_cause(&error)))
    })?;
    let base = base
        .as_str()
        .parse()
        .map_err(|error| Error::misconfigured(format!("the API URL {base} is not usable: {error}")))?;
    let Ok(octocrab) = OctocrabBuilder::new_empty()
        .with_service(Transport(client))
        .with_layer(&BaseUriLayer::new(base))
        .with_auth(AuthState::None)
        .build();
    Ok(octocrab)
}

/// Returns whether the URL points to this machine, for which no proxy is used.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Returns the innermost cause, which an operator can act on ("Connection refused"). The outer errors only
/// repeat the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// reqwest as the tower service below octocrab's layers.
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
