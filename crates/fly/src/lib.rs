//! Fly's Machines API (<https://fly.io/docs/machines/api/>): the few verbs Porter needs, typed.
//!
//! Nothing here knows what a task is: `runner::fly` puts names, metadata and retries on top, `doctor` and
//! the settings page ask [`Client::app`] and [`Client::tokens`]. The client never waits and never tries
//! twice: a machine that may or may not have been made is the caller's to look for.

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

/// How long to wait for Fly.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection.
    pub connect: Duration,
    /// For an answer.
    pub request: Duration,
    /// For the answer to a creation: the first start on a host pulls the image ("maybe low double digit
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

/// The API, without anyone's token. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: Url,
    timeouts: Timeouts,
}

impl Api {
    /// The API at `base`, to which the client adds `/v1` (`https://api.machines.dev` is Fly's own).
    ///
    /// # Errors
    /// [`Error::Rejected`] when `base` is not an http(s) address, or TLS cannot be set up.
    pub fn new(base: &Url) -> Result<Self, Error> {
        Self::with_timeouts(base, Timeouts::default())
    }

    /// The same, with other limits than the usual ones.
    ///
    /// # Errors
    /// As [`Api::new`].
    pub fn with_timeouts(base: &Url, timeouts: Timeouts) -> Result<Self, Error> {
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(Error::rejected("The Fly API address must begin with http:// or https://."));
        }
        let http = tls::client()
            .user_agent(concat!("porter/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            // The API does not redirect; a token must not follow someone who does.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::rejected(&error.without_url().to_string()))?;
        Ok(Self { http, base: base.clone(), timeouts })
    }

    /// The API as the holder of `token` sees it.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when the text cannot be a token (empty, or not printable).
    pub fn client(&self, token: &SecretString) -> Result<Client, Error> {
        Ok(Client { api: self.clone(), authorization: token::authorization(token)? })
    }
}

/// The API with a token. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    api: Api,
    /// Marked sensitive, so `Debug` hides it.
    authorization: HeaderValue,
}

impl Client {
    /// The app with this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the name is free, [`Error::Forbidden`] when another organization has it.
    pub async fn app(&self, name: &str) -> Result<App, Error> {
        read(self.request(Method::GET, &["apps", name])?).await
    }

    /// Makes an app. `network` names its private network; an own one keeps its machines from reaching the
    /// organization's other apps, and cannot be changed later.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the name is taken (names are global).
    pub async fn create_app(&self, name: &str, org_slug: &str, network: &str) -> Result<(), Error> {
        let body = CreateApp { name, org_slug, network };
        send(self.request(Method::POST, &["apps"])?.json(&body)).await.map(drop)
    }

    /// What the token may do, a line for each of its parts.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when it is not (or no longer) valid.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, Error> {
        let list: TokenList = read(self.request(Method::GET, &["tokens", "current"])?).await?;
        Ok(list.tokens.unwrap_or_default())
    }

    /// Makes a machine and starts it. Not idempotent: after [`Error::Unavailable`] it may exist.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the name is taken, [`Error::NotFound`] when the app is not there,
    /// [`Error::NoCapacity`] when no host has room.
    pub async fn create_machine(&self, app: &str, machine: &CreateMachine) -> Result<Machine, Error> {
        let request = self.request(Method::POST, &["apps", app, "machines"])?;
        read(request.timeout(self.api.timeouts.create).json(machine)).await
    }

    /// The machine with this id.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none (any more).
    pub async fn machine(&self, app: &str, id: &str) -> Result<Machine, Error> {
        read(self.request(Method::GET, &["apps", app, "machines", id])?).await
    }

    /// The app's machines whose metadata has each of these keys with exactly this value; all, when none
    /// is named.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the app is not there.
    pub async fn list_machines(&self, app: &str, metadata: &[(&str, &str)]) -> Result<Vec<Machine>, Error> {
        let mut url = self.url(&["apps", app, "machines"])?;
        for (key, value) in metadata {
            url.query_pairs_mut().append_pair(&format!("metadata.{key}"), value);
        }
        // An empty list may come as `null`, the way Go writes one that was never filled.
        let machines: Option<Vec<Machine>> = read(self.request_to(Method::GET, url)).await?;
        Ok(machines.unwrap_or_default())
    }

    /// Asks a machine to end: `signal` first, the plug after `timeout` seconds.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such machine.
    pub async fn stop_machine(&self, app: &str, id: &str, stop: &StopConfig) -> Result<(), Error> {
        let request = self.request(Method::POST, &["apps", app, "machines", id, "stop"])?;
        send(request.json(stop)).await.map(drop)
    }

    /// Ends a machine now and forgets it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such machine.
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
        // `Url` drops dot segments and an empty one doubles the slash: either would address something else.
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
    // An answer cut short leaves as much doubt as none.
    send(request).await?.json().await.map_err(Error::lost)
}
