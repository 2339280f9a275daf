//! Sessions: seven days, sliding (main-spec §8). The cookie contains an opaque id. The database stores only a digest
//! of it, keyed with the session secret, so a copy of the database does not allow anybody to sign in.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use super::Error;
use crypto::tokens;
use crypto::vault::{Identity, Vault};
use db::Db;
use db::users::User;
use domain::clock::Clock;

/// The lifetime of a session after its last use.
pub const LIFETIME: TimeDelta = TimeDelta::days(7);
/// A session is extended only if its last extension is at least this old, so that most requests only read.
const EXTENDED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Creates, finds and ends sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    clock: Clock,
    secret: Arc<SecretString>,
}

impl Sessions {
    /// Opens the sessions under the configured secret, or under one that is generated once and stored encrypted in
    /// the database.
    ///
    /// # Errors
    /// A secret that has to be generated or decrypted could not be.
    pub async fn open(
        db: Db,
        clock: Clock,
        vault: &Vault,
        configured: Option<SecretString>,
    ) -> Result<Self, Error> {
        let secret = match configured {
            Some(secret) => secret,
            None => kept_secret(&db, &clock, vault).await?,
        };
        Ok(Self { db, clock, secret: Arc::new(secret) })
    }

    /// Creates a session and returns the cookie's value, which is not stored.
    pub async fn begin(&self, user: &User) -> Result<SecretString, Error> {
        let id = tokens::new_session_id()?;
        let now = self.clock.now();
        let mut write = self.db.begin().await?;
        db::sessions::insert(&mut write, &self.digest(&id), &user.user_key, now, now + LIFETIME).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Returns the user whose session a cookie's value identifies; `None` if it is unknown or expired.
    pub async fn find(&self, id: &SecretString) -> Result<Option<User>, Error> {
        let (digest, now) = (self.digest(id), self.clock.now());
        let found = db::sessions::find(&mut *self.db.read().await?, &digest, now).await?;
        let Some((user, expires_at)) = found else { return Ok(None) };
        if expires_at - now < LIFETIME - EXTENDED_AFTER {
            let mut write = self.db.begin().await?;
            db::sessions::extend(&mut write, &digest, now + LIFETIME).await?;
            write.commit().await?;
        }
        Ok(Some(user))
    }

    /// Ends a session.
    pub async fn end(&self, id: &SecretString) -> Result<(), Error> {
        let mut write = self.db.begin().await?;
        db::sessions::delete(&mut write, &self.digest(id)).await?;
        write.commit().await?;
        Ok(())
    }

    fn digest(&self, id: &SecretString) -> String {
        tokens::session_digest(&self.secret, id)
    }
}

async fn kept_secret(db: &Db, clock: &Clock, vault: &Vault) -> Result<SecretString, Error> {
    let identity = Identity::InstanceSecret { name: "SESSION_SECRET" };
    let mut write = db.begin().await?;
    if let Some(sealed) = db::secrets::find_of_instance(&mut write, "SESSION_SECRET").await? {
        return vault.open(&identity, &sealed).map_err(Error::SessionSecret);
    }
    let made = tokens::new_session_id()?;
    debug_assert!(made.expose_secret().len() >= 32, "256 bits in base64url");
    let sealed = vault.seal(&identity, &made)?;
    db::secrets::store_of_instance(&mut write, "SESSION_SECRET", &sealed, clock.now()).await?;
    write.commit().await?;
    Ok(made)
}
