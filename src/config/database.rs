//! The database file and the root secrets of encryption: all that `migrate` and `import-d1` need.

use std::path::PathBuf;

use secrecy::SecretString;

use super::environment::Environment;
use super::reader::{ConfigErrors, Reader};

/// The database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The SQLite file, from `DATABASE_URL`; a relative path is relative to the working directory.
    pub path: PathBuf,
}

impl Database {
    /// Reads only the database settings, for `porter migrate`.
    ///
    /// # Errors
    /// `DATABASE_URL` does not name an SQLite file.
    pub fn load(environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(environment);
        read(&mut reader).ok_or_else(|| reader.into_errors())
    }
}

/// The database and its encryption, for `porter import-d1`.
#[derive(Clone, Debug)]
pub struct Import {
    /// `DATABASE_URL`.
    pub database: Database,
    /// `PORTER_SECRET_ENCRYPTION_KEY`.
    pub encryption_root: SecretString,
    /// `PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS`.
    pub encryption_previous: Vec<SecretString>,
}

impl Import {
    /// Reads the settings of `porter import-d1`.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(environment);
        let database = read(&mut reader);
        let (root, encryption_previous) = encryption(&mut reader);
        match (database, root) {
            (Some(database), Some(encryption_root)) => {
                Ok(Self { database, encryption_root, encryption_previous })
            }
            _ => Err(reader.into_errors()),
        }
    }
}

/// Reads `DATABASE_URL`: `sqlite:file`, `sqlite://file` or `sqlite:///absolute/file`. A trailing `?mode=rwc`,
/// which sqlx's tools write, is accepted and has no effect: Porter always opens the file this way.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Database> {
    let text = reader.text("DATABASE_URL")?;
    let Some(rest) = text.strip_prefix("sqlite:") else {
        // The URL of another database may contain a password, so only its scheme is quoted.
        let scheme = text.split_once(':').map_or("no scheme", |(scheme, _)| scheme);
        reader.problem(
            "DATABASE_URL",
            format_args!("has {scheme:?} before the colon; Porter keeps its data in SQLite, for example sqlite://porter.db"),
        );
        return None;
    };
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let path = path.strip_suffix("?mode=rwc").unwrap_or(path);
    if path.contains(":memory:") || path.contains("mode=memory") {
        reader.problem("DATABASE_URL", "names a database in memory, which keeps nothing; name a file");
        return None;
    }
    if path.is_empty() || path.ends_with('/') || path.contains(['?', '#']) {
        reader.problem(
            "DATABASE_URL",
            format_args!(
                "is {text:?}; it must name a file and nothing else, for example sqlite:///data/porter.db"
            ),
        );
        return None;
    }
    Some(Database { path: PathBuf::from(path) })
}

/// Reads the encryption roots: the current one, under its current or older name, and the previous ones.
pub(super) fn encryption(reader: &mut Reader<'_>) -> (Option<SecretString>, Vec<SecretString>) {
    let root =
        reader.secret("PORTER_SECRET_ENCRYPTION_KEY").or_else(|| reader.secret("PORTER_OAUTH_TOKEN_SECRET"));
    if root.is_none() {
        reader.missing("PORTER_SECRET_ENCRYPTION_KEY");
    }
    let previous = reader.own_text("PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS").unwrap_or_default();
    let previous = previous.split(',').map(str::trim).filter(|secret| !secret.is_empty());
    (root, previous.map(SecretString::from).collect())
}
