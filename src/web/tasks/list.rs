//! `GET /api/tasks` and `GET /api/tasks/history`: a person's tasks by page (main-spec §6).

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;

use super::Tasks;
use super::json::TaskJson;
use crate::web::session::SignedInUser;
use crate::web::{Configured, Error};
use db::task_lists::{Cursor, Filter};
use domain::agent::Registry;
use domain::task::Status;

/// The default page size.
const DEFAULT_LIMIT: u32 = 50;
/// The maximum page size.
const MOST: u32 = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct Parameters {
    status: Option<String>,
    agent: Option<String>,
    repo: Option<String>,
    q: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

type Page = (HeaderMap, Json<Vec<TaskJson>>);

/// `GET /api/tasks`: queued and running tasks first, newest first.
pub(in crate::web) async fn active_first(
    Configured(tasks): Configured<Tasks>,
    user: SignedInUser,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Page, Error> {
    page(tasks, user, parameters, request.uri().path(), false).await
}

/// `GET /api/tasks/history`: tasks that have ended, newest first.
pub(in crate::web) async fn history(
    Configured(tasks): Configured<Tasks>,
    user: SignedInUser,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    request: Request,
) -> Result<Page, Error> {
    page(tasks, user, parameters, request.uri().path(), true).await
}

async fn page(
    all: Tasks,
    SignedInUser(user): SignedInUser,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    path: &str,
    ended: bool,
) -> Result<Page, Error> {
    let Query(parameters) = parameters.map_err(|error| Error::bad_request(error.body_text()))?;
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::bad_request(format!("limit must be from 1 to {MOST}")));
    }
    let cursor = match &parameters.cursor {
        None => None,
        Some(text) => {
            let cursor = Cursor::parse(text);
            Some(cursor.ok_or_else(|| Error::bad_request("cursor must be one that a Link header gave"))?)
        }
    };
    let filter = filter(&all.policy.agents, &parameters, ended)?;
    let mut connection = all.read().await?;
    // One more row than requested shows whether there is a next page.
    let mut tasks =
        db::task_lists::page(&mut connection, user.github_id, &filter, cursor.as_ref(), limit + 1).await?;
    let more = tasks.len() > limit as usize;
    tasks.truncate(limit as usize);
    let mut headers = HeaderMap::new();
    if let (true, Some(last)) = (more, tasks.last()) {
        let link = all.policy.link(&next(path, &parameters, limit, &Cursor::after(last)));
        let link = HeaderValue::try_from(format!("<{link}>; rel=\"next\""));
        headers.insert(header::LINK, link.map_err(|error| Error::internal(&error))?);
    }
    let queued = tasks.iter().filter(|task| task.status == Status::Queued);
    let queued: Vec<&str> = queued.map(|task| task.id.as_str()).collect();
    let positions = match queued.is_empty() {
        true => HashMap::new(),
        false => db::queue::positions(&mut connection, &queued, all.store.now()).await?,
    };
    let page = tasks.into_iter().map(|task| {
        let position = positions.get(task.id.as_str()).copied();
        TaskJson::new(task, position)
    });
    Ok((headers, Json(page.collect())))
}

fn filter(agents: &Registry, parameters: &Parameters, ended: bool) -> Result<Filter, Error> {
    let status = match parameters.status.as_deref() {
        None => None,
        Some(text) => {
            let known: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
            let unknown = || Error::bad_request(format!("status must be one of {}", known.join(", ")));
            Some(Status::parse(text).ok_or_else(unknown)?)
        }
    };
    let agent = parameters.agent.as_deref();
    Ok(Filter {
        status,
        agent: agent.map(|name| agents.find(name).map_or(name, |agent| &agent.id).to_owned()),
        repository: parameters.repo.clone(),
        text: parameters.q.clone().filter(|text| !text.is_empty()),
        ended,
    })
}

fn next(path: &str, parameters: &Parameters, limit: u32, cursor: &Cursor) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let given = [
        ("status", &parameters.status),
        ("agent", &parameters.agent),
        ("repo", &parameters.repo),
        ("q", &parameters.q),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.append_pair("limit", &limit.to_string()).append_pair("cursor", &cursor.to_text());
    format!("{}?{}", path.trim_start_matches('/'), query.finish())
}
