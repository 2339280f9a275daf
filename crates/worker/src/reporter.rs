//! Tells the server how the attempt goes: progress at most once a second, a heartbeat every 30 seconds, and
//! at the end one report, tried again for ten minutes. Everything that leaves here is redacted here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use domain::assignment::Assignment;
use domain::report::{Completion, Progress, ProgressAnswer, Usage};

use super::output;
use super::redact::Redactor;

/// The header that proves who reports (contract §7).
const TOKEN_HEADER: &str = "X-Porter-Callback-Token";
/// Least time between two progress reports.
const PACE: Duration = Duration::from_secs(1);
/// The server hears at least this often.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Rest after a progress report that failed.
const REST: Duration = Duration::from_secs(5);
/// Lines that wait at most; later ones are counted and left out until there is room.
const MOST_WAITING: usize = 2000;
/// Lines, and bytes of lines, in one report.
const MOST_AT_ONCE: (usize, usize) = (300, 256 * 1024);
/// For the last lines of a run, when the server is slow.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// How often the final report is tried: with the rests of [`rest_before`], for about ten minutes.
pub const MOST_TRIES: u32 = 25;

/// Why the worker should stop before its agent has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The server no longer wants the attempt.
    Cancelled,
    /// The machine is being shut down.
    Terminated,
}

/// Speaks to the server about one attempt. Cheap to clone. Holds the callback token: no `Debug`.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
}

struct Shared {
    client: reqwest::Client,
    progress_url: String,
    completion_url: String,
    token: String,
    task_id: String,
    attempt: u32,
    redactor: Redactor,
    waiting: Mutex<Waiting>,
    something_new: Notify,
    stop: watch::Sender<Option<Stop>>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    left_out: usize,
    message: Option<String>,
    percent: Option<u8>,
    usage: Option<Usage>,
    closing: bool,
}

impl Reporter {
    /// A reporter for `assignment`; [`Reporter::pump`] must run for anything to be sent.
    ///
    /// # Errors
    /// When the TLS library cannot start.
    pub fn new(assignment: &Assignment, redactor: Redactor) -> Result<Self, reqwest::Error> {
        let client = tls::client()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .build()?;
        let shared = Shared {
            client,
            progress_url: assignment.progress_url.clone(),
            completion_url: assignment.callback_url.clone(),
            token: assignment.callback_token.clone(),
            task_id: assignment.task_id.clone(),
            attempt: assignment.attempt,
            redactor,
            waiting: Mutex::default(),
            something_new: Notify::new(),
            stop: watch::Sender::new(None),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// `text` without any secret.
    pub fn clean(&self, text: &str) -> String {
        self.shared.redactor.clean(text)
    }

    /// Adds a log line.
    pub fn line(&self, text: &str) {
        let text = output::shown(&self.clean(text));
        tracing::info!("{text}");
        let mut waiting = self.waiting();
        waiting.message = Some(output::shortened(&text, 200));
        if waiting.lines.len() < MOST_WAITING {
            waiting.lines.push_back(text);
        } else {
            waiting.left_out += 1;
        }
        drop(waiting);
        self.shared.something_new.notify_one();
    }

    /// Adds a log line that also moves the progress to `percent`.
    pub fn step(&self, text: &str, percent: u8) {
        self.waiting().percent = Some(percent);
        self.line(text);
    }

    /// What the agent used so far.
    pub fn usage(&self, usage: &Usage) {
        self.waiting().usage = Some(usage.clone());
    }

    /// Asks everybody who watches [`Reporter::stopped`] to stop; the first reason stands.
    pub fn stop(&self, reason: Stop) {
        self.shared.stop.send_if_modified(|current| current.is_none() && current.replace(reason).is_none());
    }

    /// Waits until the attempt is to stop; for ever when it never is.
    pub async fn stopped(&self) -> Stop {
        let mut changes = self.shared.stop.subscribe();
        loop {
            if let Some(reason) = *changes.borrow_and_update() {
                return reason;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Sends progress until [`Reporter::close`]; then what still waits, and ends.
    pub async fn pump(self) {
        let (mut earliest, mut latest) = (Instant::now(), Instant::now());
        loop {
            let (quiet, closing) = {
                let waiting = self.waiting();
                (waiting.lines.is_empty(), waiting.closing)
            };
            if quiet && closing {
                return;
            }
            if quiet {
                tokio::select! {
                    () = self.shared.something_new.notified() => continue,
                    () = tokio::time::sleep_until(latest) => {}
                }
            }
            tokio::time::sleep_until(earliest).await;
            let rest = if self.send_progress().await { PACE } else { REST };
            (earliest, latest) = (Instant::now() + rest, Instant::now() + HEARTBEAT);
        }
    }

    /// Lets [`Reporter::pump`], running as `pump`, end, for as long as the last lines are worth.
    pub async fn close(&self, pump: tokio::task::JoinHandle<()>) {
        self.waiting().closing = true;
        self.shared.something_new.notify_one();
        let abort = pump.abort_handle();
        if tokio::time::timeout(LAST_WORDS, pump).await.is_err() {
            abort.abort();
        }
    }

    /// Sends one progress report; false when it should be tried again after a rest.
    async fn send_progress(&self) -> bool {
        let report = self.take_batch();
        let sent = self.post(&self.shared.progress_url, &report).await;
        match sent {
            Ok(answer) if answer.status().is_success() => {
                let answer = answer.json::<ProgressAnswer>().await.unwrap_or_default();
                if answer.cancel {
                    self.stop(Stop::Cancelled);
                }
                true
            }
            // What the server does not take it will not take later.
            Ok(answer) if !may_pass(answer.status()) => true,
            Ok(_) | Err(_) => {
                self.put_back(report.events);
                false
            }
        }
    }

    fn take_batch(&self) -> Progress {
        let mut waiting = self.waiting();
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(line) = waiting.lines.front() {
            bytes += line.len();
            if events.len() >= MOST_AT_ONCE.0 || (bytes > MOST_AT_ONCE.1 && !events.is_empty()) {
                break;
            }
            events.extend(waiting.lines.pop_front());
        }
        if waiting.lines.is_empty() && waiting.left_out > 0 {
            events.push(format!("({} lines left out)", std::mem::take(&mut waiting.left_out)));
        }
        Progress {
            task_id: self.shared.task_id.clone(),
            execution_id: self.shared.task_id.clone(),
            attempt: self.shared.attempt,
            progress: waiting.percent,
            message: waiting.message.clone(),
            events,
            usage: waiting.usage.clone(),
            callback_token: None,
        }
    }

    fn put_back(&self, events: Vec<String>) {
        let mut waiting = self.waiting();
        for line in events.into_iter().rev() {
            waiting.lines.push_front(line);
        }
    }

    /// Sends the final report until it is accepted, refused for good, or ten minutes have passed. Gives
    /// whether it was accepted.
    pub async fn complete(&self, mut report: Completion) -> bool {
        let clean =
            |text: &mut Option<String>| *text = text.take().map(|t| output::reported(&self.clean(&t)));
        clean(&mut report.summary);
        clean(&mut report.error);
        report.callback_max_attempts = Some(MOST_TRIES);
        for attempt in 1..=MOST_TRIES {
            tokio::time::sleep(jittered(rest_before(attempt))).await;
            report.callback_attempt = Some(attempt);
            match self.post(&self.shared.completion_url, &report).await {
                Ok(answer) if answer.status().is_success() => return true,
                Ok(answer) => {
                    let status = answer.status();
                    tracing::warn!(callback.attempt = attempt, %status, "the report was not accepted");
                    if !may_pass(status) {
                        return false;
                    }
                    report.callback_last_http_code = Some(status.as_u16());
                }
                Err(error) => {
                    let error = error.without_url();
                    tracing::warn!(callback.attempt = attempt, %error, "the report did not arrive");
                }
            }
        }
        false
    }

    async fn post(
        &self,
        url: &str,
        body: &impl serde::Serialize,
    ) -> Result<reqwest::Response, reqwest::Error> {
        self.shared.client.post(url).header(TOKEN_HEADER, &self.shared.token).json(body).send().await
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer is about the server's state and not about the report.
fn may_pass(status: reqwest::StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 425 | 429)
}

/// How long to rest before try `attempt` (from 1) of the final report: doubling from half a second to at
/// most 30.
fn rest_before(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(500 << (attempt - 2).min(10)).min(Duration::from_secs(30)),
    }
}

/// Up to a quarter less or more, so that many workers do not come back at once.
fn jittered(rest: Duration) -> Duration {
    let mut random = [128_u8; 1];
    getrandom::fill(&mut random).ok();
    rest.mul_f64(0.75 + f64::from(random[0]) / 255.0 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_report_is_tried_for_about_ten_minutes() {
        let total: Duration = (1..=MOST_TRIES).map(rest_before).sum();
        assert!((Duration::from_secs(9 * 60)..Duration::from_secs(11 * 60)).contains(&total), "{total:?}");
        assert_eq!(rest_before(1), Duration::ZERO);
        assert_eq!(rest_before(3), Duration::from_secs(1));
    }

    #[test]
    fn a_rest_differs_by_at_most_a_quarter() {
        for _ in 0..100 {
            let seen = jittered(Duration::from_secs(100));
            assert!((Duration::from_secs(75)..=Duration::from_secs(125)).contains(&seen), "{seen:?}");
        }
    }

    #[test]
    fn a_refusal_is_final_and_a_breakdown_is_not() {
        let final_codes = [400, 401, 404, 422, 301];
        let passing = [500, 502, 503, 408, 429];
        for code in final_codes {
            assert!(!may_pass(reqwest::StatusCode::from_u16(code).unwrap()), "{code}");
        }
        for code in passing {
            assert!(may_pass(reqwest::StatusCode::from_u16(code).unwrap()), "{code}");
        }
    }
}
