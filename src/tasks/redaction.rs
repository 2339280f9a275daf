//! What an attempt was given to keep secret, so that nothing Porter stores or publishes of it holds any: the
//! worker redacts its reports, but its words are not trusted.
//!
//! `tasks::reports` cleans what it stores, `tasks::sync_issue` and `tasks::publish` what they publish.

use secrecy::ExposeSecret;

use super::{Context, Error, attempt_token, machines};
use domain::redact::Redactor;
use domain::task::Task;

/// Takes out every key that the requester's agents and machines may use, the callback token of the task's attempt, and its
/// installation token while that is kept.
///
/// # Errors
/// [`Error::Credentials`], [`Error::Db`]: nothing may be published then.
pub(super) async fn redactor(context: &Context, task: &Task) -> Result<Redactor, Error> {
    let keyring = context.credentials.load(task.requester.id).await?;
    let callback_token = context.callback_token(&task.id, task.attempt.number);
    let token = attempt_token::open(context, &task.id, task.attempt.number).await?;
    let machines = context.machines.as_ref();
    let scope = machines.scope(&machines::holdings(machines, &keyring), None).ok();
    let credential = scope.and_then(|scope| scope.credential);
    let secrets = keyring.secrets().chain(&credential).chain([&callback_token]).chain(&token);
    Ok(Redactor::new(secrets.map(ExposeSecret::expose_secret)))
}
