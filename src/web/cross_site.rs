//! A request that changes state and carries the session cookie must come from Porter's own pages (main-spec §8).
//! Webhooks and callbacks have no cookie and are authenticated separately.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum_extra::extract::CookieJar;

use super::session::cookie_name;
use super::{Error, ServiceSlot};

/// Rejects requests that another site makes a signed-in person's browser send.
pub(super) async fn refuse(State(service): State<ServiceSlot>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if let (false, Some(service)) = (reads, service.get()) {
        let policy = service.policy();
        let signed_in = CookieJar::from_headers(request.headers()).get(&cookie_name(policy)).is_some();
        let own = policy.public_url.origin().ascii_serialization();
        if signed_in && is_cross_site(request.headers(), &own) {
            let message = "this request came from another site";
            return Error::new(StatusCode::FORBIDDEN, "cross_site", message).into_response();
        }
    }
    next.run(request).await
}

/// Returns whether the request comes from another site. Browsers send one or both of these headers; other programs
/// send neither.
fn is_cross_site(headers: &HeaderMap, own: &str) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign_fetch = header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let foreign_origin = header("origin").is_some_and(|origin| origin != own);
    foreign_fetch || foreign_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().expect("a header value"));
        }
        is_cross_site(&headers, "https://porter.example")
    }

    #[test]
    fn a_request_without_origin_headers_is_not_cross_site() {
        assert!(!from(&[]));
    }

    #[test]
    fn porters_own_pages_may_post() {
        assert!(!from(&[("sec-fetch-site", "same-origin"), ("origin", "https://porter.example")]));
    }

    #[test]
    fn other_sites_subdomains_and_opaque_origins_may_not() {
        assert!(from(&[("sec-fetch-site", "cross-site")]));
        assert!(from(&[("sec-fetch-site", "same-site")]));
        assert!(from(&[("origin", "https://evil.example")]));
        assert!(from(&[("origin", "null")]));
        assert!(from(&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")]));
    }
}
