//! The load generator: keep-alive connections on one thread, so that the server has the remaining cores.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::payload::Payload;

/// The target of the deliveries.
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
}

/// The schedule of the deliveries.
#[derive(Clone, Copy)]
pub enum Pace {
    /// Each connection sends as soon as it has a response, for this time.
    Closed(Duration),
    /// Each connection sends as soon as it has a response, until this number of deliveries.
    Count(u64),
    /// At fixed times, `rate` per second, for `span`.
    Open { rate: u32, span: Duration },
}

impl Pace {
    /// Returns when the `n`-th delivery is due, relative to the start; `None` after the last one.
    fn due(self, n: u64, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Closed(span) => (elapsed < span).then_some(elapsed),
            Self::Count(count) => (n < count).then_some(elapsed),
            Self::Open { rate, span } => {
                let due = Duration::from_secs_f64(n as f64 / f64::from(rate));
                (due < span).then_some(due)
            }
        }
    }
}

/// The result of a run. Every delivery was answered with 202.
pub struct Result {
    pub answered: u64,
    took: Duration,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Result {
    pub fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64()
    }

    /// Returns the latency that this share of the deliveries did not exceed.
    pub fn latency(&self, share: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl Load {
    /// Sends deliveries over all connections according to the schedule.
    pub async fn run(&self, payload: &Payload, pace: Pace) -> anyhow::Result<Result> {
        let (sent, latencies) = (Cell::new(0), RefCell::new(Vec::new()));
        let began = Instant::now();
        let connection = || async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (mut request, mut answer) = (Vec::new(), Vec::new());
            while let Some(due) = pace.due(sent.get(), began.elapsed()) {
                sent.set(sent.get() + 1);
                let due = began + due;
                tokio::time::sleep_until(due.into()).await;
                payload.next(&mut request);
                stream.write_all(&request).await?;
                read_answer(&mut stream, &mut answer).await?;
                latencies.borrow_mut().push(due.elapsed());
            }
            anyhow::Ok(())
        };
        try_join_all((0..self.connections).map(|_| connection())).await?;
        let took = began.elapsed();
        let mut latencies = latencies.into_inner();
        latencies.sort_unstable();
        Ok(Result { answered: latencies.len() as u64, took, latencies })
    }
}

/// Reads one response. It must be 202 with the profile's result: a duplicate or a rejection would not measure it.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    loop {
        ensure!(stream.read_buf(answer).await? > 0, "the server closed the connection");
        let text = std::str::from_utf8(answer)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.context("an answer without content-length")?.parse()? {
            continue;
        }
        let taken = body.contains(r#""accepted""#) || body.contains(r#""no_mention""#);
        ensure!(head.starts_with("HTTP/1.1 202") && taken, "answered {text}");
        return Ok(());
    }
}
