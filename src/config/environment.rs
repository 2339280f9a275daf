//! The environment as a snapshot, so that tests pass one instead of changing the process; and the `.env`
//! file, whose values stay inside Porter: child processes never inherit them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What [`load_dotenv`] found; the process's own variables win over it.
static DOTENV: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Names and values. Empty values count as unset and are left out. Prints names only.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// What this process was given, on top of what [`load_dotenv`] read. Values that are not UTF-8 are
    /// left out.
    pub fn process() -> Self {
        let own = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.trim().is_empty());
        let file = DOTENV.get().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        file.chain(own).collect()
    }

    /// The value of a variable; nothing when unset or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Sets a variable; the later value wins, a blank one unsets.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if value.trim().is_empty() {
            self.values.remove(name);
        } else {
            self.values.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// All names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { values: pairs.filter(|(_, value): &(String, String)| !value.trim().is_empty()).collect() }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.values.keys()).finish()
    }
}

/// The value of an environment variable; nothing when it is unset, blank, or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let own = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    own.or_else(|| DOTENV.get()?.get(name).cloned())
}

/// Why a `.env` file was not read. Never carries a line's content: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// The file is there, but cannot be opened or read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A line is not an assignment.
    #[error(
        "{}, line {line}: not of the form NAME=value (put quotes around a value with blanks or #)",
        .path.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// Reads `.env` from this folder or the nearest one above it, where there is one; what the process was
/// given wins. The service's commands call it once, at their start; `porter worker` and the agents do not,
/// because the folder they work in is not the operator's.
///
/// # Errors
/// When the file is there but cannot be read or understood.
pub fn load_dotenv() -> Result<(), DotenvError> {
    let here = std::env::current_dir().unwrap_or_default();
    let Some(path) = here.ancestors().map(|folder| folder.join(".env")).find(|path| path.is_file()) else {
        return Ok(());
    };
    let values = read_dotenv(&path)?;
    DOTENV.get_or_init(|| values);
    Ok(())
}

/// The assignments of one file; blank values count as unset.
pub(super) fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>, DotenvError> {
    let unreadable = |source| DotenvError::Unreadable { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mut values = BTreeMap::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((_, value)) if value.trim().is_empty() => {}
            Ok((name, value)) => {
                values.insert(name, value);
            }
            Err(dotenvy::Error::Io(source)) => return Err(unreadable(source)),
            Err(dotenvy::Error::LineParse(content, _)) => {
                let first = content.lines().next().unwrap_or_default().trim();
                let line = text.lines().position(|line| line.trim() == first).map_or(1, |index| index + 1);
                return Err(DotenvError::Malformed { path: path.to_owned(), line });
            }
            Err(_) => return Err(DotenvError::Malformed { path: path.to_owned(), line: 1 }),
        }
    }
    Ok(values)
}
