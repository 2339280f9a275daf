//! Measures the throughput, latency and memory of durable webhook intake.
//!
//! `cargo bench --bench intake` starts the real binary as `porter serve` on a new database and sends it full-size,
//! signed `issue_comment` payloads with distinct ids, as GitHub does. Server and load generator share this machine.
//! There are two profiles: comments that create a task, and comments without a mention, which are the majority of
//! GitHub's deliveries.
//!
//! - *Closed loop*: every connection sends as soon as it has a response; this measures the throughput.
//! - *Open loop*: deliveries are due at fixed times; the latency is measured from the time a delivery was due,
//!   not from when it was sent, so a stall counts for every delivery it delayed.
//! - *Peers*: the same bodies sent to a server that only checks the signature, and single-row commits to SQLite
//!   with the same durability. Results of different machines can be compared as ratios to these.
//!
//! GitHub's API is a closed port. This is the harder case for the job engine, which shares the cores and the
//! single writer: every job fails at once and is retried, and the backlog never shrinks.
//!
//! At the end the server is killed with SIGKILL directly after its last response, and the database must contain
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
    /// The number of stored tasks before memory is measured.
    #[arg(long, default_value_t = 100_000)]
    tasks: u64,
    /// The number of concurrent connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The duration of each measurement in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Deliveries per second in the open loop.
    #[arg(long, default_value_t = 2_500)]
    rate: u32,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
    /// Run as the peer that only checks signatures.
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

/// Measures Porter itself, including the CPU time and disk writes of the server.
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
