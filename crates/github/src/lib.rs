//! GitHub's REST API as Porter uses it: octocrab is the transport, the verbs are our own.
//!
//! [`Client`] speaks for the App itself (its JWT), [`Installation`] for the App in one account (an
//! installation token). Both are made once and cloned freely. Every verb is one question or one deed,
//! takes plain values and answers with the few fields Porter reads. octocrab's own models are not used:
//! they ask for dozens of fields that an older GitHub Enterprise Server or a stand-in leaves out.
//!
//! What lives here: authentication, spacing of mutations, remembered rate limits, paging, errors by how the
//! caller reacts ([`Error`]). What does not: whether something should be done at all, and repeating a
//! deed that failed; that is the business of the durable jobs, which look for their own trace first.
//!
//! | file | |
//! |---|---|
//! | `client` | settings, the App's client |
//! | `app` | verbs of the App: deliveries, installations |
//! | `installation` | one installation: its token, its turn, its send |
//! | `repos`, `issues`, `pulls` | verbs of an installation |
//! | `wire`, `request`, `transport` | one HTTP exchange |
//! | `pages` | a list in pages |
//! | `webhook` | payloads that GitHub sends |
//! | `jwt`, `throttle`, `error` | the App's signature, waiting, failing |

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
    /// Closed; a merged pull request is closed, too.
    Closed,
}
