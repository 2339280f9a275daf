//! Tests of the queue: order by priority and age, rising priority, limits, and no blocking by a person at their
//! limit.

use chrono::TimeDelta;

use super::{fresh, start};
use crate::queue::{Caps, find_next, position};
use crate::{Connection, tasks};
use domain::command::Run;
use domain::task::{Event, Priority, Requester, Task, decide, sample};

const CAPS: Caps = Caps { per_user: 2, overall: 3 };

/// Returns a task of `person` about its own issue, requested at the time `after` the start.
fn task(person: i64, issue: i64, priority: Priority, after: TimeDelta) -> Task {
    let mut request = sample::request();
    request.issue.number = issue.into();
    request.requester = Requester { id: person.into(), login: format!("person-{person}") };
    Task::new(request, "mock", priority, &Run::default(), start() + after)
}

/// Returns the issues in their order of admission under `caps`, at the time `after` the start.
async fn admitted(connection: &mut Connection, caps: Caps, after: TimeDelta) -> Vec<i64> {
    let now = start() + after;
    let mut order = Vec::new();
    while let Some(id) = find_next(connection, caps, now).await.unwrap() {
        let task = tasks::find(connection, &id).await.unwrap().unwrap();
        let event = Event::Admitted { deadline: now };
        let (next, _) = decide(&task, event, now).unwrap();
        assert!(tasks::store(connection, &task, &next).await.unwrap());
        order.push(task.issue.number.get());
    }
    order
}

const ROOM: Caps = Caps { per_user: 100, overall: 100 };

#[tokio::test]
async fn tasks_are_ordered_by_priority_and_then_by_age() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let seconds = TimeDelta::seconds;
    for (issue, priority) in
        [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High), (4, Priority::Normal)]
    {
        tasks::insert(&mut writer, &[task(1, issue, priority, seconds(issue))]).await.unwrap();
    }
    assert_eq!(admitted(&mut writer, ROOM, seconds(10)).await, [3, 2, 4, 1]);
}

#[tokio::test]
async fn a_low_priority_task_that_waited_long_enough_precedes_a_new_high_priority_task() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let minutes = TimeDelta::minutes;
    tasks::insert(&mut writer, &[task(1, 1, Priority::Low, minutes(0))]).await.unwrap();
    tasks::insert(&mut writer, &[task(2, 2, Priority::High, minutes(19))]).await.unwrap();
    assert!(find_next(&mut writer, ROOM, start() + minutes(19)).await.unwrap().is_some());
    assert_eq!(admitted(&mut writer, ROOM, minutes(20)).await, [1, 2]);
}

#[tokio::test]
async fn limits_hold_and_a_person_at_their_limit_blocks_nobody() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    for issue in 1..=4 {
        let high = task(1, issue, Priority::High, TimeDelta::seconds(issue));
        tasks::insert(&mut writer, &[high]).await.unwrap();
    }
    for issue in 5..=6 {
        let low = task(2, issue, Priority::Low, TimeDelta::seconds(issue));
        tasks::insert(&mut writer, &[low]).await.unwrap();
    }
    assert_eq!(admitted(&mut writer, CAPS, TimeDelta::seconds(9)).await, [1, 2, 5]);
}

#[tokio::test]
async fn a_position_counts_the_tasks_that_precede_it() {
    let (_folder, db) = fresh().await;
    let mut writer = db.writer().await.unwrap();
    let waiting = [
        task(1, 1, Priority::Normal, TimeDelta::seconds(1)),
        task(2, 2, Priority::Low, TimeDelta::seconds(2)),
        task(3, 3, Priority::High, TimeDelta::seconds(3)),
    ];
    tasks::insert(&mut writer, &waiting).await.unwrap();
    let now = start() + TimeDelta::seconds(9);
    let mut positions = Vec::new();
    for task in &waiting {
        positions.push(position(&mut writer, task, now).await.unwrap());
    }
    assert_eq!(positions, [2, 3, 1]);
}
