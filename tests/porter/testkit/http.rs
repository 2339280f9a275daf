//! HTTP requests to Porter by browsers, programs and workers. Every response is kept for the closing step.

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Person, Testkit};

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The body as JSON; `null` if it is not JSON.
    pub json: Value,
}

impl Answer {
    /// Checks the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "the answer was {}", self.text);
        self
    }

    /// Checks status and code of an error, and the fields that every error has.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let seen = (self.status, self.json["error"].as_str());
        assert_eq!(seen, (status, Some(code)), "the answer was {}", self.text);
        assert!(self.json["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.text);
        let id = self.json["requestId"].as_str().unwrap_or_default();
        let header = self.headers.get("x-request-id").and_then(|id| id.to_str().ok());
        assert!(!id.is_empty() && header == Some(id), "requestId {id:?}, x-request-id {header:?}");
        self
    }

    /// Returns the text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Testkit {
    /// Creates a request to Porter.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a whole answer");
        self.seen().answers.push(format!("{headers:?}\n{text}"));
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, text, json }
    }

    /// Sends a `GET` request without a session.
    pub async fn look(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a `GET` request with a person's session.
    pub async fn get(&self, who: Person, path: &str) -> Answer {
        self.send(self.as_person(Method::GET, who, path).await).await
    }

    /// Sends JSON with a person's session.
    pub async fn post(&self, who: Person, path: &str, body: &Value) -> Answer {
        self.send(self.as_person(Method::POST, who, path).await.json(body)).await
    }

    /// Creates a request with a person's session.
    pub async fn as_person(&self, method: Method, who: Person, path: &str) -> RequestBuilder {
        let session = self.session(who).await;
        self.request(method, path).header("cookie", format!("porter_session={session}"))
    }
}
