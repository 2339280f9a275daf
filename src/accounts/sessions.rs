//! Sessions: seven days, sliding (contract §8). The cookie carries an opaque id; the database keeps a digest
//! of it under the session secret, so a copy of the database signs nobody in.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};

use crypto::vault::{Identity, OpenError, SealError, Vault};
use crypto::{NoRandomness, tokens};
use db::Db;
use db::users::User;
use domain::clock::Clock;

/// How long a session lasts without being used.
pub const LIFETIME: TimeDelta = TimeDelta::days(7);
/// A session is extended when it was used this long after the last time, so that reads stay reads.
const EXTENDED_AFTER: TimeDelta = TimeDelta::hours(1);

/// Why a session could not be made or looked up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database failed")]
    Db(#[from] db::Error),
    /// The operating system.
    #[error("no random bytes could be had")]
    NoRandomness(#[from] NoRandomness),
    /// The kept session secret.
    #[error("the session secret in the database does not open; was PORTER_SECRET_ENCRYPTION_KEY changed?")]
    Open(#[from] OpenError),
    /// The kept session secret.
    #[error("the session secret could not be sealed")]
    Seal(#[from] SealError),
}

/// Begins, finds and ends sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    clock: Clock,
    secret: Arc<SecretString>,
}

impl Sessions {
    /// Sessions under the configured secret, or under one that is made once and kept sealed in the database.
    ///
    /// # Errors
    /// [`Error`], when a secret has to be made or opened and cannot.
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

    /// Begins a session. Gives the cookie's value; it is stored nowhere.
    ///
    /// # Errors
    /// [`Error::Db`], [`Error::NoRandomness`].
    pub async fn begin(&self, user: &User) -> Result<SecretString, Error> {
        let id = tokens::new_session_id()?;
        let now = self.clock.now();
        let mut write = self.db.begin().await?;
        db::sessions::insert(&mut write, &self.digest(&id), &user.user_key, now, now + LIFETIME).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Whose session a cookie's value is; nothing when it is nobody's, or over.
    ///
    /// # Errors
    /// [`Error::Db`].
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
    ///
    /// # Errors
    /// [`Error::Db`].
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
        return Ok(vault.open(&identity, &sealed)?);
    }
    let made = tokens::new_session_id()?;
    debug_assert!(made.expose_secret().len() >= 32, "256 bits in base64url");
    let sealed = vault.seal(&identity, &made)?;
    db::secrets::store_of_instance(&mut write, "SESSION_SECRET", &sealed, clock.now()).await?;
    write.commit().await?;
    Ok(made)
}
