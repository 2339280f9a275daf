//! Tells the server how the attempt goes: progress at most once a second, a heartbeat every 30 seconds, and
//! at the end one report, tried again for ten minutes. Everything that leaves here is redacted here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use domain::assignment::Assignment;
use domain::redact::Redactor;
use domain::report::{Completion, Progress, ProgressAnswer, TokenAnswer, TokenRequest, Usage};

use super::output;

/// The header that proves who reports (main-spec §7).
const TOKEN_HEADER: &str = "X-Porter-Callback-Token";
/// Least time between two progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Most time between two progress reports.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// Pause after a progress report that failed.
const PROGRESS_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Lines that wait at most; later ones are counted and left out until there is room.
const MAX_WAITING_LINES: usize = 2000;
/// The most lines in one report.
const MAX_REPORT_LINES: usize = 300;
/// The most bytes of lines in one report.
const MAX_REPORT_BYTES: usize = 256 * 1024;
/// How long the last progress reports may take when the server is slow.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(15);

/// Pauses before each try to send a bundle or to get a token.
const CALL_RETRY_DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(10)];
/// A bundle takes no longer on its way.
const BUNDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How often the final report is tried: with the pauses of [`delay_before`], for about ten minutes.
pub const MAX_CALLBACK_ATTEMPTS: u32 = 25;

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
    /// Those for secrets that came later.
    later_redactors: Mutex<Vec<Redactor>>,
    waiting: Mutex<Waiting>,
    something_new: Notify,
    stop: watch::Sender<Option<Stop>>,
}

/// What was not sent yet.
#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    left_out: usize,
    message: Option<String>,
    percent: Option<u8>,
    usage: Option<Usage>,
    closing: bool,
}

impl Waiting {
    fn fits_one_report(&self) -> bool {
        let bytes: usize = self.lines.iter().map(String::len).sum();
        self.lines.len() <= MAX_REPORT_LINES && bytes <= MAX_REPORT_BYTES
    }
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
            later_redactors: Mutex::default(),
            waiting: Mutex::default(),
            something_new: Notify::new(),
            stop: watch::Sender::new(None),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// `text` as a person sees it, without any secret.
    pub fn clean(&self, text: &str) -> String {
        let later = self.shared.later_redactors.lock().unwrap_or_else(PoisonError::into_inner);
        later.iter().fold(self.shared.redactor.clean(text), |text, redactor| redactor.redact(&text))
    }

    /// Adds a log line.
    pub fn line(&self, text: &str) {
        let text = output::shown(&self.clean(text));
        tracing::info!("{text}");
        let mut waiting = self.waiting();
        waiting.message = Some(output::shortened(&text, 200));
        if waiting.lines.len() < MAX_WAITING_LINES {
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

    /// Sends progress until [`Reporter::close`], and ends when the final report can carry what still waits.
    pub async fn pump(self) {
        let (mut earliest, mut latest) = (Instant::now(), Instant::now());
        loop {
            let (is_empty, done) = {
                let waiting = self.waiting();
                (waiting.lines.is_empty(), waiting.closing && waiting.fits_one_report())
            };
            if done {
                return;
            }
            let next = if is_empty { latest } else { earliest };
            tokio::select! {
                () = self.shared.something_new.notified() => continue,
                () = tokio::time::sleep_until(next) => {}
            }
            let sent = self.send_progress().await;
            let pause = if sent { PROGRESS_INTERVAL } else { PROGRESS_RETRY_DELAY };
            (earliest, latest) = (Instant::now() + pause, Instant::now() + HEARTBEAT_INTERVAL);
        }
    }

    /// Lets [`Reporter::pump`], running as `pump`, end. What it has not sent goes with the final report, which
    /// does not wait for the pace of progress reports.
    pub async fn close(&self, pump: tokio::task::JoinHandle<()>) {
        self.waiting().closing = true;
        self.shared.something_new.notify_one();
        let abort = pump.abort_handle();
        if tokio::time::timeout(CLOSE_TIMEOUT, pump).await.is_err() {
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
            if events.len() >= MAX_REPORT_LINES || (bytes > MAX_REPORT_BYTES && !events.is_empty()) {
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

    /// Sends the final report until it is accepted, refused for good, or ten minutes have passed. Returns
    /// whether it was accepted.
    pub async fn complete(&self, mut report: Completion) -> bool {
        let clean =
            |text: &mut Option<String>| *text = text.take().map(|t| output::reported(&self.clean(&t)));
        clean(&mut report.summary);
        clean(&mut report.error);
        for remark in &mut report.remarks {
            remark.text = self.clean(&remark.text);
            remark.paths.iter_mut().for_each(|path| *path = self.clean(path));
        }
        report.events = self.take_batch().events;
        report.callback_max_attempts = Some(MAX_CALLBACK_ATTEMPTS);
        for attempt in 1..=MAX_CALLBACK_ATTEMPTS {
            tokio::time::sleep(jittered(delay_before(attempt))).await;
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

    /// Asks for a fresh installation token (main-spec §7). It is out of everything that is reported from then on.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub async fn fresh_token(&self, url: &str) -> Result<String, String> {
        let body = TokenRequest { task_id: self.shared.task_id.clone(), attempt: self.shared.attempt };
        let mut reason = String::new();
        for delay in CALL_RETRY_DELAYS {
            tokio::time::sleep(delay).await;
            match self.post(url, &body).await {
                Ok(answer) if answer.status().is_success() => {
                    let answer = answer
                        .json::<TokenAnswer>()
                        .await
                        .map_err(|error| error.without_url().to_string())?;
                    let redactor = Redactor::new([answer.token.as_str()]);
                    self.shared.later_redactors.lock().unwrap_or_else(PoisonError::into_inner).push(redactor);
                    return Ok(answer.token);
                }
                Ok(answer) => {
                    reason = format!("Porter answered {}", answer.status());
                    if !may_pass(answer.status()) {
                        break;
                    }
                }
                Err(error) => reason = error.without_url().to_string(),
            }
        }
        Err(reason)
    }

    /// Sends the work as a git bundle (main-spec §7).
    ///
    /// # Errors
    /// Why it is not there, for a person.
    pub async fn put_bundle(&self, url: &str, bytes: Vec<u8>) -> Result<(), String> {
        let mut url = url::Url::parse(url).map_err(|error| format!("BUNDLE_URL is no URL: {error}"))?;
        if !url.query_pairs().any(|(name, _)| name == "task_id") {
            url.query_pairs_mut()
                .append_pair("task_id", &self.shared.task_id)
                .append_pair("attempt", &self.shared.attempt.to_string());
        }
        let mut reason = String::new();
        for delay in CALL_RETRY_DELAYS {
            tokio::time::sleep(delay).await;
            let request = self.shared.client.put(url.clone()).timeout(BUNDLE_TIMEOUT);
            let request = request
                .header(TOKEN_HEADER, &self.shared.token)
                .header("content-type", "application/x-git-bundle")
                .body(bytes.clone());
            match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    reason = format!("Porter answered {}", answer.status());
                    if !may_pass(answer.status()) {
                        break;
                    }
                }
                Err(error) => reason = error.without_url().to_string(),
            }
        }
        Err(reason)
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

/// How long to wait before try `attempt` (from 1) of the final report: doubling from half a second to at
/// most 30.
fn delay_before(attempt: u32) -> Duration {
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(500 << (attempt - 2).min(10)).min(Duration::from_secs(30)),
    }
}

/// Up to a quarter less or more, so that many workers do not come back at once.
fn jittered(delay: Duration) -> Duration {
    let mut random = [128_u8; 1];
    getrandom::fill(&mut random).ok();
    delay.mul_f64(0.75 + f64::from(random[0]) / 255.0 / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_report_is_tried_for_about_ten_minutes() {
        let total: Duration = (1..=MAX_CALLBACK_ATTEMPTS).map(delay_before).sum();
        assert!((Duration::from_secs(9 * 60)..Duration::from_secs(11 * 60)).contains(&total), "{total:?}");
        assert_eq!(delay_before(1), Duration::ZERO);
        assert_eq!(delay_before(3), Duration::from_secs(1));
    }

    #[test]
    fn a_pause_differs_by_at_most_a_quarter() {
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
