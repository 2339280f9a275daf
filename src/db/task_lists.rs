//! Pages of a person's tasks, for the API and the pages.

use super::tasks::{select_tasks, tasks};
use super::{Connection, Error};
use crate::domain::task::{Status, Task, TaskId};

/// Which tasks are wanted; what is nothing is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this status.
    pub status: Option<Status>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of this repository, `owner/name`.
    pub repository: Option<String>,
    /// With this text in the title or the repository's name, in any case.
    pub text: Option<String>,
    /// Only those that have ended.
    pub ended: bool,
}

/// Where a page begins: after this task. Active tasks come before ended ones, newer before older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last task was queued or running.
    pub active: bool,
    /// The last task.
    pub id: TaskId,
}

impl Cursor {
    /// The cursor that begins after `task`.
    pub fn after(task: &Task) -> Self {
        Self { active: !task.status.is_terminal(), id: task.id.clone() }
    }

    /// As it stands in a URL.
    pub fn to_text(&self) -> String {
        format!("{}{}", if self.active { 'a' } else { 'e' }, self.id)
    }

    /// Read back; nothing when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let active = match text.get(..1)? {
            "a" => true,
            "e" => false,
            _ => return None,
        };
        Some(Self { active, id: TaskId::parse(text.get(1..)?)? })
    }
}

/// The person's tasks that pass the filter, active ones first, newest first, at most `limit` after `cursor`.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::Corrupt`].
pub async fn page(
    connection: &mut Connection,
    requester_id: i64,
    filter: &Filter,
    cursor: Option<&Cursor>,
    limit: u32,
) -> Result<Vec<Task>, Error> {
    let status = filter.status.map(Status::as_str);
    let most_active = i64::from(!filter.ended);
    let active = cursor.map(|cursor| i64::from(cursor.active));
    let id = cursor.map(|cursor| cursor.id.as_str());
    let rows = select_tasks!(
        "WHERE requester_id = ?1
           AND (?2 IS NULL OR status = ?2)
           AND (?3 IS NULL OR agent = ?3)
           AND (?4 IS NULL OR lower(repo_owner || '/' || repo_name) = lower(?4))
           AND (?5 IS NULL OR instr(lower(issue_title || ' ' || repo_owner || '/' || repo_name), lower(?5)) > 0)
           AND (completed_at IS NULL) <= ?6
           AND (?7 IS NULL OR (completed_at IS NULL) < ?7 OR ((completed_at IS NULL) = ?7 AND id < ?8))
         ORDER BY completed_at IS NULL DESC, id DESC LIMIT ?9",
        requester_id,
        status,
        filter.agent,
        filter.repository,
        filter.text,
        most_active,
        active,
        id,
        limit
    )
    .fetch_all(connection)
    .await?;
    tasks(rows)
}
