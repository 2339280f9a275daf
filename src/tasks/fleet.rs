//! Where a person's machines are: their own Fly app, or, in development, processes of this machine.

use std::sync::Arc;

use crate::accounts::credentials::Keyring;
use crate::fly;
use crate::runner::Runner;
use crate::runner::fly::FlyRunner;
use crate::runner::local::LocalRunner;

/// The kind of machines this Porter starts. Cheap to clone.
#[derive(Clone)]
pub enum Fleet {
    /// Each person's own Fly app, with their own token.
    Fly(fly::Api),
    /// Processes of this machine, for everyone.
    Local(Arc<LocalRunner>),
}

impl Fleet {
    /// The machines of a person; nothing when they have no token or no app.
    pub fn find(&self, person: &Keyring) -> Option<Arc<dyn Runner>> {
        match self {
            Self::Local(runner) => Some(runner.clone()),
            Self::Fly(api) => {
                let (token, app) = (person.fly_token.as_ref()?, person.fly_app.as_ref()?);
                // A token that cannot stand in a header is none.
                Some(Arc::new(FlyRunner::new(api.client(token).ok()?, app)))
            }
        }
    }

    /// Whether a person needs a Fly token and app.
    pub fn is_fly(&self) -> bool {
        matches!(self, Self::Fly(_))
    }
}
