//! People: what they have stored, who is signed in, and how an earlier Porter's database moves over.
//! Writes go through here; `web` calls it for sessions, `tasks` for keys.

pub mod credentials;
pub mod sessions;
pub mod sign_in;
pub mod stored_secrets;
