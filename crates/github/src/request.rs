//! A request to GitHub before it is sent: a route from the documentation, its parameters, query and body.

use std::fmt::{Display, Write};

use http::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::error::{Call, Error, Kind};

/// GitHub's maximum page size.
const PAGE_SIZE: u8 = 100;

/// A route parameter. `Sync` because requests are built inside futures that move between threads.
type Name<'a> = &'a (dyn Display + Sync);

/// A request without its credential.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// The route as written in GitHub's documentation, for traces.
    pub(super) route: &'static str,
    /// The route with its parameters filled in, percent-encoded.
    pub(super) path: String,
    /// The encoded query without the question mark; empty if there is none.
    pub(super) query: String,
    pub(super) body: Option<Value>,
}

impl Request {
    /// Creates a request for `route`. Each `{…}` is replaced by the next of `names`, percent-encoded.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if a name is empty, `.` or `..`: GitHub has no such names, and the path would address
    /// another resource.
    pub(super) fn new(method: Method, route: &'static str, names: &[Name<'_>]) -> Result<Self, Error> {
        match fill(route, names) {
            Some(path) => Ok(Self { method, route, path, query: String::new(), body: None }),
            None => Err(Error::new(
                Kind::Invalid,
                "an empty name, or one made of dots, is not valid on GitHub",
                Box::new(Call { method, path: route.into(), status: None, request_id: None }),
            )),
        }
    }

    /// Creates a `GET` request; see [`Request::new`].
    pub(super) fn get(route: &'static str, names: &[Name<'_>]) -> Result<Self, Error> {
        Self::new(Method::GET, route, names)
    }

    /// Creates a `POST` request with a body; see [`Request::new`].
    pub(super) fn post(route: &'static str, names: &[Name<'_>], body: Value) -> Result<Self, Error> {
        Ok(Self { body: Some(body), ..Self::new(Method::POST, route, names)? })
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, name: &str, value: impl Display) -> Self {
        let known = std::mem::take(&mut self.query);
        let mut query = form_urlencoded::Serializer::new(known);
        query.append_pair(name, &value.to_string());
        self.query = query.finish();
        self
    }

    /// Requests the maximum page size.
    pub(super) fn paged(self) -> Self {
        self.query("per_page", PAGE_SIZE)
    }

    /// Returns the request for the next page according to the `Link` header; `None` on the last page.
    ///
    /// Only the query of the link is used, so a link to another host cannot redirect the request.
    pub(super) fn next_page(&self, link: Option<&str>) -> Option<Self> {
        let query = next_query(link?)?;
        (query != self.query).then(|| Self { query, ..self.clone() })
    }

    /// Returns whether the request only reads, so that it can be repeated.
    pub(super) fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// Returns the description of the call for errors.
    pub(super) fn call(&self) -> Box<Call> {
        Box::new(Call {
            method: self.method.clone(),
            path: self.path.clone(),
            status: None,
            request_id: None,
        })
    }
}

/// Returns the query of the `rel="next"` target in a `Link` header (RFC 8288, in GitHub's form).
pub(super) fn next_query(link: &str) -> Option<String> {
    link.split(',')
        .filter_map(|entry| entry.split_once('>'))
        .find(|(_, parameters)| {
            parameters.split(';').map(str::trim).any(|p| p == r#"rel="next""# || p == "rel=next")
        })
        .and_then(|(target, _)| target.split_once('?'))
        .map(|(_, query)| query.split('#').next().unwrap_or_default().to_owned())
}

/// Returns the value of one query parameter.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Fills a route. `{path}` keeps its slashes (a file in a repository); every other name is one path segment.
fn fill(route: &str, names: &[Name<'_>]) -> Option<String> {
    let mut names = names.iter();
    let mut path = String::with_capacity(route.len() + 32);
    for segment in route.split('/').skip(1) {
        if segment == "{path}" {
            for part in names.next()?.to_string().split('/') {
                push_encoded(&mut path, part)?;
            }
        } else if segment.starts_with('{') {
            push_encoded(&mut path, &names.next()?.to_string())?;
        } else {
            path.push('/');
            path.push_str(segment);
        }
    }
    names.next().is_none().then_some(path)
}

/// Appends `/name`, with everything except RFC 3986's unreserved characters percent-encoded.
fn push_encoded(path: &mut String, name: &str) -> Option<()> {
    if matches!(name, "" | "." | "..") {
        return None;
    }
    path.push('/');
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => write!(path, "%{byte:02X}").ok()?,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(route: &'static str, names: &[Name<'_>]) -> Option<String> {
        Request::get(route, names).ok().map(|request| request.path)
    }

    #[test]
    fn every_name_is_one_path_segment() {
        let branch = "/repos/{owner}/{repo}/branches/{branch}";
        assert_eq!(
            path(branch, &[&"acme", &"web", &"porter/task_1"]).as_deref(),
            Some("/repos/acme/web/branches/porter%2Ftask_1")
        );
        let label = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}";
        assert_eq!(
            path(label, &[&"acme", &"web", &7, &"porter:task ü?#%"]).as_deref(),
            Some("/repos/acme/web/issues/7/labels/porter%3Atask%20%C3%BC%3F%23%25")
        );
        let login = "/users/{username}";
        assert_eq!(path(login, &[&"porter[bot]"]).as_deref(), Some("/users/porter%5Bbot%5D"));
    }

    #[test]
    fn a_file_path_keeps_its_slashes() {
        let contents = "/repos/{owner}/{repo}/contents/{path}";
        assert_eq!(
            path(contents, &[&"acme", &"web", &"docs/a b.md"]).as_deref(),
            Some("/repos/acme/web/contents/docs/a%20b.md")
        );
        assert_eq!(path(contents, &[&"acme", &"web", &"docs/../../secret"]), None);
    }

    #[test]
    fn a_name_that_would_change_the_path_is_rejected() {
        for name in ["", ".", ".."] {
            let seen = Request::get("/repos/{owner}/{repo}", &[&name, &"web"]);
            assert!(matches!(seen, Err(Error { kind: Kind::Invalid, .. })), "{name:?}: {seen:?}");
        }
    }

    #[test]
    fn the_number_of_names_must_match_the_route() {
        assert_eq!(path("/repos/{owner}/{repo}", &[&"acme"]), None);
        assert_eq!(path("/app", &[&"acme"]), None);
    }

    #[test]
    fn the_query_is_encoded() {
        let request = Request::get("/app", &[]).expect("a request").query("head", "acme:a&b").paged();
        assert_eq!(request.query, "head=acme%3Aa%26b&per_page=100");
    }

    #[test]
    fn the_next_page_is_read_from_the_link_header() {
        let link = r#"<https://api.github.com/repositories/1/issues?per_page=100&page=1>; rel="prev", <https://api.github.com/repositories/1/issues?per_page=100&page=3>; rel="next""#;
        let request = Request::get("/repos/{owner}/{repo}/issues", &[&"acme", &"web"]).expect("a request");
        let next = request.next_page(Some(link)).expect("a next page");
        assert_eq!((next.path.as_str(), next.query.as_str()), (request.path.as_str(), "per_page=100&page=3"));
        assert!(next.next_page(Some(link)).is_none(), "a link to the same page ends the pagination");
        assert!(request.next_page(None).is_none());
        assert!(request.next_page(Some(r#"<https://x/y?page=1>; rel="prev""#)).is_none());
    }

    #[test]
    fn a_cursor_is_read_from_a_query() {
        assert_eq!(parameter("per_page=100&cursor=v1_123%3D", "cursor").as_deref(), Some("v1_123="));
        assert_eq!(parameter("per_page=100", "cursor"), None);
    }
}
