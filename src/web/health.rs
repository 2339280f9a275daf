//! Health endpoints: liveness, readiness, and a check of the start-up configuration.

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

/// How long the result of the database check is cached: the check migrates an in-memory database, and the endpoint
/// is public.
const FOUND_KEPT: Duration = Duration::from_secs(5);

/// The state of the environment at the start; names only.
#[derive(Debug, Default)]
pub struct Startup {
    /// All variables that Porter reads, and whether each is set.
    pub environment: BTreeMap<String, bool>,
    /// Required variables that are not set.
    pub missing: Vec<String>,
    /// The kind of machines, as `PORTER_RUNNER` names it.
    pub runner: &'static str,
    /// The result of the last database check and its time.
    pub database: Mutex<Option<(Instant, Database)>>,
}

/// The database's tables and migrations; `None` if the check failed.
pub type Database = Option<(Vec<Table>, Migrations)>;

/// `GET /healthz`: the process is running.
pub(super) async fn alive() -> Json<serde_json::Value> {
    Json(json!({ "ok": true }))
}

/// `GET /readyz`: the service accepts requests.
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

/// Checks the database, or returns the cached result. Concurrent requests share one check.
async fn look_at_database(site: &Site) -> Database {
    let mut latest = site.startup.database.lock().await;
    if let Some((at, found)) = &*latest
        && at.elapsed() < FOUND_KEPT
    {
        return found.clone();
    }
    let checked = db::health::check(&site.db).await;
    // The endpoint is public, so SQLite's message is only logged.
    let found = checked
        .inspect_err(|error| {
            tracing::error!(error = crate::tasks::error_chain(error), "the database could not be checked");
        })
        .ok();
    *latest = Some((Instant::now(), found.clone()));
    found
}
