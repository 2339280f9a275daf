//! How urgent a task is: what a command says, and what the line is ordered by.

/// How urgent a task is. On the wire 1, 2, 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After everything else.
    Low = 1,
    /// What is meant when nothing is said.
    #[default]
    Normal = 2,
    /// Before everything else.
    High = 3,
}

impl Priority {
    /// The priority as a command and a label write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority with this name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High]
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
    }

    /// 1 low, 2 normal, 3 high.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// The priority with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Low, Self::Normal, Self::High].into_iter().find(|priority| priority.number() == number)
    }
}
