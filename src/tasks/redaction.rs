//! Redacts the secrets that an attempt was given from everything that Porter stores or publishes about it. The worker
//! redacts its reports too, but its output is not trusted.
//!
//! `tasks::reports` redacts what it stores; `tasks::sync_issue` and `tasks::publish` redact what they publish.

use secrecy::ExposeSecret;

use super::{Context, Error, attempt_token, machines};
use domain::redact::Redactor;
use domain::task::Task;

/// Returns a redactor for every key that the requester's agents and machines may use, the callback token of the
/// task's attempt, and its installation token while that is stored.
///
/// # Errors
/// [`Error::Credentials`], [`Error::Db`]: then nothing may be published.
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
