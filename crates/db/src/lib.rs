//! The database. This is the only crate that uses sqlx. Each file contains the queries of one table or of a few
//! related tables; row types are private, and queries return domain types. Decisions are made elsewhere.
//!
//! One connection writes, and several read. SQLite permits one writer at a time, and waiting in a queue for the
//! connection is better than polling a lock. `synchronous = FULL` makes a commit survive a power failure, which
//! promise 1 (main-spec §1) requires.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Sqlite;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub mod attempts;
pub mod deliveries;
pub mod events;
pub mod health;
pub mod idempotency;
pub mod installations;
pub mod jobs;
pub mod queue;
pub mod secrets;
pub mod sessions;
pub mod task_lists;
pub mod tasks;
pub mod users;

/// A connection, inside or outside a transaction.
pub type Connection = sqlx::SqliteConnection;

/// A connection that only reads.
pub type Reader = PoolConnection<Sqlite>;

/// A write transaction. Dropping it without [`Transaction::commit`] rolls it back.
pub struct Transaction(sqlx::Transaction<'static, Sqlite>);

impl Transaction {
    /// Commits the transaction durably.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then nothing was written.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

/// A database error, by the way in which the caller reacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row that must be unique already exists.
    #[error("the row is already there")]
    Conflict,
    /// The database did not respond or refused the statement: it is busy, full or missing. The caller can try
    /// again later.
    #[error("the database did not take the statement")]
    Unavailable(#[source] sqlx::Error),
    /// A stored value does not have a form that Porter writes.
    #[error("the database holds a value that Porter never writes: {what}")]
    Corrupt {
        /// The name of the value.
        what: String,
    },
    /// The migrations could not be applied.
    #[error("the migrations could not be applied")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(cause) if cause.is_unique_violation() => Self::Conflict,
            _ => Self::Unavailable(error),
        }
    }
}

/// The database of one Porter instance. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// All migrations of this build, in order.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

impl Db {
    /// Opens the database file, and creates it if it does not exist. Applies no migrations.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be opened.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(writer_options(options.clone()))
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers })
    }

    /// Applies the missing migrations.
    ///
    /// # Errors
    /// [`Error::Migration`].
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(MIGRATIONS.run(&self.writer).await?)
    }

    /// Starts a write transaction. Waits until the previous one ends.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// Returns the only connection that writes, for code that starts its own transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn writer(&self) -> Result<PoolConnection<Sqlite>, Error> {
        Ok(self.writer.acquire().await?)
    }

    /// Returns a connection that only reads.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn read(&self) -> Result<Reader, Error> {
        Ok(self.readers.acquire().await?)
    }

    /// Closes every connection. Committed data is in the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Adds the writer's own options to the common ones. The values were measured with `benches/intake`.
fn writer_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        // The undo log of a statement that writes many rows; by default it is a file that is created for every
        // batch.
        .pragma("temp_store", "MEMORY")
        // In KiB; holds the index pages that a burst of writes uses repeatedly.
        .pragma("cache_size", "-16384")
        // In pages (32 MB): a page that a burst of writes changes repeatedly reaches the database file once, not
        // once per megabyte of the log.
        .pragma("wal_autocheckpoint", "8000")
}

/// Returns a time in its stored form, in milliseconds since the Unix epoch.
fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// Returns the time that is stored as `millis`.
fn instant(millis: i64) -> Result<DateTime<Utc>, Error> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| Error::Corrupt { what: format!("the instant {millis}") })
}

/// Parses a stored value with `parse`; `what` is the name of the column in errors.
fn parsed<T>(what: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    parse(text).ok_or_else(|| Error::Corrupt { what: format!("{what} {text:?}") })
}

/// Serializes the rows for one statement that reads them with `json_each`; `what` is the name of a row in
/// errors.
fn json_rows<T: Serialize>(what: &str, rows: &[T]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(|error| Error::Corrupt { what: format!("{what}: {error}") })
}

/// Converts a stored number to its original type.
fn narrow<T: TryFrom<i64>>(what: &str, number: i64) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::Corrupt { what: format!("{what} {number}") })
}

#[cfg(test)]
mod tests;
