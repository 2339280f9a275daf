//! `GET /api/tasks/:id/events`: a task's events, from the start or from `Last-Event-ID`, then live.
//!
//! The stream ends once the task has ended and all events were sent. A browser's `EventSource` then reconnects
//! automatically; it is answered with 204, which makes it stop.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Tasks;
use super::json::rfc3339;
use crate::web::session::SignedInUser;
use crate::web::{Configured, Error};
use domain::errors::error_chain;
use domain::task::TaskId;

/// The maximum number of events in one read.
const BATCH_SIZE: i64 = 200;
/// The polling interval, in case a notification is lost.
const POLL: Duration = Duration::from_secs(5);

struct Following {
    tasks: Tasks,
    task: TaskId,
    last: i64,
    ready: VecDeque<db::events::Event>,
    changes: broadcast::Receiver<TaskId>,
    stop: CancellationToken,
}

/// Streams a task's events to the owner of the task.
pub(in crate::web) async fn stream(
    Configured(tasks): Configured<Tasks>,
    SignedInUser(user): SignedInUser,
    State(stop): State<CancellationToken>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let task = tasks.find_own(&user, &id).await?;
    let last = match headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default()) {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| Error::bad_request("Last-Event-ID must be a number"))?,
    };
    // Subscribed before the first read, so that no event between the two is missed.
    let changes = tasks.store.follow();
    let mut following = Following { tasks, task: task.id, last, ready: VecDeque::new(), changes, stop };
    let ended = following.look().await?;
    if last > 0 && ended && following.ready.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(streamed(&event)), following))
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

impl Following {
    async fn next(&mut self) -> Option<db::events::Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last = event.seq;
                return Some(event);
            }
            match self.look().await {
                Ok(_) if !self.ready.is_empty() => continue,
                Ok(true) => return None,
                Ok(false) => self.wait().await?,
                Err(error) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "an event stream ended because the database failed"
                    );
                    return None;
                }
            }
        }
    }

    /// Reads new events. Returns whether the task had ended before the read.
    async fn look(&mut self) -> Result<bool, db::Error> {
        let mut connection = self.tasks.read().await?;
        let task = db::tasks::find(&mut connection, &self.task).await?;
        let ended = task.is_none_or(|task| task.status.is_terminal());
        self.ready = db::events::list_after(&mut connection, &self.task, self.last, BATCH_SIZE).await?.into();
        Ok(ended)
    }

    /// Waits until there may be a new event; `None` when Porter shuts down.
    async fn wait(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(POLL) => return Some(()),
                woken = self.changes.recv() => match woken {
                    Ok(task) if task != self.task => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }
}

/// Converts a stored event for the stream: its data with its time and attempt.
fn streamed(stored: &db::events::Event) -> Event {
    let mut data = stored.event.data();
    data.insert("at".to_owned(), rfc3339(stored.at).into());
    data.insert("attempt".to_owned(), stored.attempt.into());
    let data = Value::from(data).to_string();
    Event::default().id(stored.seq.to_string()).event(stored.event.kind()).data(data)
}
