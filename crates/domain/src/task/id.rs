//! The identifier of a task.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A task's identifier: `task_` and a time-ordered UUID in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// Returns a new id. `at` makes ids sort by age.
    pub fn new(at: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, at.timestamp_subsec_nanos());
        Self(format!("task_{}", Uuid::new_v7(time).simple()))
    }

    /// Parses an id; returns `None` unless `text` is `task_` and up to 64 characters of `[0-9A-Za-z_-]`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("task_")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (!rest.is_empty() && rest.len() <= 64 && rest.chars().all(plain)).then(|| Self(text.to_owned()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the only branch to which an agent's work is pushed.
    pub fn branch(&self) -> String {
        format!("porter/{}", self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
