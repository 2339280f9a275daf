//! The installation token of an attempt's worker, restricted to the task's repository. Each attempt has one. It is
//! stored encrypted in the table of attempt tokens, together with the place of the attempt's machine, and revoked
//! when the attempt ends (main-spec §1, promise 3).

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{Context, Error};
use crypto::vault::Identity;
use db::secrets::AttemptToken;
use domain::task::{Task, TaskId};

/// The greatest age at which a stored token is used for a new machine. GitHub's installation tokens expire after one
/// hour.
const TOKEN_REUSE_LIMIT: TimeDelta = TimeDelta::minutes(15);

/// Returns the token that an earlier try of the attempt's launch stored, or `None` when there is none or it was
/// revoked.
///
/// # Errors
/// [`Error::Db`].
pub(super) async fn find(
    context: &Context,
    id: &TaskId,
    attempt: u32,
) -> Result<Option<AttemptToken>, Error> {
    Ok(db::secrets::find_attempt_token(&mut *context.store.read().await?, id, attempt).await?)
}

/// Returns the attempt's token for a machine in `place`: the `kept` token of an earlier try of the launch, or a new
/// one.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`], [`Error::Credentials`].
pub(super) async fn obtain(
    context: &Context,
    github: &github::Installation,
    task: &Task,
    kept: Option<AttemptToken>,
    place: Option<String>,
) -> Result<SecretString, Error> {
    match kept {
        Some(kept) if kept.made_at > context.now() - TOKEN_REUSE_LIMIT => {
            let identity = identity(&task.id, task.attempt.number);
            if let Ok(token) = context.credentials.vault().open(&identity, &kept.sealed) {
                return Ok(token);
            }
        }
        Some(_) => take_back(context, &task.id, task.attempt.number).await?,
        None => {}
    }
    let token = github.narrowed_token(&task.repository.full_name.name, &[("contents", "write")]).await?.token;
    let sealed = context
        .credentials
        .vault()
        .seal(&identity(&task.id, task.attempt.number), &token)
        .map_err(crate::accounts::Error::from)?;
    let made = AttemptToken { sealed, place, made_at: context.now() };
    let mut work = context.store.begin().await?;
    db::secrets::store_attempt_token(&mut work, &task.id, task.attempt.number, &made).await?;
    work.commit().await?;
    Ok(token)
}

/// Returns the attempt's token for redaction, or `None` when it was revoked or cannot be decrypted.
///
/// # Errors
/// [`Error::Db`].
pub(super) async fn open(
    context: &Context,
    id: &TaskId,
    attempt: u32,
) -> Result<Option<SecretString>, Error> {
    let kept = find(context, id, attempt).await?;
    Ok(kept.and_then(|kept| context.credentials.vault().open(&identity(id, attempt), &kept.sealed).ok()))
}

/// Revokes the attempt's token, if it has one.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`]; then the token must still be revoked.
pub(super) async fn take_back(context: &Context, id: &TaskId, attempt: u32) -> Result<(), Error> {
    let Some(kept) = find(context, id, attempt).await? else { return Ok(()) };
    match context.credentials.vault().open(&identity(id, attempt), &kept.sealed) {
        Ok(token) => context.github.revoke(&token).await?,
        // It expires by itself within the hour.
        Err(error) => {
            tracing::warn!(
                task.id = %id,
                error = %error,
                "a stored token could not be decrypted and was not revoked"
            );
        }
    }
    let mut work = context.store.begin().await?;
    db::secrets::forget_attempt_token(&mut work, id, attempt).await?;
    work.commit().await?;
    Ok(())
}

fn identity(id: &TaskId, attempt: u32) -> Identity<'_> {
    Identity::AttemptToken { task_id: id.as_str(), attempt }
}
