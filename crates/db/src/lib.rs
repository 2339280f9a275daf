//! The database: the only module that names sqlx. One file per table or closely knit group of tables;
//! rows stay private and leave as domain values. Decisions are made elsewhere.
//!
//! One connection writes, several read: SQLite has one writer anyway, and a queue in front of it is better
//! than a lock that is polled. `synchronous = FULL` makes a commit survive a power cut, which promise 1
//! (main-spec §1) rests on.

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

/// A connection, whether inside a transaction or not.
pub type Connection = sqlx::SqliteConnection;

/// A connection that only reads.
pub type Reader = PoolConnection<Sqlite>;

/// A write in the making; dropped without [`Transaction::commit`], nothing of it was written.
pub struct Transaction(sqlx::Transaction<'static, Sqlite>);

impl Transaction {
    /// Makes the write durable.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; then nothing of it was written.
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

/// What went wrong with the database, by how the caller reacts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row that must be unique is already there.
    #[error("the row is already there")]
    Conflict,
    /// The database did not answer, or refused: busy, full, gone. Try again later.
    #[error("the database did not take the statement")]
    Unavailable(#[source] sqlx::Error),
    /// A stored value is not one that Porter writes.
    #[error("the database holds a value that Porter never writes: {what}")]
    Corrupt {
        /// Which value.
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

/// The database of one Porter. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Every migration of this build, in order.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

impl Db {
    /// Opens the file, making it when it is not there. Applies no migration.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be opened.
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

    /// Applies what migrations are missing.
    ///
    /// # Errors
    /// [`Error::Migration`].
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(MIGRATIONS.run(&self.writer).await?)
    }

    /// Begins a write. Waits for the one before it to end.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(Transaction(self.writer.begin_with("BEGIN IMMEDIATE").await?))
    }

    /// The one connection that writes, for what begins its own transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn writer(&self) -> Result<PoolConnection<Sqlite>, Error> {
        Ok(self.writer.acquire().await?)
    }

    /// A connection that only reads.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn read(&self) -> Result<Reader, Error> {
        Ok(self.readers.acquire().await?)
    }

    /// Closes every connection; what was committed is in the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// What the writer needs beside what every connection has, found with `benches/intake`.
fn writer_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        // The undo log of a statement that writes many rows, which otherwise is a file made for every batch.
        .pragma("temp_store", "MEMORY")
        // KiB; holds the pages of the indexes that a burst comes back to.
        .pragma("cache_size", "-16384")
        // Pages, 32 MB: pages that a burst comes back to reach the database file once, not once a megabyte.
        .pragma("wal_autocheckpoint", "8000")
}

/// An instant as it is stored.
fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// A stored instant.
fn instant(millis: i64) -> Result<DateTime<Utc>, Error> {
    DateTime::from_timestamp_millis(millis)
        .ok_or_else(|| Error::Corrupt { what: format!("the instant {millis}") })
}

/// A stored value read back by `parse`; `what` names the column.
fn parsed<T>(what: &str, text: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    parse(text).ok_or_else(|| Error::Corrupt { what: format!("{what} {text:?}") })
}

/// Many rows for one statement, which reads them with `json_each`; `what` names one of them.
fn json_rows<T: Serialize>(what: &str, rows: &[T]) -> Result<String, Error> {
    serde_json::to_string(rows).map_err(|error| Error::Corrupt { what: format!("{what}: {error}") })
}

/// A stored number that must fit the type it had.
fn narrow<T: TryFrom<i64>>(what: &str, number: i64) -> Result<T, Error> {
    T::try_from(number).map_err(|_| Error::Corrupt { what: format!("{what} {number}") })
}

#[cfg(test)]
mod tests;
