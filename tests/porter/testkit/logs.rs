//! Collects all log lines of this test binary in one buffer, in which the closing step looks for secrets.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Buffer;

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn lines() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the collection; later calls have no effect.
pub fn capture() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let filter: Targets = "porter=trace,info".parse().expect("a filter");
        let logs = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Buffer);
        let filtered = tracing_subscriber::registry().with(filter).with(logs);
        tracing::subscriber::set_global_default(filtered).expect("the only subscriber");
    });
}

/// Returns everything logged so far.
pub fn so_far() -> String {
    String::from_utf8_lossy(&lines()).into_owned()
}

/// Waits until so many lines hold all of these texts.
pub async fn wait_for(count: usize, texts: &[&str]) {
    let began = Instant::now();
    loop {
        let seen = count_lines(texts);
        if seen >= count {
            return;
        }
        assert!(began.elapsed() < super::TEST_TIMEOUT, "expected {count} lines with {texts:?}, seen {seen}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns how many lines hold all of these texts.
pub fn count_lines(texts: &[&str]) -> usize {
    so_far().lines().filter(|line| texts.iter().all(|text| line.contains(text))).count()
}

/// Returns the latest warnings and errors, for failure messages. Tests run concurrently: some belong to other tests.
pub fn latest_warnings() -> String {
    let text = so_far();
    let warnings: Vec<&str> =
        text.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect();
    warnings[warnings.len().saturating_sub(25)..].join("\n")
}
