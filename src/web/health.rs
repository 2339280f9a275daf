//! Health endpoints: liveness, readiness, and a check of the start-up configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Error, ServiceSlot};
use db::Db;
use db::health::{Migrations, Table};
use domain::errors::error_chain;

/// How long the result of the database check is cached: the check migrates an in-memory database, and the endpoint
/// is public.
const FOUND_KEPT: Duration = Duration::from_secs(5);

/// The database, and the state of the environment at the start: names only.
pub struct Health {
    db: Db,
    environment: BTreeMap<String, bool>,
    missing: Vec<String>,
    runner: &'static str,
    /// The result of the last database check and its time.
    database: Mutex<Option<(Instant, Database)>>,
}

/// The database's tables and migrations; `None` if the check failed.
type Database = Option<(Vec<Table>, Migrations)>;

impl Health {
    /// `environment` has all variables that Porter reads, and whether each is set; `missing` those that describe the
    /// GitHub App and are not set; `runner` is `fly` or `local`.
    pub fn new(
        db: Db,
        environment: BTreeMap<String, bool>,
        missing: Vec<String>,
        runner: &'static str,
    ) -> Self {
        Self { db, environment, missing, runner, database: Mutex::default() }
    }

    /// Checks the database, or returns the cached result. Concurrent requests share one check.
    async fn check_database(&self) -> Database {
        let mut latest = self.database.lock().await;
        if let Some((at, found)) = &*latest
            && at.elapsed() < FOUND_KEPT
        {
            return found.clone();
        }
        let checked = db::health::check(&self.db).await;
        // The endpoint is public, so SQLite's message is only logged.
        let found = checked
            .inspect_err(|error| {
                tracing::error!(error = error_chain(error), "the database could not be checked");
            })
            .ok();
        *latest = Some((Instant::now(), found.clone()));
        found
    }
}

/// `GET /healthz`: the process is running.
pub(super) async fn alive() -> Json<serde_json::Value> {
    Json(json!({ "ok": true }))
}

/// `GET /readyz`: the service accepts requests.
pub(super) async fn ready(
    State(health): State<Arc<Health>>,
    State(service): State<ServiceSlot>,
    State(stop): State<CancellationToken>,
) -> Result<Json<serde_json::Value>, Error> {
    if stop.is_cancelled() {
        let message = "Porter is shutting down";
        return Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", message));
    }
    db::health::ping(&mut *health.db.read().await?).await?;
    Ok(Json(json!({ "ok": true, "configured": service.get().is_some() })))
}

/// `GET /api/startup/check` (main-spec §8).
pub(super) async fn startup(
    State(health): State<Arc<Health>>,
    State(service): State<ServiceSlot>,
    State(stop): State<CancellationToken>,
) -> Response {
    let database = health.check_database().await;
    let service = service.get();
    let engine = match &service {
        None => json!({ "running": false }),
        Some(service) => json!({
            "running": !stop.is_cancelled(),
            "runner": health.runner,
            "jobs": service.tasks().backlog().await.ok(),
        }),
    };
    let missing = if service.is_some() { &[][..] } else { &health.missing };
    let fault = database.is_none().then_some("the database could not be checked");
    let (tables, migrations) = database.unzip();
    let tables = tables.unwrap_or_default();
    let sound = fault.is_none()
        && tables.iter().all(|table| table.present && table.columns_ok)
        && migrations.as_ref().is_some_and(|migrations| migrations.pending == 0);
    let ok = sound && service.is_some();
    let body = json!({
        "ok": ok,
        "version": env!("CARGO_PKG_VERSION"),
        "environment": health.environment,
        "missingEnv": missing,
        "d1": { "bindingPresent": true, "connected": fault.is_none(), "error": fault, "tables": tables },
        "migrations": migrations,
        "engine": engine,
    });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}
