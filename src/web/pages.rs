//! The pages that comments link to: the home page and the page of a task.

use askama::Template;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Response};

use super::session::SignedInUser;
use super::tasks::Tasks;
use super::{Configured, Error, ServiceSlot, Site};
use db::events::Event;
use domain::event::TaskEvent;
use domain::task::Task;

/// The maximum number of events on a task's page; the latest ones are shown.
const MAX_LINES: i64 = 2000;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    configured: bool,
    agents: Vec<String>,
}

/// `GET /`.
pub(super) async fn home(State(service): State<ServiceSlot>) -> Result<Html<String>, Error> {
    let agents = service.get().map(|service| service.policy().agent_ids());
    render(&Home { configured: agents.is_some(), agents: agents.unwrap_or_default() })
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    task: Task,
    agent: String,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    title: &'static str,
    text: &'static str,
}

/// The visitor of a page, signed in or not.
pub(super) struct Visitor(Option<SignedInUser>);

impl FromRequestParts<Site> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Error> {
        Ok(Self(SignedInUser::from_request_parts(parts, site).await.ok()))
    }
}

/// `GET /tasks/:id`, for the owner of the task.
pub(super) async fn task(
    Configured(tasks): Configured<Tasks>,
    Visitor(visitor): Visitor,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let Some(SignedInUser(user)) = visitor else {
        let text = "A task can be seen by the person who asked for it, once they have signed in.";
        let page = render(&Message { title: "Sign in to see this task", text })?;
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    };
    let Ok(task) = tasks.find_own(&user, &id).await else {
        let text = "There is no such task, or it is somebody else's.";
        let page = render(&Message { title: "Not found", text })?;
        return Ok((StatusCode::NOT_FOUND, page).into_response());
    };
    let mut connection = tasks.read().await?;
    let events = db::events::list_last(&mut connection, &task.id, MAX_LINES).await?;
    let agent = tasks.policy().agents.name_of(&task.agent).to_owned();
    let lines = events.iter().map(line).collect();
    Ok(render(&TaskPage { task, agent, lines })?.into_response())
}

/// Formats an event as one line of the page.
fn line(stored: &Event) -> String {
    let text = match &stored.event {
        TaskEvent::Status { status, .. } => status.as_str(),
        TaskEvent::Progress { message, .. } => message.as_deref().unwrap_or_default(),
        TaskEvent::Message { text } | TaskEvent::Note { text } | TaskEvent::Output { text } => text,
        TaskEvent::Tool { summary, .. } => summary,
        TaskEvent::ToolResult { output, .. } => output,
        TaskEvent::File { path, .. } => path,
        TaskEvent::Error { message } => message,
        TaskEvent::Plan { .. } | TaskEvent::Usage(_) => "",
    };
    format!("{}  {text}", stored.at.format("%H:%M:%S"))
}

fn render(page: &impl Template) -> Result<Html<String>, Error> {
    page.render().map(Html).map_err(|error| Error::internal(&error))
}
