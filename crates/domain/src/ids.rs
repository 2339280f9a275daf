//! GitHub's ids and names as separate types, so that the compiler rejects confusing two of them.
//!
//! Each type wraps GitHub's 64-bit integer. JSON and the database contain the integer.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Wraps GitHub's number.
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// Returns GitHub's number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A repository's id. It does not change when the repository is renamed or transferred.
    RepositoryId
}
number! {
    /// The id of the App's installation in one account.
    InstallationId
}
number! {
    /// The id of an account: a person, an organization or a bot. It does not change when the account is renamed.
    UserId
}
number! {
    /// The number of an issue or a pull request in its repository; both share one series.
    IssueNumber
}
number! {
    /// The id of a comment on an issue or a pull request.
    CommentId
}

/// A repository's owner and name, as in GitHub's latest message. Both can change when the repository is renamed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryName {
    /// The login of the account that owns the repository.
    pub owner: String,
    /// The repository's name in that account.
    pub name: String,
}

impl RepositoryName {
    /// Returns the name of the repository `name` of `owner`.
    pub fn new(owner: impl Into<String>, name: impl Into<String>) -> Self {
        Self { owner: owner.into(), name: name.into() }
    }
}

impl fmt::Display for RepositoryName {
    /// `owner/name`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}
