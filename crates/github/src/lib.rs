//! Porter's client for GitHub's REST API. octocrab is the transport; the methods are defined here.
//!
//! [`Client`] is authenticated as the App (with its JWT), [`Installation`] as the App in one account (with an
//! installation token). Both are created once and cloned freely. Each method is one API call, takes plain
//! values and returns only the fields that Porter reads. octocrab's models are not used because they require
//! dozens of fields that an older GitHub Enterprise Server or a stand-in omits.
//!
//! The crate covers authentication, intervals between mutations, known rate limits, pagination, and errors
//! classified by how the caller reacts ([`Error`]). It does not decide whether a call is needed and does not
//! retry a failed mutation: the durable jobs do, after a check for the result of the earlier attempt.
//!
//! | file | |
//! |---|---|
//! | `client` | settings, the App's client |
//! | `app` | calls of the App: deliveries, installations |
//! | `installation` | one installation: its token, its throttle, sending |
//! | `repos`, `issues`, `pulls` | calls of an installation |
//! | `wire`, `request`, `transport` | one HTTP exchange |
//! | `pages` | pagination |
//! | `webhook` | webhook payloads |
//! | `jwt`, `throttle`, `error` | the App's JWT, rate limits, errors |

mod app;
mod client;
mod error;
mod installation;
mod issues;
mod jwt;
mod pages;
mod pulls;
mod repos;
mod request;
mod throttle;
mod transport;
pub mod webhook;
mod wire;

#[cfg(test)]
mod fake;

pub use app::{AppInfo, HookConfig, HookDelivery, InstallationInfo};
pub use client::{Client, Settings};
pub use error::{Call, Error, Kind};
pub use installation::{Installation, IssuedToken};
pub use issues::{Comment, CreatedIssue, IssueInfo};
pub use pulls::{NewPull, Pull};
pub use repos::{Branch, Commit, Permission, Repository};

/// Whether an issue or a pull request is still open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Open.
    Open,
    /// Closed. A merged pull request is also closed.
    Closed,
}
