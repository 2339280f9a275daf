//! Records a person who has signed in with GitHub. From then on their mentions are accepted (main-spec §5).

use chrono::{DateTime, Utc};
use domain::ids::UserId;
use secrecy::SecretString;

use super::Error;
use crypto::vault::{Identity, Vault};
use db::Db;
use db::users::User;

/// Writes the person's row and their encrypted OAuth token in one transaction.
pub async fn record(
    db: &Db,
    vault: &Vault,
    github_id: UserId,
    login: &str,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<User, Error> {
    let sealed = vault.seal(&Identity::OauthToken { github_user_id: github_id }, token)?;
    let mut write = db.begin().await?;
    let user = db::users::upsert(&mut write, &vault.user_key(github_id), github_id, login, now).await?;
    db::secrets::store_oauth_token(&mut write, github_id, login, &sealed, now).await?;
    write.commit().await?;
    Ok(user)
}
