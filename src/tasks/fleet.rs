//! Where a person's machines are: their own Fly app, or, in development, processes of this machine.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::{Context, Error, attempt_token};
use crate::accounts::credentials::Keyring;
use crate::runner::{Backend, Runner};
use domain::task::Task;

/// The machines that this Porter starts. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(pub Backend);

/// One place where machines are, as one token shows it.
pub struct Place {
    /// Its machines.
    pub runner: Arc<dyn Runner>,
    /// Its Fly app; nothing where machines are not Fly's.
    pub app: Option<String>,
    token: Option<SecretString>,
}

impl Place {
    /// Whether one question answers for both. The same app with another token is another place: one person's bad
    /// token must not hide the machines of others.
    pub fn is_same(&self, other: &Self) -> bool {
        let (one, another) = (self.token.as_ref(), other.token.as_ref());
        let same_token = one.map(ExposeSecret::expose_secret) == another.map(ExposeSecret::expose_secret);
        self.app == other.app && same_token
    }
}

impl Fleet {
    /// Where a person's machines are: in `app`, or, when none is named, in the one the person has chosen; nothing
    /// when they have no usable token or no app.
    pub fn place(&self, person: &Keyring, app: Option<&str>) -> Option<Place> {
        match &self.0 {
            Backend::Local(runner) => {
                Some(Place { runner: Arc::new(runner.clone()), app: None, token: None })
            }
            Backend::Fly(_) => {
                let (token, app) = (person.fly_token.clone()?, app.or(person.fly_app.as_deref())?);
                let runner = self.0.runner(&token, app).ok()?;
                Some(Place { runner, app: Some(app.to_owned()), token: Some(token) })
            }
        }
    }

    /// Whether a person needs a Fly token and app.
    pub fn is_fly(&self) -> bool {
        matches!(self.0, Backend::Fly(_))
    }
}

/// Where the machine of a task's attempt is: in the app that its launch chose, whatever the person has chosen since.
///
/// # Errors
/// [`Error::Db`], [`Error::Credentials`].
pub(super) async fn place_of(context: &Context, task: &Task, attempt: u32) -> Result<Option<Place>, Error> {
    let person = context.credentials.load(task.requester.id).await?;
    let kept = attempt_token::find(context, &task.id, attempt).await?;
    Ok(context.fleet.place(&person, kept.as_ref().and_then(|kept| kept.fly_app.as_deref())))
}
