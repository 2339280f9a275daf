//! What a change of the root secret asks for: whether the stored secrets still open (`porter doctor`), and their way
//! under the new root (`porter serve`, at its start).
//!
//! The tokens of running attempts stay as they are: they end by themselves within the hour.

use crypto::vault::{Identity, Vault};
use db::Db;
use db::secrets::{self, Place};

/// How many stored secrets open, and how many do not.
///
/// # Errors
/// [`db::Error`].
pub async fn count(db: &Db, vault: &Vault) -> Result<(usize, usize), db::Error> {
    let stored = secrets::list_all(&mut *db.read().await?).await?;
    let opened = stored.iter().filter(|(place, sealed)| vault.open(&identity(place), sealed).is_ok()).count();
    Ok((opened, stored.len() - opened))
}

/// Seals anew, under the current root secret, whatever is stored under a previous one, in one write. Gives how many
/// were, and how many could not be: they open with none of the root secrets.
///
/// # Errors
/// [`db::Error`]; then nothing was changed.
pub async fn reseal(db: &Db, vault: &Vault) -> Result<(usize, usize), db::Error> {
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
