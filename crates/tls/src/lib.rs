//! The one TLS stack of Porter, rustls on ring, and the HTTP clients that use it. Everything that asks another host
//! for something begins here; what it asks is its own.

/// The builder of an HTTP client that speaks TLS with ring and trusts what this machine trusts.
pub fn client() -> reqwest::ClientBuilder {
    // The provider is the process's. Where there is one already, it is this one.
    rustls::crypto::ring::default_provider().install_default().ok();
    #[expect(clippy::disallowed_methods, reason = "here TLS has its provider")]
    reqwest::Client::builder()
}
