//! The order of queued tasks (main-spec §6): limits under load, priority, age and the queue position.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::task::{Status, Task, TaskId};
use porter::tasks::{Context, admission};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::testkit::people::accepted;
use crate::testkit::{ADA, BOB, Plan, REPO, TEST_TIMEOUT, Testkit};

#[tokio::test(flavor = "multi_thread")]
async fn thirty_concurrent_mentions_never_exceed_the_limits() {
    let kit = Plan::silent()
        .with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "2")
        .with("PORTER_MAX_CONCURRENT_TASKS", "3")
        .start()
        .await;
    let mut comments = Vec::new();
    for number in 0..30 {
        let who = if number % 2 == 0 { ADA } else { BOB };
        comments.push((kit.issue().await, who.login, "@porter mock"));
    }
    let watched = watch_running(&kit);
    let deliveries = kit.github.comment_at_once(REPO, &comments).await.unwrap();
    let mut waiting: Vec<TaskId> = deliveries.iter().map(accepted).collect();
    running_when(&kit, 3).await;
    while !waiting.is_empty() {
        let running = running_when(&kit, 1).await;
        let task = kit.working(&running[0].id).await;
        kit.report_failure(&task).await.expect(200);
        waiting.retain(|id| *id != task.id);
    }
    let (most, most_of_one) = watched.end().await;
    assert!(most <= 3 && most_of_one <= 2, "{most} tasks ran at the same time, {most_of_one} of one person");
    kit.drained().await;
    for (delivery, (issue, ..)) in deliveries.iter().zip(&comments) {
        let id = accepted(delivery);
        assert_eq!(kit.task(&id).await.status, Status::Failed);
        kit.status_comment(*issue, &id);
    }
    kit.close().await;
}

async fn running(context: &Context) -> Vec<Task> {
    db::tasks::list_running(&mut context.store().read().await.unwrap()).await.unwrap()
}

/// Waits until at least `enough` tasks run.
async fn running_when(kit: &Testkit, enough: usize) -> Vec<Task> {
    let began = Instant::now();
    let mut notifier = kit.porter().store().follow();
    loop {
        let running = running(kit.porter()).await;
        if running.len() >= enough {
            return running;
        }
        assert!(began.elapsed() < TEST_TIMEOUT, "timed out waiting until {enough} tasks run: {running:#?}");
        // A lagging receiver may miss a notification, so the rows are also read after a timeout.
        tokio::time::timeout(Duration::from_millis(500), notifier.recv()).await.ok();
    }
}

/// Counts the running tasks at every change notification.
struct Watched {
    stop: CancellationToken,
    task: JoinHandle<(usize, usize)>,
}

impl Watched {
    /// Returns the highest number of tasks that ran at the same time, in total and for one person.
    async fn end(self) -> (usize, usize) {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}

fn watch_running(kit: &Testkit) -> Watched {
    let stop = CancellationToken::new();
    let (context, ended) = (kit.porter().clone(), stop.clone());
    let task = tokio::spawn(async move {
        let mut notifier = context.store().follow();
        let (mut most, mut most_of_one) = (0, 0);
        while !ended.is_cancelled() {
            let running = running(&context).await;
            most = most.max(running.len());
            for who in [ADA, BOB] {
                let own = running.iter().filter(|task| task.requester.id.get() == who.id).count();
                most_of_one = most_of_one.max(own);
            }
            tokio::select! {
                _ = notifier.recv() => {}
                () = ended.cancelled() => {}
            }
        }
        (most, most_of_one)
    });
    Watched { stop, task }
}

/// Starts a kit in which one task runs and one further task for each of `words` is queued.
async fn line(words: &[&str]) -> (Testkit, Vec<(u64, TaskId)>) {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS", "1").start().await;
    let mut tasks = Vec::new();
    for word in [&["@porter mock"], words].concat() {
        let issue = kit.issue().await;
        tasks.push((issue, kit.ask(issue, ADA, word).await));
        if tasks.len() == 1 {
            kit.working(&tasks[0].1).await;
        }
    }
    (kit, tasks)
}

/// Ends each running task in turn and returns the order in which the tasks ran, as indexes of `tasks`.
async fn run_in_order(kit: &Testkit, tasks: &[(u64, TaskId)]) -> Vec<usize> {
    let mut order = Vec::new();
    for _ in tasks {
        let running = running(kit.porter()).await;
        let [task] = running.as_slice() else { panic!("expected one running task: {running:#?}") };
        order.push(tasks.iter().position(|(_, id)| *id == task.id).unwrap());
        let task = kit.working(&task.id).await;
        kit.report_failure(&task).await.expect(200);
        // The engine may have admitted the next task already; after this call it is certainly admitted.
        admission::admit(kit.porter()).await.unwrap();
    }
    kit.drained().await;
    for (issue, id) in tasks {
        kit.status_comment(*issue, id);
    }
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_run_by_priority_and_then_by_age() {
    let low = "@porter mock --priority=low";
    let high = "@porter mock --priority=high";
    let (kit, tasks) = line(&[low, "@porter mock", high, "@porter mock", high]).await;
    assert_eq!(run_in_order(&kit, &tasks).await, [0, 3, 5, 2, 4, 1]);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_raises_the_priority() {
    let (kit, mut tasks) = line(&["@porter mock --priority=low"]).await;
    kit.clock.advance(TimeDelta::minutes(20));
    // The running task must not be ended by the watchdog in the meantime.
    let report = serde_json::json!({ "task_id": tasks[0].1, "attempt": 1 });
    kit.call_back("progress", &kit.token(&tasks[0].1, 1), &report).await.expect(200);
    let issue = kit.issue().await;
    tasks.push((issue, kit.ask(issue, BOB, "@porter mock --priority=high").await));
    assert_eq!(
        run_in_order(&kit, &tasks).await,
        [0, 1, 2],
        "low priority does not become high after twenty minutes"
    );
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_position_is_shown_in_the_comment_and_the_api() {
    let (kit, mut tasks) = line(&[]).await;
    for (text, words) in [
        ("@porter mock", "It is next in line."),
        ("@porter mock", "It is number 2 in line."),
        ("@porter mock --priority=high", "It is next in line."),
    ] {
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, text).await;
        kit.drained().await;
        let comment = kit.status_comment(issue, &id);
        assert!(comment.body.contains(words), "expected {words}, found {}", comment.body);
        tasks.push((issue, id));
    }
    // The urgent task was requested last and runs first.
    for ((_, id), position) in tasks[1..].iter().zip([2, 3, 1]) {
        let path = format!("/api/tasks/{id}");
        assert_eq!(kit.get(ADA, &path).await.json["queuePosition"], position, "{path}");
        assert_eq!(kit.get(ADA, &format!("{path}/status")).await.json["queuePosition"], position);
    }
    run_in_order(&kit, &tasks).await;
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_at_their_limit_does_not_block_others() {
    let kit = Plan::silent().with("PORTER_MAX_CONCURRENT_TASKS_PER_USER", "1").start().await;
    let mut tasks = Vec::new();
    for (who, text) in
        [(ADA, "@porter mock"), (ADA, "@porter mock --priority=high"), (BOB, "@porter mock --priority=low")]
    {
        let issue = kit.issue().await;
        tasks.push((issue, kit.ask(issue, who, text).await));
        // The first task must run before the more urgent one is requested.
        kit.working(&tasks[0].1).await;
    }
    kit.working(&tasks[2].1).await;
    assert_eq!(kit.task(&tasks[1].1).await.status, Status::Queued);
    for index in [0, 2, 1] {
        let (issue, id) = &tasks[index];
        kit.fail(id).await;
        kit.status_comment(*issue, id);
    }
    kit.close().await;
}
