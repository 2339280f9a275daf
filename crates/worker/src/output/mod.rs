//! Reads what an agent prints: its JSON stream becomes short lines for people, the tokens and dollars it
//! used, its closing words and its own verdict. One file per format; which one is the registry's to say.
//! Nothing is cut here but by [`shown`] and [`reported`]: a secret that was cut is not recognized any more.

mod amp;
mod cause;
mod claude;
mod opencode;

use std::time::Duration;

use serde_json::Value;

use domain::agent::Output;
use domain::report::Usage;
use domain::text::{visible, without_escape_sequences};

pub use cause::Cause;

/// The most of one line that is shown, in bytes.
const MAX_SHOWN_LINE_BYTES: usize = 2 * 1024;

/// The most of an agent's closing words, or of its reason to fail, that is reported, in bytes.
const MAX_WORDS_BYTES: usize = 4 * 1024;

/// How long an agent may take to exit once it has printed its result.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a format without a result: what looks like the end may be followed by more.
const QUIET_EXIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What is known of a run from its output so far.
#[derive(Debug)]
pub struct Transcript {
    format: Output,
    /// What the agent used so far.
    pub usage: Usage,
    /// Its latest words; at the end, its closing ones.
    pub summary: Option<String>,
    /// The agent said that it failed, and why.
    pub failure: Option<String>,
    /// The agent said that it is done.
    pub finished: bool,
    /// Set while nothing more is to be expected: how long its process may take to exit.
    pub exit_timeout: Option<Duration>,
    /// Tokens of the messages before the current one, for formats that tell them message by message.
    earlier: (u64, u64),
    /// The current message and its tokens so far; it is printed several times.
    current: (String, u64, u64),
}

impl Transcript {
    /// Nothing was printed yet.
    pub fn new(format: Output) -> Self {
        Self {
            format,
            usage: Usage::default(),
            summary: None,
            failure: None,
            finished: false,
            exit_timeout: None,
            earlier: (0, 0),
            current: (String::new(), 0, 0),
        }
    }

    /// The format that is read.
    pub fn format(&self) -> Output {
        self.format
    }

    /// Takes in one line of standard output; gives what a person should see of it.
    pub fn read(&mut self, line: &str) -> Vec<String> {
        let event = serde_json::from_str(line).ok().filter(Value::is_object);
        let shown = event.and_then(|event: Value| match self.format {
            Output::Claude => claude::read(self, &event),
            Output::Opencode => opencode::read(self, &event),
            Output::Amp => amp::read(self, &event),
        });
        shown.unwrap_or_else(|| vec![line.to_owned()]).iter().flat_map(|text| plain(text)).collect()
    }

    /// The agent's own verdict: why it failed, if it did.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn verdict(&self) -> Result<(), String> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        // Interrupted, some tools end with exit code 0 and without a result. OpenCode has no closing event.
        if !self.finished && self.format != Output::Opencode {
            return Err("The agent ended without a result.".to_owned());
        }
        Ok(())
    }

    /// Why the agent failed, as a word for programs; none when it did not, or said nothing that is known.
    pub fn cause(&self) -> Option<Cause> {
        self.failure.as_deref().and_then(Cause::of)
    }

    /// It goes on, whatever looked like its end.
    fn works(&mut self) {
        self.exit_timeout = None;
    }

    /// It says that it failed. Where it may go on, only a known cause is the end.
    fn fails(&mut self, reason: &str, may_go_on: bool) {
        self.failure = Some(format!("The agent failed: {reason}"));
        let ends = !may_go_on || Cause::of(reason).is_some();
        self.exit_timeout = ends.then_some(EXIT_TIMEOUT);
    }

    /// It says that all went well; an error before was not the last word.
    fn succeeds(&mut self, exit_timeout: Duration) {
        self.failure = None;
        self.finished = true;
        self.exit_timeout = Some(exit_timeout);
    }

    fn say(&mut self, words: &str) {
        if !words.trim().is_empty() {
            self.summary = Some(words.trim().to_owned());
        }
    }

    /// Counts a message's tokens, once, however often it is printed in a row. A message without an id
    /// is one of its own.
    fn count_message(&mut self, id: Option<&str>, usage: &Usage) {
        let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
        if id != Some(self.current.0.as_str()) {
            self.earlier.0 = self.earlier.0.saturating_add(self.current.1);
            self.earlier.1 = self.earlier.1.saturating_add(self.current.2);
        }
        self.current = (id.unwrap_or_default().to_owned(), input, output);
        self.usage.input_tokens = Some(self.earlier.0.saturating_add(input));
        self.usage.output_tokens = Some(self.earlier.1.saturating_add(output));
    }
}

/// Tokens in Anthropic's format: what was read from the cache or written to it was read by the model, too.
fn anthropic_usage(usage: &Value) -> Usage {
    let count = |name: &str| usage[name].as_u64();
    let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"].into_iter().filter_map(count);
    Usage {
        input_tokens: count("input_tokens").map(|fresh| cached.fold(fresh, u64::saturating_add)),
        output_tokens: count("output_tokens"),
        ..Usage::default()
    }
}

/// A tool's name and the part of its input that tells most.
fn tool_line(name: &str, input: &Value) -> String {
    const TELLING: [&str; 11] = [
        "command",
        "file_path",
        "filePath",
        "path",
        "pattern",
        "query",
        "url",
        "description",
        "prompt",
        "cmd",
        "title",
    ];
    match TELLING.iter().find_map(|key| input[*key].as_str()) {
        Some(detail) => format!("{name}: {}", detail.lines().next().unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// The lines of a text as a person sees them; blank ones are left out.
pub fn plain(text: &str) -> Vec<String> {
    let lines = visible(&without_escape_sequences(text));
    lines.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// At most `limit` bytes of `text`, and how much was left out.
pub fn shortened(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit);
    format!("{}… ({} bytes more)", &text[..end], text.len() - end)
}

/// A line as it is shown, once its secrets are out.
pub fn shown(line: &str) -> String {
    shortened(line, MAX_SHOWN_LINE_BYTES)
}

/// Closing words or a reason as they are reported, once their secrets are out.
pub fn reported(words: &str) -> String {
    shortened(words, MAX_WORDS_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_shown_as_it_is_without_colours() {
        let mut transcript = Transcript::new(Output::Claude);
        assert_eq!(transcript.read("\u{1b}[31mred\u{1b}[0m\u{7} text"), ["red text"]);
        assert_eq!(transcript.read("{\"type\":\"unheard_of\"}"), ["{\"type\":\"unheard_of\"}"]);
        assert_eq!(transcript.read("[1]"), ["[1]"]);
        assert_eq!(transcript.read("   "), [""; 0]);
    }

    #[test]
    fn an_agent_that_says_nothing_has_not_finished() {
        assert!(Transcript::new(Output::Claude).verdict().is_err());
        assert!(Transcript::new(Output::Amp).verdict().is_err());
        assert!(Transcript::new(Output::Opencode).verdict().is_ok());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("ääää", 3), "ä… (6 bytes more)");
        assert_eq!(shortened("short", 5), "short");
    }
}
