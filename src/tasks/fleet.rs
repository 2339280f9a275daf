//! Where a person's machines are: their own Fly app, or, in development, processes of this machine.

use std::sync::Arc;

use crate::accounts::credentials::Keyring;
use crate::runner::{Backend, Runner};

/// The machines that this Porter starts. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(pub Backend);

impl Fleet {
    /// The machines of a person; nothing when they have no usable token or no app.
    pub fn find(&self, person: &Keyring) -> Option<Arc<dyn Runner>> {
        match &self.0 {
            Backend::Local(runner) => Some(Arc::new(runner.clone())),
            Backend::Fly(_) => self.0.runner(person.fly_token.as_ref()?, person.fly_app.as_ref()?).ok(),
        }
    }

    /// Whether a person needs a Fly token and app.
    pub fn is_fly(&self) -> bool {
        matches!(self.0, Backend::Fly(_))
    }
}
