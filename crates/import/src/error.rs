//! Errors of an import. The messages name the fault and what to do about it, and never quote a value of the
//! export.

use std::fmt;

use crypto::vault::{OpenError, SealError};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is not a complete export of the earlier Porter.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Settings that are not a JSON object.
    #[error("the settings of user {} in the export are no JSON object", user_key.escape_debug())]
    BadSettings {
        /// The user's key.
        user_key: String,
    },
    /// A row of a user who is neither in the export nor stored.
    #[error("the export holds {row}, but not that user; is it complete?")]
    NoUser {
        /// The row.
        row: String,
    },
    /// Secrets that cannot be decrypted.
    #[error(transparent)]
    Unopenable(#[from] Unopenable),
    /// A secret cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Porter's database fails.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The rows of the secrets that no configured root secret decrypts.
#[derive(Debug, thiserror::Error)]
pub struct Unopenable {
    pub(crate) rows: Vec<(String, OpenError)>,
    pub(crate) of: usize,
}

/// Why a file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file ends within a statement.
    #[error("the export ends within the statement that begins on line {line}; was it cut short?")]
    CutShort {
        /// The line on which the unfinished statement begins, from 1.
        line: usize,
    },
    /// `BEGIN` without `COMMIT`.
    #[error("the export begins a transaction and never commits it; was it cut short?")]
    NoCommit,
    /// One of the four tables is not created.
    #[error("the export has no table `{0}`; is it complete, and of the earlier Porter?")]
    NoTable(&'static str),
    /// A statement that no export contains.
    #[error("line {line} of the export: {what} is not allowed there")]
    NotAllowed {
        /// The line on which the statement begins, from 1.
        line: usize,
        /// The statement's name, or the part that is not allowed.
        what: String,
    },
    /// SQLite cannot execute a statement.
    #[error("line {line} of the export, {name}: SQLite refuses it: {message}")]
    Refused {
        /// The line on which the statement begins, from 1.
        line: usize,
        /// The statement's name.
        name: String,
        /// SQLite's message.
        message: String,
    },
    /// The export exceeds a limit.
    #[error("the export is refused because it needs more than {0}; export only the earlier Porter's tables")]
    LimitExceeded(String),
    /// One of the four tables lacks a required column.
    #[error("table `{table}` of the export has no column `{column}`")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// Its column.
        column: String,
    },
    /// A value of the wrong type.
    #[error("row {row} of table `{table}` of the export has an unusable `{column}`")]
    BadValue {
        /// The table.
        table: &'static str,
        /// The row's number, from 1.
        row: usize,
        /// The column.
        column: String,
    },
    /// The database in memory fails.
    #[error("the scratch database failed")]
    Scratch(#[from] rusqlite::Error),
}

impl fmt::Display for Unopenable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, of } = self;
        write!(f, "{} of {of} secrets of the export do not open", rows.len())?;
        if rows.iter().any(|(_, error)| *error == OpenError::WrongKey) {
            f.write_str(if rows.len() == *of {
                "; is PORTER_SECRET_ENCRYPTION_KEY the earlier Porter's (there: PORTER_OAUTH_TOKEN_SECRET)?"
            } else {
                "; were they made under an older root secret (PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS), or altered?"
            })?;
        }
        for (row, error) in rows {
            write!(f, "\n  {row}: {error}")?;
        }
        Ok(())
    }
}
