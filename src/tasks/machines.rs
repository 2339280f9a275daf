//! A person's stored secrets and settings for the kind of machines that this Porter starts.

use super::{Context, Error, attempt_token};
use crate::accounts::credentials::Keyring;
use crate::runner::{Holdings, MachineProvider, Scope};
use db::users::Person;
use domain::settings::Settings;
use domain::task::Task;

/// Returns the person's secrets with their values, and their settings.
pub(super) fn holdings<'a>(machines: &dyn MachineProvider, keyring: &'a Keyring) -> Holdings<'a> {
    Holdings::opened(&keyring.settings, keyring.machine_secrets(machines.kind()))
}

/// Returns the names of the person's secrets, and their settings.
pub(super) fn stored<'a>(
    machines: &dyn MachineProvider,
    person: &'a Person,
    settings: &'a Settings,
) -> Holdings<'a> {
    let own = person.secrets.iter().filter(|secret| secret.provider == machines.kind());
    Holdings::named(settings, own.map(|secret| secret.env_key.as_str()))
}

/// Returns the scope of the attempt's machine. It is the place that the launch chose, even if the person's settings
/// have changed since. Returns `None` when the person no longer has the required secrets or settings.
///
/// # Errors
/// [`Error::Db`], [`Error::Credentials`].
pub(super) async fn scope_of(context: &Context, task: &Task, attempt: u32) -> Result<Option<Scope>, Error> {
    let person = context.credentials.load(task.requester.id).await?;
    let kept = attempt_token::find(context, &task.id, attempt).await?;
    let place = kept.as_ref().and_then(|kept| kept.place.as_deref());
    let machines = context.machines.as_ref();
    Ok(machines.scope(&holdings(machines, &person), place).ok())
}
