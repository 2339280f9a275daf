//! Operations for a change of the root secret: counting the stored secrets that can still be decrypted
//! (`porter doctor`), and encrypting them again under the new root (`porter serve`, at its start).
//!
//! The tokens of running attempts are not changed: they expire within the hour.

use super::Error;
use crypto::vault::{Identity, Vault};
use db::Db;
use db::secrets::{self, Place};

/// Returns how many stored secrets can be decrypted, and how many cannot.
pub async fn count(db: &Db, vault: &Vault) -> Result<(usize, usize), Error> {
    let stored = secrets::list_all(&mut *db.read().await?).await?;
    let opened = stored.iter().filter(|(place, sealed)| vault.open(&identity(place), sealed).is_ok()).count();
    Ok((opened, stored.len() - opened))
}

/// Encrypts every secret that is stored under a previous root secret again under the current one, in one
/// transaction. Returns how many were changed, and how many could not be because no root secret decrypts them.
///
/// # Errors
/// [`Error::Db`]; no secret was changed.
pub async fn reseal(db: &Db, vault: &Vault) -> Result<(usize, usize), Error> {
    let mut write = db.begin().await?;
    let (mut resealed, mut closed) = (0, 0);
    for (place, sealed) in secrets::list_all(&mut write).await? {
        match vault.reseal(&identity(&place), &sealed) {
            Ok(None) => {}
            Ok(Some(sealed)) => {
                secrets::replace(&mut write, &place, &sealed).await?;
                resealed += 1;
            }
            Err(_) => closed += 1,
        }
    }
    write.commit().await?;
    Ok((resealed, closed))
}

fn identity(place: &Place) -> Identity<'_> {
    match place {
        Place::OfUser { user_key, provider_id, env_key } => {
            Identity::UserSecret { user_key, provider_id, env_key }
        }
        Place::OauthToken { github_user_id } => Identity::OauthToken { github_user_id: *github_user_id },
        Place::OfInstance { name } => Identity::InstanceSecret { name },
    }
}
