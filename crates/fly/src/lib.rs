//! A typed client for the part of Fly's Machines API (<https://fly.io/docs/machines/api/>) that Porter uses.
//!
//! The crate knows nothing about tasks: `runner::fly` adds names, metadata and retries; `doctor` and the
//! settings page call [`Client::app`] and [`Client::tokens`]. The client neither waits nor retries: after an
//! unclear result, the caller checks whether the machine exists.

mod error;
mod token;
mod types;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use url::Url;

pub use error::Error;
pub use types::*;

/// Timeouts for calls to Fly.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Timeout for the connection.
    pub connect: Duration,
    /// Timeout for a response.
    pub request: Duration,
    /// Timeout for the creation of a machine: the first start on a host pulls the image ("maybe low double digit
    /// seconds", Fly's documentation).
    pub create: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30),
            create: Duration::from_secs(60),
        }
    }
}

/// The API without a token. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
    timeouts: Timeouts,
}

impl Api {
    /// Creates a client for the API at `base`, to which `/v1` is added (Fly's own is `https://api.machines.dev`).
    ///
    /// # Errors
    /// [`Error::Rejected`] if `base` is not an http(s) URL, or TLS cannot be set up.
    pub fn new(base: &Url) -> Result<Self, Error> {
        Self::with_timeouts(base, Timeouts::default())
    }

    /// Creates a client with other timeouts than the default ones.
    ///
    /// # Errors
    /// See [`Api::new`].
    pub fn with_timeouts(base: &Url, timeouts: Timeouts) -> Result<Self, Error> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(Error::rejected("The Fly API address must begin with http:// or https://."));
        }
        let http = tls::client()
            .user_agent(concat!("porter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            // The API does not redirect, and the token must not be sent to another host.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::rejected(&error.without_url().to_string()))?;
        Ok(Self { http, base: base.clone(), timeouts })
    }

    /// Returns a client that sends `token`.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if the text cannot be a token (empty, or not printable).
    pub fn client(&self, token: &SecretString) -> Result<Client, Error> {
        Ok(Client { api: self.clone(), authorization: token::authorization(token)? })
    }
}

/// The API with a token. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    api: Api,
    /// Marked as sensitive, so that `Debug` hides it.
    authorization: HeaderValue,
}

impl Client {
    /// Returns the app with this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the name is free, [`Error::Forbidden`] if it belongs to another organization.
    pub async fn app(&self, name: &str) -> Result<App, Error> {
        read(self.request(Method::GET, &["apps", name])?).await
    }

    /// Creates an app. `network` is the name of its private network. A separate network keeps its machines from
    /// reaching the organization's other apps and cannot be changed later.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken (names are global).
    pub async fn create_app(&self, name: &str, org_slug: &str, network: &str) -> Result<(), Error> {
        let body = CreateApp { name, org_slug, network };
        send(self.request(Method::POST, &["apps"])?.json(&body)).await.map(drop)
    }

    /// Returns what the token may do, one entry for each part of the token.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if the token is not valid.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        let list: TokenList = read(self.request(Method::GET, &["tokens", "current"])?).await?;
        Ok(list.tokens.unwrap_or_default())
    }

    /// Creates and starts a machine. Not idempotent: after [`Error::Unavailable`] it may exist.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken, [`Error::NotFound`] if the app does not exist,
    /// [`Error::NoCapacity`] if no host has capacity.
    pub async fn create_machine(&self, app: &str, machine: &CreateMachine) -> Result<Machine, Error> {
        let request = self.request(Method::POST, &["apps", app, "machines"])?;
        read(request.timeout(self.api.timeouts.create).json(machine)).await
    }

    /// Returns the machine with this id.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist.
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, Error> {
        read(self.request(Method::GET, &["apps", app, "machines", id])?).await
    }

    /// Lists the app's machines whose metadata has each of these keys with exactly this value; all machines if
    /// `metadata` is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the app does not exist.
    pub async fn list_machines(&self, app: &str, metadata: &[(&str, &str)]) -> Result<Vec<Machine>, Error> {
        let mut url = self.url(&["apps", app, "machines"])?;
        for (key, value) in metadata {
            url.query_pairs_mut().append_pair(&format!("metadata.{key}"), value);
        }
        // Fly may send an empty list as `null`, because Go encodes a nil slice this way.
        let machines: Option<Vec<Machine>> = read(self.request_to(Method::GET, url)).await?;
        Ok(machines.unwrap_or_default())
    }

    /// Stops a machine: sends `signal`, and kills it after `timeout` seconds.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the machine does not exist.
    pub async fn stop_machine(&self, app: &str, id: &str, stop: &StopConfig) -> Result<(), Error> {
        let request = self.request(Method::POST, &["apps", app, "machines", id, "stop"])?;
        send(request.json(stop)).await.map(drop)
    }

    /// Kills and deletes a machine.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the machine does not exist.
    pub async fn destroy_machine(&self, app: &str, id: &str) -> Result<(), Error> {
        let mut url = self.url(&["apps", app, "machines", id])?;
        url.query_pairs_mut().append_pair("force", "true");
        send(self.request_to(Method::DELETE, url)).await.map(drop)
    }

    fn request(&self, method: Method, segments: &[&str]) -> Result<RequestBuilder, Error> {
        Ok(self.request_to(method, self.url(segments)?))
    }

    fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.api.http.request(method, url).header(AUTHORIZATION, self.authorization.clone())
    }

    fn url(&self, segments: &[&str]) -> Result<Url, Error> {
        // `Url` drops dot segments, and an empty segment doubles the slash: either would address another resource.
        if segments.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(Error::NotFound);
        }
        let mut url = self.api.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::rejected("The Fly API address cannot have a path."))?
            .pop_if_empty()
            .push("v1")
            .extend(segments);
        Ok(url)
    }
}

async fn send(request: RequestBuilder) -> Result<Response, Error> {
    let answer = request.send().await.map_err(Error::lost)?;
    if answer.status().is_success() { Ok(answer) } else { Err(error::from_answer(answer).await) }
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    // A truncated response leaves the result as uncertain as a missing one.
    send(request).await?.json().await.map_err(Error::lost)
}
