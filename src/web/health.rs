//! Whether Porter lives, is ready, and was started as it should be.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Error, Site};
use db::health::{Migrations, Table};

/// How long the database counts as it was found: to look costs a database of its own, and anyone may ask.
const FOUND_KEPT: Duration = Duration::from_secs(5);

/// What the start found in the environment; names only.
#[derive(Debug, Default)]
pub struct Startup {
    /// Every variable Porter knows, and whether it is set.
    pub environment: BTreeMap<String, bool>,
    /// Those that are required and not set.
    pub missing: Vec<String>,
    /// The kind of machines, as `PORTER_RUNNER` names it.
    pub runner: &'static str,
    /// What was found when the database was last looked at, and when that was.
    pub database: Mutex<Option<(Instant, Database)>>,
}

/// The database's tables and migrations; nothing when it could not be looked at.
pub type Database = Option<(Vec<Table>, Migrations)>;

/// `GET /healthz`: the process is alive.
pub(super) async fn alive() -> Json<serde_json::Value> {
    Json(json!({ "ok": true }))
}

/// `GET /readyz`: requests can be taken.
pub(super) async fn ready(State(site): State<Site>) -> Result<Json<serde_json::Value>, Error> {
    if site.stop.is_cancelled() {
        let message = "Porter is shutting down";
        return Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message));
    }
    db::health::ping(&mut *site.db.read().await?).await?;
    Ok(Json(json!({ "ok": true, "configured": site.service.is_some() })))
}

/// `GET /api/startup/check` (contract §8).
pub(super) async fn startup(State(site): State<Site>) -> Response {
    let database = look_at_database(&site).await;
    let engine = match &site.service {
        None => json!({ "running": false }),
        Some(service) => {
            let backlog =
                async { db::jobs::backlog(&mut *site.db.read().await?, service.context.now()).await };
            json!({
                "running": !site.stop.is_cancelled(),
                "runner": site.startup.runner,
                "jobs": backlog.await.ok(),
            })
        }
    };
    let fault = database.is_none().then_some("the database could not be checked");
    let (tables, migrations) = database.unzip();
    let tables = tables.unwrap_or_default();
    let sound = fault.is_none()
        && tables.iter().all(|table| table.present && table.columns_ok)
        && migrations.as_ref().is_some_and(|migrations| migrations.pending == 0);
    let ok = sound && site.startup.missing.is_empty() && site.service.is_some();
    let body = json!({
        "ok": ok,
        "version": env!("CARGO_PKG_VERSION"),
        "environment": site.startup.environment,
        "missingEnv": site.startup.missing,
        "d1": { "bindingPresent": true, "connected": fault.is_none(), "error": fault, "tables": tables },
        "migrations": migrations,
        "engine": engine,
    });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Looks, unless somebody did a moment ago; whoever asks meanwhile waits for that answer.
async fn look_at_database(site: &Site) -> Database {
    let mut latest = site.startup.database.lock().await;
    if let Some((at, found)) = &*latest
        && at.elapsed() < FOUND_KEPT
    {
        return found.clone();
    }
    let checked = db::health::check(&site.db).await;
    // What SQLite says is for the operator's log; whoever asks here may be anyone.
    let found = checked
        .inspect_err(|error| {
            tracing::error!(error = crate::tasks::error_chain(error), "the database could not be checked");
        })
        .ok();
    *latest = Some((Instant::now(), found.clone()));
    found
}
