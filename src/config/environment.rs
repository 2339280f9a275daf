//! A snapshot of the environment, so that tests pass their own instead of changing the process, and the `.env`
//! file. Values from `.env` are not put into the process's environment, so child processes do not inherit them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The values that [`load_dotenv`] read. The process's own variables take precedence.
static DOTENV: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// Names and values. Blank values count as unset and are omitted. `Debug` prints only the names.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
}

impl Environment {
    /// Returns the process's environment on top of the values that [`load_dotenv`] read. Values that are not UTF-8
    /// are omitted.
    pub fn process() -> Self {
        let own = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.trim().is_empty());
        let file = DOTENV.get().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone()));
        file.chain(own).collect()
    }

    /// Returns the value of a variable; `None` if it is unset or blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Sets a variable and replaces an earlier value; a blank value unsets it.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if value.trim().is_empty() {
            self.values.remove(name);
        } else {
            self.values.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Returns all names and values, ordered by name.
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

/// Returns the value of an environment variable; `None` if it is unset, blank, or not UTF-8.
pub fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let own = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    own.or_else(|| DOTENV.get()?.get(name).cloned())
}

/// The reason a `.env` file was not read. Never contains a line's content, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// The file exists, but cannot be opened or read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A line is not an assignment.
    #[error(
        "{}, line {line}: not of the form NAME=value (put quotes around a value with blanks or #)",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line number, from 1.
        line: usize,
    },
}

/// Reads `.env` from this directory or its nearest ancestor that has one. The process's own variables take
/// precedence. The commands of the service call it once at their start; `porter worker` and the agents do not,
/// because their working directory does not belong to the operator.
///
/// # Errors
/// The file exists but cannot be read or parsed.
pub fn load_dotenv() -> Result<(), DotenvError> {
    let here = std::env::current_dir().unwrap_or_default();
    let Some(path) = here.ancestors().map(|folder| folder.join(".env")).find(|path| path.is_file()) else {
        return Ok(());
    };
    let values = read_dotenv(&path)?;
    DOTENV.get_or_init(|| values);
    Ok(())
}

/// Reads the assignments of one file; blank values count as unset.
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
