//! Runs the real `porter serve` as a process: start, kill, termination by a signal, and error messages when it cannot
//! start.

use std::process::Stdio;
use std::time::{Duration, Instant};

use db::Db;
use domain::task::{Status, Task, TaskId};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::json;
use standin::{Effect, Fault};
use tokio::process::{Child, Command};

use crate::testkit::people::accepted;
use crate::testkit::{ADA, Plan, REPO, TEST_TIMEOUT, Testkit};

fn porter(kit: &Testkit, command: &str) -> Command {
    let mut porter = Command::new(env!("CARGO_BIN_EXE_porter"));
    porter.arg(command).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    porter.envs(kit.environment.iter()).env("LOG_FORMAT", "json").env("RUST_LOG", "porter=debug,info");
    porter.current_dir(kit.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    porter
}

/// Starts `porter serve` and waits until it is ready. Its log is appended to a file in the test's folder, which is
/// searched for secrets at the end.
async fn serve(kit: &Testkit) -> Child {
    let path = kit.folder.path().join("serve.log");
    let log = std::fs::File::options().create(true).append(true).open(path).unwrap();
    let child = porter(kit, "serve").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let began = Instant::now();
    let client = tls::client().no_proxy().build().unwrap();
    while client.get(format!("{}/readyz", kit.url)).send().await.is_err() {
        assert!(began.elapsed() < TEST_TIMEOUT, "porter serve did not become ready: {}", log_of(kit));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child
}

fn log_of(kit: &Testkit) -> String {
    std::fs::read_to_string(kit.folder.path().join("serve.log")).unwrap_or_default()
}

/// Reads the task while another process writes it.
async fn read(db: &Db, id: &TaskId) -> Task {
    db::tasks::find(&mut db.read().await.unwrap(), id).await.unwrap().expect("the task")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_ends_once_despite_kills_and_lost_or_repeated_deliveries() {
    let mut kit = Plan::real().start().await;
    kit.stop_porter().await;
    let mut process = serve(&kit).await;
    let (mut tasks, mut deliveries) = (Vec::new(), Vec::new());
    let path = |rest: &str| format!("/repos/{REPO}/{rest}");
    for fault in [
        Fault::after(Method::POST, path("issues"), Effect::Status(502)).times(3),
        Fault::after(Method::POST, path("pulls"), Effect::Drop).times(2),
        Fault::before(Method::POST, path("pulls"), Effect::Status(503)).times(2),
        Fault::after(Method::PATCH, path("issues/comments"), Effect::Drop).times(2),
        Fault::before(Method::GET, path("collaborators"), Effect::Status(502)).times(2),
        Fault::after(Method::POST, "/app/installations", Effect::Drop).skipping(1),
    ] {
        kit.github.inject(fault);
    }
    for number in 0..3 {
        let issue = kit.issue().await;
        let text = format!("@porter mock\nmock: write {number}.txt x\nmock: sleep 1");
        let delivery = kit.say(issue, ADA, &text).await;
        tasks.push((issue, accepted(&delivery)));
        deliveries.push(delivery);
    }
    let db = Db::open(&kit.folder.path().join("porter.db")).await.unwrap();
    // Kills the process at once after the last response, and at arbitrary moments after that.
    for pause in [0, 150, 400, 800, 1500] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill().await.unwrap();
        process = serve(&kit).await;
        for delivery in &deliveries {
            let again = kit.github.redeliver(&delivery.guid).await.unwrap();
            let expected = json!({ "status": "duplicate", "taskId": delivery.answer["taskId"] });
            assert_eq!(again.answer, expected);
        }
    }
    let began = Instant::now();
    for (_, id) in &tasks {
        while !read(&db, id).await.status.is_terminal() {
            assert!(began.elapsed() < TEST_TIMEOUT, "{:#?}\n{}", read(&db, id).await, log_of(&kit));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    db.close().await;
    kill(Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), process.wait()).await;
    assert!(ended.expect("exit within ten seconds of SIGTERM").unwrap().success(), "{}", log_of(&kit));

    kit.github.clear_faults();
    kit.start_porter().await;
    kit.drained().await;
    for (issue, id) in &tasks {
        let task = kit.task(id).await;
        assert_eq!((task.status, task.attempt.number), (Status::Success, 1), "{task:#?}\n{}", log_of(&kit));
        kit.status_comment(*issue, id);
        let pulls = kit.pulls().into_iter().filter(|pull| pull.head == id.branch()).count();
        assert_eq!(pulls, 1, "pull requests of {id}");
    }
    assert_eq!(kit.github.pull_requests(REPO).len(), 3);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_cannot_use_the_database() {
    let kit = Plan::silent().start().await;
    let output = porter(&kit, "serve").output().await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("another porter runs on the database"), "{words}");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_configuration_errors_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_porter"))
        .env_clear()
        .envs([
            ("GITHUB_APP_ID", "twelve"),
            ("GITHUB_APP_PRIVATE_KEY", "no-key-but-a-secret"),
            ("PORTER_TASK_TIMEOUT_MINUTES", "0"),
            ("BIND_ADDR", "here"),
            ("PORTER_RUNNER", "cloud"),
        ])
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    for name in [
        "PUBLIC_APP_URL",
        "PORTER_SECRET_ENCRYPTION_KEY",
        "WEBHOOK_SECRET",
        "GITHUB_APP_ID",
        "GITHUB_APP_PRIVATE_KEY",
        "GITHUB_APP_SLUG",
        "GITHUB_CLIENT_ID",
        "GITHUB_CLIENT_SECRET",
        "PORTER_TASK_TIMEOUT_MINUTES",
        "BIND_ADDR",
        "PORTER_RUNNER",
    ] {
        assert!(words.contains(name), "{name} is not named in {words}");
    }
    assert!(!words.contains("no-key-but-a-secret") && !words.contains("panicked"), "{words}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file was created");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_only_migrates_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.db");
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_porter"))
            .arg("migrate")
            .env_clear()
            .env("DATABASE_URL", format!("sqlite://{}", path.display()))
            .current_dir(folder.path())
            .output()
            .await
            .unwrap();
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        assert!(output.status.success() && words.contains("is up to date"), "{words}");
    }
    let db = Db::open(&path).await.unwrap();
    let (tables, migrations) = db::health::check(&db).await.unwrap();
    assert!(tables.iter().all(|table| table.present && table.columns_ok), "{tables:#?}");
    assert_eq!(migrations.pending, 0);
    db.close().await;
}
