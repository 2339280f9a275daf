//! When reports are sent, and what ends an agent early.

use std::time::{Duration, Instant};

use domain::report::{FailureStage, Outcome};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::environment::{BRANCH, Environment, GOOD_END, Mode};

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Two processes that do not want to go: the agent itself, and one that left its process group.
const STUBBORN: &str = "trap '' TERM; echo work > work.txt\n\
    setsid sh -c 'trap \"\" TERM; echo $$ > $OPEN/stray; while :; do sleep 1; done' &\n\
    while [ ! -s $OPEN/stray ]; do sleep 0.05; done\n\
    echo $$ > $OPEN/agent; while :; do sleep 1; done";

#[tokio::test]
async fn an_agent_out_of_time_is_ended_with_all_it_started_and_its_work_is_kept() {
    for mode in Mode::available() {
        let environment = Environment::new().await;
        environment.claude(STUBBORN);
        let mut worker = environment.worker(mode, "claude", "x");
        let (report, code) = environment.run(worker.env("TIMEOUT_SECONDS", "1")).await;
        assert_eq!((report.status, report.timed_out, code), (Outcome::Failed, true, 0));
        assert_eq!(report.commit_hash.unwrap(), environment.on_server(&["rev-parse", BRANCH]));
        assert_eq!(environment.on_server(&["show", &format!("{BRANCH}:work.txt")]), "work");
        for name in ["agent", "stray"] {
            let pid = std::fs::read_to_string(environment.open().join(name)).unwrap();
            assert!(!is_alive(pid.trim()), "{name} ({}) is alive in {mode:?}", pid.trim());
        }
    }
}

#[tokio::test]
async fn the_server_can_cancel() {
    let environment = Environment::new().await;
    *environment.server.cancel.lock().unwrap() = true;
    let start = Instant::now();
    let (report, code) = environment
        .run(&mut environment.worker(Mode::SameUser, "mock", "mock: write a a\nmock: sleep 80"))
        .await;
    assert_eq!(
        (report.status, report.error.as_deref(), code),
        (Outcome::Failed, Some("The task was stopped."), 0)
    );
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_signal_ends_the_agent_and_its_work_is_kept() {
    let environment = Environment::new().await;
    environment.claude("echo work > work.txt; touch $OPEN/started; exec sleep 80");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let started = environment.open().join("started");
        std::fs::remove_file(&started).ok();
        let worker = environment.worker(Mode::SameUser, "claude", "x").spawn().unwrap();
        environment.until("the agent's start", || started.exists()).await;
        kill(Pid::from_raw(i32::try_from(worker.id().unwrap()).unwrap()), signal).unwrap();
        let (report, code) = environment.finish(worker).await;
        assert_eq!(
            (report.status, report.failure_stage, code),
            (Outcome::Failed, Some(FailureStage::Agent), 0)
        );
        assert!(report.error.as_deref().unwrap().contains("shut down"), "{:?}", report.error);
        assert_eq!(report.commit_hash.unwrap(), environment.on_server(&["rev-parse", BRANCH]));
        assert_eq!(environment.on_server(&["show", &format!("{BRANCH}:work.txt")]), "work");
    }
}

#[tokio::test]
async fn progress_comes_at_most_once_a_second_whatever_the_agent_prints() {
    let environment = Environment::new().await;
    let noise = "i=0; while [ $i -lt 30 ]; do echo line $i; echo more $i >&2; i=$((i+1)); sleep 0.1; done";
    environment.claude(&format!("{noise}; head -c 9000000 /dev/zero | tr '\\0' x; echo; {GOOD_END}"));
    let (report, _) = environment.run(&mut environment.worker(Mode::SameUser, "claude", "x")).await;
    assert_eq!(report.usage.unwrap().cost_usd, Some(0.5));
    let times: Vec<Instant> =
        environment.server.progress.lock().unwrap().iter().map(|(time, _)| *time).collect();
    assert!(times.len() >= 3, "only {} reports", times.len());
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(900), "{:?} apart", pair[1] - pair[0]);
    }
    let lines = environment.lines();
    assert!(
        (0..30).all(|i| lines.contains(&format!("line {i}")) && lines.contains(&format!("more {i}"))),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|line| line.len() < 3000));
    assert!(
        lines.contains(&format!("({} more bytes of this line were not read)", 9_000_000 - 4 * 1024 * 1024))
    );
}

#[tokio::test]
async fn the_final_report_is_repeated_until_it_is_taken() {
    let environment = Environment::new().await;
    environment.server.answers.lock().unwrap().extend([503, 429]);
    let (report, code) =
        environment.run(&mut environment.worker(Mode::SameUser, "mock", "mock: write a a")).await;
    assert_eq!((report.status, code), (Outcome::Success, 0));
    assert_eq!((report.callback_attempt, report.callback_last_http_code), (Some(3), Some(429)));
    assert_eq!(environment.server.completions.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_report_that_is_refused_for_good_is_not_repeated() {
    for answer in [400, 401, 404, 422] {
        let environment = Environment::new().await;
        environment.server.answers.lock().unwrap().push_back(answer);
        let (_, code) =
            environment.run(&mut environment.worker(Mode::SameUser, "mock", "mock: nothing")).await;
        assert_eq!((environment.server.completions.lock().unwrap().len(), code), (1, 1), "{answer}");
    }
}
