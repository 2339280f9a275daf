//! Pages of a person's tasks, for the API and the web pages.

use domain::ids::UserId;
use sqlx::Connection as _;

use super::tasks::{select_tasks, tasks};
use super::{Connection, Error};
use domain::task::{Status, Task, TaskId};

/// A filter for tasks. A field without a value does not restrict the result.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only tasks with this status.
    pub status: Option<Status>,
    /// Only tasks of this agent.
    pub agent: Option<String>,
    /// Only tasks of this repository, `owner/name`.
    pub repository: Option<String>,
    /// Only tasks with this text in the title or the repository's name, regardless of case.
    pub text: Option<String>,
    /// Only tasks that have ended.
    pub ended: bool,
}

/// The task after which a page starts. Active tasks precede ended ones, and newer tasks precede older ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whether the last task of the previous page was queued or running.
    pub active: bool,
    /// The last task of the previous page.
    pub id: TaskId,
}

impl Cursor {
    /// Returns the cursor of the page that starts after `task`.
    pub fn after(task: &Task) -> Self {
        Self { active: !task.status.is_terminal(), id: task.id.clone() }
    }

    /// Returns the cursor in the form that URLs contain.
    pub fn to_text(&self) -> String {
        format!("{}{}", if self.active { 'a' } else { 'e' }, self.id)
    }

    /// Parses a cursor; returns `None` when the text is not a cursor.
    pub fn parse(text: &str) -> Option<Self> {
        let active = match text.get(..1)? {
            "a" => true,
            "e" => false,
            _ => return None,
        };
        Some(Self { active, id: TaskId::parse(text.get(1..)?)? })
    }
}

/// `SELECT` of a person's newest active or ended tasks that pass the filter, newest first.
macro_rules! newest {
    ($connection:expr, $kind:tt, $requester_id:expr, $filter:expr, $before:expr, $limit:expr) => {{
        let status = $filter.status.map(Status::as_str);
        let rows = select_tasks!(
            "WHERE requester_id = ?1 AND "
                + $kind
                + " AND (?2 IS NULL OR tasks.status = ?2)
                    AND (?3 IS NULL OR agent = ?3)
                    AND (?4 IS NULL OR lower(repo_owner || '/' || repo_name) = lower(?4))
                    AND (?5 IS NULL
                      OR instr(lower(issue_title || ' ' || repo_owner || '/' || repo_name), lower(?5)) > 0)
                    AND id < ?6
                  ORDER BY id DESC LIMIT ?7",
            $requester_id,
            status,
            $filter.agent,
            $filter.repository,
            $filter.text,
            $before,
            $limit
        )
        .fetch_all(&mut *$connection)
        .await?;
        tasks(rows)?
    }};
}

/// Returns at most `limit` of the person's tasks that pass the filter after `cursor`: active ones first, then
/// newest first.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn page(
    connection: &mut Connection,
    requester_id: UserId,
    filter: &Filter,
    cursor: Option<&Cursor>,
    limit: u32,
) -> Result<Vec<Task>, Error> {
    let requester_id = requester_id.get();
    // Both kinds are read in one transaction, so that a task that ends in the meantime is listed exactly once.
    let mut look = connection.begin().await?;
    let mut page = Vec::new();
    let of_status = |ended: bool| filter.status.is_none_or(|status| status.is_terminal() == ended);
    if of_status(false) && !filter.ended && cursor.is_none_or(|cursor| cursor.active) {
        let before = before(cursor);
        page = newest!(
            look,
            "(tasks.status = 'queued' OR tasks.status = 'running')",
            requester_id,
            filter,
            before,
            limit
        );
    }
    let left = limit.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
    if of_status(true) && left > 0 {
        let before = before(cursor.filter(|cursor| !cursor.active));
        let mut ended = newest!(look, "tasks.completed_at IS NOT NULL", requester_id, filter, before, left);
        page.append(&mut ended);
    }
    look.commit().await?;
    Ok(page)
}

/// Returns the id that the listed tasks must precede; without a cursor, an id that is greater than any other.
fn before(cursor: Option<&Cursor>) -> &str {
    cursor.map_or("~", |cursor| cursor.id.as_str())
}
