//! What can go wrong with accounts.

use crypto::NoRandomness;
use crypto::vault::{OpenError, SealError};

/// The reason an operation of `accounts` failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A database error.
    #[error("the database failed")]
    Db(#[from] db::Error),
    /// The stored session secret cannot be decrypted.
    #[error(
        "the session secret in the database cannot be decrypted; was PORTER_SECRET_ENCRYPTION_KEY changed?"
    )]
    SessionSecret(#[source] OpenError),
    /// A value could not be encrypted.
    #[error("a value could not be encrypted")]
    Seal(#[from] SealError),
    /// The operating system's random number generator failed.
    #[error("no random bytes are available")]
    NoRandomness(#[from] NoRandomness),
}
