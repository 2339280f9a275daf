//! Do the stored secrets still open? For `porter doctor`, after a change of the root secret.

use crate::crypto::vault::{Identity, Vault};
use crate::db::{self, Db};

/// How many people's secrets and tokens open, and how many do not.
///
/// # Errors
/// [`db::Error`].
pub async fn count(db: &Db, vault: &Vault) -> Result<(usize, usize), db::Error> {
    let mut connection = db.read().await?;
    let (mut opened, mut closed) = (0, 0);
    let mut tally = |opens: bool| if opens { opened += 1 } else { closed += 1 };
    for (user_key, secret) in db::secrets::list_all(&mut connection).await? {
        let identity = Identity::UserSecret {
            user_key: &user_key,
            provider_id: &secret.provider_id,
            env_key: &secret.env_key,
        };
        tally(vault.open(&identity, &secret.sealed).is_ok());
    }
    for (github_user_id, sealed) in db::secrets::list_oauth_tokens(&mut connection).await? {
        tally(vault.open(&Identity::OauthToken { github_user_id }, &sealed).is_ok());
    }
    Ok((opened, closed))
}
