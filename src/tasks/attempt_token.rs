//! The one credential an attempt's worker holds: an installation token for its repository alone. It is minted
//! once an attempt, kept sealed, and taken back when the attempt ends (contract §1, promise 3).

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{Context, Error};
use crate::crypto::vault::Identity;
use crate::db;
use crate::domain::task::{Task, TaskId};
use crate::github;

/// A token lives an hour. One that is younger than this is still good for a machine that starts now.
const YOUNG: TimeDelta = TimeDelta::minutes(15);

/// The attempt's token: the one an earlier try of its launch minted, since a machine may hold it by now, or a
/// new one.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`], [`Error::Credentials`].
pub(super) async fn obtain(
    context: &Context,
    github: &github::Installation,
    task: &Task,
) -> Result<SecretString, Error> {
    let since = context.now() - YOUNG;
    let kept =
        db::secrets::find_attempt_token(&mut *context.db.read().await?, &task.id, task.attempt).await?;
    match kept {
        Some((sealed, made_at)) if made_at > since => {
            if let Ok(token) = context.credentials.vault().open(&identity(&task.id, task.attempt), &sealed) {
                return Ok(token);
            }
        }
        Some(_) => take_back(context, &task.id, task.attempt).await?,
        None => {}
    }
    let token = github.narrowed_token(&task.repository.name, &[("contents", "write")]).await?.token;
    let sealed = context
        .credentials
        .vault()
        .seal(&identity(&task.id, task.attempt), &token)
        .map_err(crate::accounts::credentials::Error::from)?;
    let mut write = context.db.begin().await?;
    db::secrets::store_attempt_token(&mut write, &task.id, task.attempt, &sealed, context.now()).await?;
    db::commit(write).await?;
    Ok(token)
}

/// Revokes the attempt's token, if it has one.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`]; then it is still to be taken back.
pub(super) async fn take_back(context: &Context, id: &TaskId, attempt: u32) -> Result<(), Error> {
    let kept = db::secrets::find_attempt_token(&mut *context.db.read().await?, id, attempt).await?;
    let Some((sealed, _)) = kept else { return Ok(()) };
    match context.credentials.vault().open(&identity(id, attempt), &sealed) {
        Ok(token) => context.github.revoke(&token).await?,
        // It expires by itself within the hour.
        Err(error) => tracing::warn!(task.id = %id, error = %error, "a token could not be taken back"),
    }
    let mut write = context.db.begin().await?;
    db::secrets::forget_attempt_token(&mut write, id, attempt).await?;
    db::commit(write).await?;
    Ok(())
}

fn identity(id: &TaskId, attempt: u32) -> Identity<'_> {
    Identity::AttemptToken { task_id: id.as_str(), attempt }
}
