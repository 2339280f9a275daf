//! Everything this test binary logs, in one buffer, so that secrets can be looked for in it.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

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

/// Begins to listen; later calls change nothing.
pub fn capture() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let filter: Targets = "porter=trace,info".parse().expect("a filter");
        let logs = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Buffer);
        let filtered = tracing_subscriber::registry().with(filter).with(logs);
        tracing::subscriber::set_global_default(filtered).expect("the only subscriber");
    });
}

/// What was logged until now.
pub fn so_far() -> String {
    String::from_utf8_lossy(&lines()).into_owned()
}

/// The latest warnings and errors, for a test that fails. Tests run side by side: not all are its own.
pub fn latest_warnings() -> String {
    let text = so_far();
    let warnings: Vec<&str> =
        text.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR")).collect();
    warnings[warnings.len().saturating_sub(25)..].join("\n")
}
