//! The one credential an attempt's worker holds: an installation token for its repository alone. It is minted
//! once an attempt, kept sealed, and taken back when the attempt ends (main-spec §1, promise 3). With it is kept
//! where the attempt's machine is.

use chrono::TimeDelta;
use secrecy::SecretString;

use super::{Context, Error};
use crypto::vault::Identity;
use db::secrets::AttemptToken;
use domain::task::{Task, TaskId};

/// A token lives an hour. One that is younger than this is still good for a machine that starts now.
const TOKEN_REUSE_LIMIT: TimeDelta = TimeDelta::minutes(15);

/// What an earlier try of the attempt's launch kept; nothing when there was none, or when it was taken back.
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

/// The attempt's token for a machine in `fly_app`: the one that an earlier try of its launch `kept`, or a new one.
///
/// # Errors
/// [`Error::Github`], [`Error::Db`], [`Error::Credentials`].
pub(super) async fn obtain(
    context: &Context,
    github: &github::Installation,
    task: &Task,
    kept: Option<AttemptToken>,
    fly_app: Option<String>,
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
    let made = AttemptToken { sealed, fly_app, made_at: context.now() };
    let mut work = context.store.begin().await?;
    db::secrets::store_attempt_token(&mut work, &task.id, task.attempt.number, &made).await?;
    work.commit().await?;
    Ok(token)
}

/// The token an attempt holds, to take it out of what the attempt says; nothing when it was taken back, or does
/// not open.
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
/// [`Error::Github`], [`Error::Db`]; then it is still to be taken back.
pub(super) async fn take_back(context: &Context, id: &TaskId, attempt: u32) -> Result<(), Error> {
    let Some(kept) = find(context, id, attempt).await? else { return Ok(()) };
    match context.credentials.vault().open(&identity(id, attempt), &kept.sealed) {
        Ok(token) => context.github.revoke(&token).await?,
        // It expires by itself within the hour.
        Err(error) => tracing::warn!(task.id = %id, error = %error, "a token could not be taken back"),
    }
    let mut work = context.store.begin().await?;
    db::secrets::forget_attempt_token(&mut work, id, attempt).await?;
    work.commit().await?;
    Ok(())
}

fn identity(id: &TaskId, attempt: u32) -> Identity<'_> {
    Identity::AttemptToken { task_id: id.as_str(), attempt }
}
