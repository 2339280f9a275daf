//! The priority of a task, which commands set and which orders the queue.

/// The priority of a task. Its serialized form is 1, 2 or 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Runs after all other tasks.
    Low = 1,
    /// The default.
    #[default]
    Normal = 2,
    /// Runs before all other tasks.
    High = 3,
}

impl Priority {
    /// Returns the priority as commands and labels write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Returns the priority with this name, regardless of case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
    }

    /// Returns 1 for low, 2 for normal, 3 for high.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// Returns the priority with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High].into_iter().find(|priority| priority.number() == number)
    }
}
