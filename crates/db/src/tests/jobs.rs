//! Tests of jobs: a job is claimed once and finished by the holder of its fence.

use chrono::TimeDelta;

use super::{fresh, start};
use crate::jobs::{
    Backlog, Claimed, NewJob, backlog, claim, enqueue, fail, finish, is_pending, list_due, put_back,
    release_all, retry_failed,
};
use crate::{Connection, Db};

const LEASE: TimeDelta = TimeDelta::minutes(1);

fn job(key: &str, lane: &str, rank: i64) -> NewJob {
    NewJob {
        kind: "sync_issue",
        key: key.to_owned(),
        lane: lane.to_owned(),
        lane_kind: "test",
        rank,
        payload: key.to_owned(),
    }
}

async fn with(jobs: &[NewJob]) -> (tempfile::TempDir, Db) {
    let (folder, db) = fresh().await;
    let mut write = db.begin().await.unwrap();
    enqueue(&mut write, jobs, start()).await.unwrap();
    write.commit().await.unwrap();
    (folder, db)
}

async fn claimed(connection: &mut Connection, after: TimeDelta, paused: &[String]) -> Vec<Claimed> {
    let now = start() + after;
    let due = list_due(connection, 10, paused, now).await.unwrap();
    let mut jobs = claim(connection, &due, LEASE, now).await.unwrap();
    jobs.sort_by(|a, b| a.payload.cmp(&b.payload));
    jobs
}

fn keys(jobs: &[Claimed]) -> Vec<&str> {
    jobs.iter().map(|job| job.payload.as_str()).collect()
}

#[tokio::test]
async fn a_lane_runs_one_job_at_a_time_in_order_of_rank() {
    let jobs = [job("a-late", "a", 3), job("a-soon", "a", 0), job("b", "b", 3)];
    let (_folder, db) = with(&jobs).await;
    let mut writer = db.writer().await.unwrap();
    let first = claimed(&mut writer, TimeDelta::zero(), &[]).await;
    assert_eq!(keys(&first), ["a-soon", "b"]);
    assert_eq!(keys(&claimed(&mut writer, TimeDelta::zero(), &[]).await), [""; 0], "both lanes are busy");
    finish(&mut writer, &first[0], start()).await.unwrap();
    assert_eq!(keys(&claimed(&mut writer, TimeDelta::zero(), &[]).await), ["a-late"]);
}

#[tokio::test]
async fn no_job_of_a_paused_lane_is_claimed() {
    let (_folder, db) = with(&[job("a", "a", 0), job("b", "b", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    assert_eq!(keys(&claimed(&mut writer, TimeDelta::zero(), &["a".to_owned()]).await), ["b"]);
}

#[tokio::test]
async fn a_job_whose_lease_expired_can_be_claimed_again_and_not_finished_by_the_old_owner() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    let slow = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
    let second = claimed(&mut writer, LEASE, &[]).await.remove(0);
    assert_eq!(second.tries, 2);
    finish(&mut writer, &slow, start()).await.unwrap();
    assert!(is_pending(&mut writer, "a").await.unwrap(), "the slow worker has an outdated fence");
    finish(&mut writer, &second, start()).await.unwrap();
    assert!(!is_pending(&mut writer, "a").await.unwrap());
}

#[tokio::test]
async fn a_running_job_that_is_requested_again_runs_once_more() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    let running = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
    enqueue(&mut writer, &[job("a", "a", 0)], start()).await.unwrap();
    enqueue(&mut writer, &[job("a", "a", 0)], start()).await.unwrap();
    finish(&mut writer, &running, start()).await.unwrap();
    let again = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
    assert_eq!(again.tries, 1, "the number of tries starts again");
    finish(&mut writer, &again, start()).await.unwrap();
    assert!(!is_pending(&mut writer, "a").await.unwrap());
}

#[tokio::test]
async fn a_running_job_that_is_requested_again_runs_at_the_earliest_requested_time() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    let (soon, late) = (TimeDelta::seconds(20), TimeDelta::seconds(50));
    let mut at = TimeDelta::zero();
    for (asked, runs) in [(vec![late, late], late), (vec![late, soon, late], soon)] {
        let running = claimed(&mut writer, at, &[]).await.remove(0);
        for after in asked {
            enqueue(&mut writer, &[job("a", "a", 0)], start() + at + after).await.unwrap();
        }
        finish(&mut writer, &running, start() + at).await.unwrap();
        at += runs;
        assert!(claimed(&mut writer, at - TimeDelta::seconds(1), &[]).await.is_empty());
    }
    assert_eq!(claimed(&mut writer, at, &[]).await.len(), 1);
}

#[tokio::test]
async fn a_delay_that_the_job_did_not_cause_is_not_counted() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    for counts in [true, false] {
        let held = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
        put_back(&mut writer, &held, start(), Some("why"), counts).await.unwrap();
    }
    assert_eq!(claimed(&mut writer, TimeDelta::zero(), &[]).await[0].tries, 2);
}

#[tokio::test]
async fn a_job_is_not_claimed_before_its_time() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    let held = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
    put_back(&mut writer, &held, start() + TimeDelta::seconds(9), None, true).await.unwrap();
    assert!(claimed(&mut writer, TimeDelta::seconds(8), &[]).await.is_empty());
    assert_eq!(claimed(&mut writer, TimeDelta::seconds(9), &[]).await.len(), 1);
}

#[tokio::test]
async fn a_new_engine_releases_the_jobs_that_an_ended_one_had_claimed() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    claimed(&mut writer, TimeDelta::zero(), &[]).await;
    assert_eq!(release_all(&mut writer, start()).await.unwrap(), 1);
    assert_eq!(claimed(&mut writer, TimeDelta::zero(), &[]).await[0].tries, 2);
}

#[tokio::test]
async fn a_failed_job_is_kept_and_runs_when_it_is_requested_again_or_released() {
    let (_folder, db) = with(&[job("a", "a", 0)]).await;
    let mut writer = db.writer().await.unwrap();
    for again in ["asked for", "freed"] {
        let held = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
        fail(&mut writer, &held, "why", start()).await.unwrap();
        assert!(
            claimed(&mut writer, LEASE * 2, &[]).await.is_empty(),
            "a failed job does not run without a request"
        );
        assert!(!is_pending(&mut writer, "a").await.unwrap());
        let seen = backlog(&mut writer, start()).await.unwrap();
        assert_eq!(seen, Backlog { pending: 0, late: 0, retrying: 0, failed: 1 });
        match again {
            "asked for" => enqueue(&mut writer, &[job("a", "a", 0)], start()).await.unwrap(),
            _ => assert_eq!(retry_failed(&mut writer, start()).await.unwrap(), 1),
        }
    }
    let held = claimed(&mut writer, TimeDelta::zero(), &[]).await.remove(0);
    enqueue(&mut writer, &[job("a", "a", 0)], start()).await.unwrap();
    fail(&mut writer, &held, "why", start()).await.unwrap();
    assert_eq!(
        claimed(&mut writer, TimeDelta::zero(), &[]).await.len(),
        1,
        "the job was requested again while it ran"
    );
}
