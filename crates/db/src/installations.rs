//! `installations` and `installation_repositories`: the App's installations, as GitHub's webhooks describe them.

use chrono::{DateTime, Utc};

use super::{Connection, Error, json_rows, millis};
use domain::ids::{InstallationId, RepositoryId};

/// An installation, as a webhook describes it.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The installation's id on GitHub.
    pub id: InstallationId,
    /// The login of the account that the App is installed on.
    pub account_login: String,
    /// `User` or `Organization`.
    pub account_type: String,
    /// `all` or `selected`.
    pub repository_selection: String,
    /// Whether the installation is suspended. A suspended installation cannot be used.
    pub suspended: bool,
}

/// Inserts or updates an installation.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn upsert(
    connection: &mut Connection,
    installation: &Installation,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let (id, now) = (installation.id.get(), millis(now));
    let suspended_at = installation.suspended.then_some(now);
    sqlx::query!(
        "INSERT INTO installations
           (installation_id, account_login, account_type, repository_selection, suspended_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT(installation_id) DO UPDATE SET account_login = ?2, account_type = ?3,
           repository_selection = ?4, suspended_at = ?5, updated_at = ?6",
        id,
        installation.account_login,
        installation.account_type,
        installation.repository_selection,
        suspended_at,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes an installation and its repositories.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn delete(connection: &mut Connection, id: InstallationId) -> Result<(), Error> {
    let id = id.get();
    sqlx::query!("DELETE FROM installations WHERE installation_id = ?", id).execute(connection).await?;
    Ok(())
}

/// Adds repositories to a known installation.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn add_repositories(
    connection: &mut Connection,
    id: InstallationId,
    repositories: &[(RepositoryId, String)],
) -> Result<(), Error> {
    let id = id.get();
    for (repo_id, full_name) in repositories {
        let repo_id = repo_id.get();
        sqlx::query!(
            "INSERT INTO installation_repositories (installation_id, repo_id, full_name) VALUES (?1, ?2, ?3)
             ON CONFLICT(installation_id, repo_id) DO UPDATE SET full_name = ?3",
            id,
            repo_id,
            full_name
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Removes repositories from an installation.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn remove_repositories(
    connection: &mut Connection,
    id: InstallationId,
    repositories: &[(RepositoryId, String)],
) -> Result<(), Error> {
    let id = id.get();
    for (repo_id, _) in repositories {
        let repo_id = repo_id.get();
        sqlx::query!(
            "DELETE FROM installation_repositories WHERE installation_id = ? AND repo_id = ?",
            id,
            repo_id
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Returns those of these installations that are known to be suspended and therefore cannot be used.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list_suspended(
    connection: &mut Connection,
    ids: &[InstallationId],
) -> Result<Vec<InstallationId>, Error> {
    let ids = json_rows("an installation's id", ids)?;
    let suspended = sqlx::query_scalar!(
        "SELECT installation_id FROM installations
         WHERE installation_id IN (SELECT value FROM json_each(?)) AND suspended_at IS NOT NULL",
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(suspended.into_iter().map(InstallationId::new).collect())
}
