//! Reference measurements on the same machine directly before Porter's.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use crypto::webhook;
use secrecy::SecretString;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::payload::SECRET;

/// Returns the number of single-row commits per second to SQLite with Porter's durability settings.
pub async fn sqlite_commits(path: &Path, span: Duration) -> anyhow::Result<f64> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::query("CREATE TABLE peer (id INTEGER PRIMARY KEY, guid TEXT NOT NULL)")
        .execute(&mut connection)
        .await?;
    let (began, mut commits) = (Instant::now(), 0_u32);
    while began.elapsed() < span {
        sqlx::query("INSERT INTO peer (guid) VALUES (?)")
            .bind(uuid::Uuid::new_v4().to_string())
            .execute(&mut connection)
            .await?;
        commits += 1;
    }
    let per_second = f64::from(commits) / began.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(per_second)
}

/// A server in its own process that checks the signature and answers.
pub struct SignatureCheck {
    child: Child,
    pub address: SocketAddr,
}

impl SignatureCheck {
    pub fn start() -> anyhow::Result<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("--peer").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the peer has no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }
}

impl Drop for SignatureCheck {
    fn drop(&mut self) {
        // Errors are ignored: if the process has already exited, the measurement has failed before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the peer in its own process.
#[tokio::main]
pub async fn serve_signature_check() -> anyhow::Result<()> {
    let secret = SecretString::from(SECRET);
    let check = move |headers: HeaderMap, body: Bytes| {
        let signature = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
        let signed = signature.is_some_and(|signature| webhook::verify(&secret, &body, signature));
        std::future::ready(match signed {
            true => (StatusCode::ACCEPTED, r#"{"status":"accepted"}"#),
            false => (StatusCode::UNAUTHORIZED, ""),
        })
    };
    let router = axum::Router::new().route("/api/webhooks/github", post(check));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
