//! Everything at once. The small profile runs everywhere; `PORTER_CHAOS_TASKS=200 PORTER_CHAOS_KILLS=20` is the
//! whole storm. `PORTER_CHAOS_SEED` repeats one.

use std::time::{Duration, Instant};

use axum::http::Method;
use chrono::TimeDelta;
use porter::config::variable;
use porter::demo::standin::{Effect, Fault};

use super::fake_fly::{Call, Fault as FlyFault};
use super::machines::Conduct;
use super::porter::Process;
use super::random::Random;
use super::stage::{Size, Stage};
use super::verdict::{self, Asked};

const TASKS: u64 = 40;
const KILLS: u64 = 6;
/// Of a thousand calls to GitHub, so many go wrong.
const GITHUB_PER_MILLE: u16 = 150;
/// Of a hundred calls to Fly.
const FLY_PERCENT: u64 = 33;
/// How long everything may take to settle after the last kill.
const PATIENCE: Duration = Duration::from_secs(300);

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mention_ends_exactly_once_whatever_fails_and_however_often_porter_is_killed() {
    let seed = number("PORTER_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 7919);
    let tasks = number("PORTER_CHAOS_TASKS").unwrap_or(TASKS);
    let kills = number("PORTER_CHAOS_KILLS").unwrap_or(KILLS);
    eprintln!("PORTER_CHAOS_SEED={seed} PORTER_CHAOS_TASKS={tasks} PORTER_CHAOS_KILLS={kills}");
    let people = u32::try_from(number("PORTER_CHAOS_PEOPLE").unwrap_or(8)).expect("a small number");
    let stage = Stage::set(seed, Size { people, organizations: people.min(4), repositories: 2 }).await;
    let asked = open_issues(&stage, seed, tasks).await;
    stage.github.inject_chaos(seed, GITHUB_PER_MILLE);
    let trouble = [
        FlyFault::Status(408),
        FlyFault::StatusAfterEffect(408),
        FlyFault::RateLimited(1),
        FlyFault::Status(500),
        FlyFault::StatusAfterEffect(500),
        FlyFault::Cut,
        FlyFault::CutAfterEffect,
    ];
    stage.fly.storm(seed, FLY_PERCENT, &trouble);

    let began = Instant::now();
    let mut porter = stage.porter.start_ready().await;
    let speaking =
        speak(&stage, &asked, seed, Duration::from_millis(2500) * u32::try_from(kills).expect("few"));
    let (mut porter, ()) = tokio::join!(
        async {
            kill_again_and_again(&stage, &mut porter, seed, kills).await;
            porter
        },
        speaking
    );
    let stormed = began.elapsed();
    settle(&stage, &porter, &asked).await;
    let settled = began.elapsed();

    stage.github.clear_faults();
    let memory = porter.memory();
    let complaints = verdict::complaints(&stage, &asked).await;
    let (took, clean) = porter.end().await;
    let (mut left, counts) = verdict::remains(&stage).await;
    left.extend(complaints);
    let made = stage.machines.made();
    eprintln!(
        "stormed {stormed:.1?}, settled {:.1?} later; tasks {counts:?}; machines made twice for one attempt: {}; \
         calls: {} to GitHub, {} to Fly ({} creations); memory {memory} KiB; SIGTERM to exit {took:.1?}",
        settled.saturating_sub(stormed),
        made.values().filter(|times| **times > 1).count(),
        stage.github.read(|world| world.requests().len()),
        stage.fly.requests().len(),
        stage.fly.count(Call::Create),
    );
    assert!(clean, "Porter did not end cleanly after SIGTERM");
    assert!(left.is_empty(), "{} complaints with PORTER_CHAOS_SEED={seed}:\n{}", left.len(), left.join("\n"));
    assert_eq!(counts.values().sum::<i64>(), i64::try_from(tasks).expect("a number"), "tasks: {counts:?}");
}

async fn open_issues(stage: &Stage, seed: u64, tasks: u64) -> Vec<Asked> {
    let mut asked = Vec::new();
    for number in 0..tasks {
        let pick = |list: &[String]| list[usize::try_from(number).expect("few") % list.len()].clone();
        let (repository, author) = (pick(&stage.repositories), pick(&stage.people));
        let issue = stage.issue(&repository, &author, &format!("Greet everybody, {number}")).await;
        stage.github.add_label(&repository, issue, "help wanted").expect("an issue");
        let conduct = Conduct::of(seed, &repository, issue);
        asked.push(Asked { repository, issue, conduct });
    }
    asked
}

/// Everyone asks, some time within `during`; some of GitHub's deliveries come twice.
async fn speak(stage: &Stage, asked: &[Asked], seed: u64, during: Duration) {
    let speaking = asked.iter().enumerate().map(|(number, asked)| async move {
        let mut random = Random::of(seed, &format!("mention {number}"));
        tokio::time::sleep(random.time(Duration::ZERO, during.max(Duration::from_millis(1)))).await;
        let author = &stage.people[number % stage.people.len()];
        let said = stage.github.comment(&asked.repository, asked.issue, author, "@porter mock please").await;
        let delivery = said.expect("a comment");
        if random.below(10) == 0 {
            stage.github.redeliver(&delivery.guid).await.expect("the delivery again");
        }
    });
    futures_util::future::join_all(speaking).await;
}

async fn kill_again_and_again(stage: &Stage, porter: &mut Process, seed: u64, kills: u64) {
    let mut random = Random::new(seed);
    for _ in 0..kills {
        // The stand-in counts calls as GitHub does; the storm is to come from its faults alone.
        stage.github.set_rate_limit(5000, TimeDelta::hours(1));
        stage.github.inject(Fault::before(
            Method::POST,
            "/repos/",
            Effect::PrimaryLimit(TimeDelta::seconds(2)),
        ));
        tokio::time::sleep(random.time(Duration::from_millis(200), Duration::from_millis(4500))).await;
        porter.kill();
        tokio::time::sleep(random.time(Duration::ZERO, Duration::from_millis(800))).await;
        *porter = stage.porter.start();
    }
    porter.ready().await;
}

/// Waits until every issue shows an end, nothing is owed, and no machine is there.
async fn settle(stage: &Stage, porter: &Process, asked: &[Asked]) {
    let began = Instant::now();
    let mut told = Instant::now();
    loop {
        stage.github.set_rate_limit(5000, TimeDelta::hours(1));
        let open: Vec<&Asked> = stage
            .github
            .read(|world| asked.iter().filter(|asked| !verdict::has_ended(world, asked)).collect());
        let owed = porter.owed().await;
        let living = stage.fly.living().len();
        if open.is_empty() && owed == Some(0) && living == 0 {
            return;
        }
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            eprintln!("{:5.1?}: {} not ended, {owed:?} owed, {living} machines", began.elapsed(), open.len());
        }
        if began.elapsed() > PATIENCE {
            panic!(
                "not settled: {owed:?} jobs are owed, {living} machines are there, and these have not ended: {open:?}"
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
