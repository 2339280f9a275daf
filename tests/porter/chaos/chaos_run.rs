//! All faults at the same time. By default the run is small; `PORTER_CHAOS_TASKS=200 PORTER_CHAOS_KILLS=20` is the
//! full run. `PORTER_CHAOS_SEED` repeats a run. With `PORTER_CHAOS_PEOPLE=1` all calls go through one installation,
//! so that each of GitHub's rate limits delays all of them: settling takes twice as long.

use std::time::{Duration, Instant};

use axum::http::Method;
use chrono::TimeDelta;
use porter::config::variable;
use standin::{Effect, Fault};

use super::machines::Conduct;
use super::porter::Process;
use super::random::Random;
use super::stage::{Size, Stage};
use super::verdict::Request;
use crate::fake_fly::Fault as FlyFault;

const TASKS: u64 = 40;
const KILLS: u64 = 6;
/// The share of calls to GitHub that fail, in per mille.
const GITHUB_PER_MILLE: u16 = 150;
/// The share of calls to Fly that fail, in percent.
const FLY_PERCENT: u64 = 33;

fn number(name: &str) -> Option<u64> {
    variable(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mention_ends_exactly_once_despite_faults_and_kills() {
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
    stage.fly.chaos_run(seed, FLY_PERCENT, &trouble);

    let began = Instant::now();
    let mut porter = stage.porter.start_ready().await;
    let speaking =
        speak(&stage, &asked, seed, Duration::from_millis(2500) * u32::try_from(kills).expect("few"));
    let (porter, ()) = tokio::join!(
        async {
            kill_again_and_again(&stage, &mut porter, seed, kills).await;
            porter
        },
        speaking
    );
    let chaos_time = began.elapsed();
    stage.settle(&porter, &asked).await;
    let settled = began.elapsed();

    let twice = stage.machines.made().into_values().filter(|times| *times > 1).count();
    eprintln!(
        "chaos for {chaos_time:.1?}, settled {:.1?} later; calls: {} to GitHub, {} to Fly; machines: {}, of which \
         {twice} replaced a lost one; memory {} KiB",
        settled.saturating_sub(chaos_time),
        stage.github.read(|state| state.requests().len()),
        stage.fly.requests().len(),
        stage.fly.machines().len(),
        porter.memory(),
    );
    stage.close(porter, &asked).await;
}

async fn open_issues(stage: &Stage, seed: u64, tasks: u64) -> Vec<Request> {
    let mut asked = Vec::new();
    for number in 0..tasks {
        let pick = |list: &[String]| list[usize::try_from(number).expect("few") % list.len()].clone();
        let (repository, author) = (pick(&stage.repositories), pick(&stage.people));
        let issue = stage.issue(&repository, &author, &format!("Greet everybody, {number}")).await;
        let conduct = Conduct::of(seed, &repository, issue);
        asked.push(Request { repository, issue, conduct });
    }
    asked
}

/// Writes one mention on each issue, at random times within `during`; some deliveries are sent twice.
async fn speak(stage: &Stage, asked: &[Request], seed: u64, during: Duration) {
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
        // The stand-in counts calls against the rate limit like GitHub; only the injected faults should matter.
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
