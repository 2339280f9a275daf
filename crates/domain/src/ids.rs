//! GitHub's numbers and names as types, so that two of them cannot change places unnoticed.
//!
//! Each number is a type of its own around GitHub's 64-bit integer; as JSON and in the database it is that integer.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// The type for GitHub's number.
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// GitHub's number.
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
    /// A repository's id. It survives renaming and transfer.
    RepositoryId
}
number! {
    /// The id of the App's installation in one account.
    InstallationId
}
number! {
    /// An account's id: a person's, an organization's or a bot's. It survives renaming.
    UserId
}
number! {
    /// The number of an issue or a pull request within its repository (one series for both).
    IssueNumber
}
number! {
    /// The id of a comment on an issue or a pull request.
    CommentId
}

/// A repository's owner and name, as they were when GitHub last said them: both change with renaming.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryName {
    /// The login of the account that owns it.
    pub owner: String,
    /// Its name within that account.
    pub name: String,
}

impl RepositoryName {
    /// The repository `name` of `owner`.
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
