//! Tests of the runners. [`conformance`] runs against Fly's model, against real processes and against
//! [`memory`], a kind of machine that exists only in these tests. [`fly`] and [`local`] test the behaviour of
//! one runner, and [`model`] tests the Fly model.

mod conformance;
mod fly;
mod local;
pub mod memory;
mod model;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use domain::task::TaskId;
use porter::runner::LaunchSpec;

fn task(name: &str) -> TaskId {
    TaskId::parse(&format!("task_{name}")).expect("a task id")
}

fn spec(name: &str, attempt: u32) -> LaunchSpec {
    LaunchSpec {
        task: task(name),
        attempt,
        image: "registry.fly.io/porter-worker:latest".to_owned(),
        cpus: 2,
        memory_mb: 2048,
        region: None,
        env: BTreeMap::from([("TASK_ID".to_owned(), task(name).to_string())]),
        files: Vec::new(),
    }
}

/// Waits until `holds` returns true for another process's work; panics after ten seconds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(10), "timed out waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
