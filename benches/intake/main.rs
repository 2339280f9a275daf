//! How many signed webhooks a second Porter answers durably, how quickly, and in how much memory.
//!
//! `cargo bench --bench intake` starts the real binary as `porter serve` on a new database and plays GitHub:
//! full-size `issue_comment` payloads, each signed, each with numbers of its own. Server and load share this
//! machine. Two profiles: comments that ask for a task, and comments that are not for Porter, which are most
//! of what GitHub sends.
//!
//! - *Closed loop*: every connection sends as soon as it was answered; that gives the throughput.
//! - *Open loop*: deliveries are due at fixed times; the latency counts from the time a delivery was due,
//!   not from when it could be sent, so a stall shows in every delivery it held up.
//! - *Peers*: the same bodies to a server that only checks the signature, and single-row commits to SQLite
//!   under the same durability. Figures of other machines compare as ratios to these.
//!
//! GitHub's API is a closed port. That is the harder case for the engine, which shares the cores and the
//! one writer: every effect fails at once and is owed again, and nothing ever leaves the backlog.
//!
//! At the end the server is killed (`kill -9`) right after its last answer, and the database must hold
//! every task and every delivery that was answered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench")]

mod load;
mod payload;
mod peers;
mod server;

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;

use load::{Load, Pace, Result as Loaded};
use payload::{Payload, Profile};
use server::{Server, Usage};

#[derive(Parser)]
struct Options {
    /// How many tasks are stored before memory is measured.
    #[arg(long, default_value_t = 100_000)]
    tasks: u64,
    /// How many connections GitHub holds open.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Deliveries per second in the open loop.
    #[arg(long, default_value_t = 2_500)]
    rate: u32,
    /// What cargo passes.
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the peer that only checks signatures.
    #[arg(long, hide = true)]
    peer: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.peer {
        return peers::serve_signature_check();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let span = Duration::from_secs(options.seconds);
    let mention = Payload::new(Profile::Mention)?;
    let chatter = Payload::new(Profile::Chatter)?;
    println!("{} bytes a delivery, {} connections\n", mention.size(), options.connections);

    let commits = peers::sqlite_commits(&folder.path().join("peer.db"), span).await?;
    row("SQLite alone, a row a commit", commits, None);
    let peer = peers::SignatureCheck::start()?;
    let load = Load { address: peer.address, connections: options.connections };
    let checks = load.run(&mention, Pace::Closed(span)).await?;
    row("signature check alone", checks.per_second(), Some(&checks));
    drop(peer);

    let mut server = Server::start(folder.path()).await?;
    let load = Load { address: server.address, connections: options.connections };
    let (mut tasks, mut ignored) = (0, 0);

    let asked = measured(&server, "tasks, closed loop", load.run(&mention, Pace::Closed(span))).await?;
    tasks += asked.answered;
    let heard = measured(&server, "no mention, closed loop", load.run(&chatter, Pace::Closed(span))).await?;
    ignored += heard.answered;
    println!(
        "{:<34}{:>9.1} x single commits, {:.2} of the signature check",
        "  tasks, in the peers' terms",
        asked.per_second() / commits,
        asked.per_second() / checks.per_second()
    );

    if tasks < options.tasks {
        tasks += load.run(&mention, Pace::Count(options.tasks - tasks)).await?.answered;
    }
    let pace = || Pace::Open { rate: options.rate, span };
    let usage = server.usage()?;
    println!("\nwith {tasks} tasks stored: {}", memory(&usage, &server)?);
    let name = format!("tasks, {}/s", options.rate);
    tasks += measured(&server, &name, load.run(&mention, pace())).await?.answered;
    let name = format!("no mention, {}/s", options.rate);
    ignored += measured(&server, &name, load.run(&chatter, pace())).await?.answered;

    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, began) = (server.usage()?, Instant::now());
    tokio::time::sleep(span).await;
    let idle = (server.usage()?.cpu - before.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("\nidle with {tasks} tasks and GitHub away: {:.1} % of a core", idle * 100.0);

    tasks += load.run(&mention, Pace::Count(1_000)).await?.answered;
    println!("with {tasks} tasks stored: {}", memory(&server.usage()?, &server)?);
    server.kill()?;
    let (stored, remembered) = server.count().await?;
    println!("after kill -9: {stored} of {tasks} tasks, {remembered} of {} deliveries", tasks + ignored);
    ensure!(stored == tasks && remembered == tasks + ignored, "an answered delivery was lost");
    Ok(())
}

/// A measurement of Porter itself, with what it cost the server.
async fn measured(
    server: &Server,
    name: &str,
    load: impl Future<Output = anyhow::Result<Loaded>>,
) -> anyhow::Result<Loaded> {
    let before = server.usage()?;
    let loaded = load.await?;
    let after = server.usage()?;
    row(name, loaded.per_second(), Some(&loaded));
    let each = loaded.answered.max(1);
    let cpu = (after.cpu - before.cpu).as_micros() / u128::from(each);
    let written = (after.written - before.written) / each / 1024;
    println!("{:<34}{cpu:>9} µs of CPU and {written} KB written, each", "");
    Ok(loaded)
}

fn row(name: &str, per_second: f64, loaded: Option<&Loaded>) {
    print!("{name:<34}{per_second:>9.0}/s");
    if let Some(loaded) = loaded {
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
            print!("   {name} {:>6.2} ms", loaded.latency(share).as_secs_f64() * 1000.0);
        }
    }
    println!();
}

fn memory(usage: &Usage, server: &Server) -> anyhow::Result<String> {
    let megabytes = |bytes: u64| bytes / 1024 / 1024;
    Ok(format!(
        "{} MB resident, {} MB at its highest; database {} MB, its log {} MB",
        megabytes(usage.resident),
        megabytes(usage.highest),
        megabytes(server.file_size("")?),
        megabytes(server.file_size("-wal")?)
    ))
}
