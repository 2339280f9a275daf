//! People's accounts: stored keys, sessions, and the import of an earlier Porter's database. Writes go through this
//! module; `web` calls it for sessions, `tasks` for keys.

pub mod credentials;
mod error;
pub mod sessions;
pub mod sign_in;
pub mod stored_secrets;

pub use error::Error;
