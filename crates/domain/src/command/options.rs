//! Parses the text after the mention: control word, agent, options and instructions.

use super::mention::Mention;
use super::{Command, Invalid, Run};
use crate::agent::is_model_name;
use crate::branch::is_branch_name;
use crate::markdown::code;
use crate::priority::Priority;

const NAMES: [&str; 3] = ["priority", "model", "base"];
const USAGE: &str = "The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.";

/// Parses the command after `mention`. Options may appear anywhere before the second line of the instructions.
///
/// # Errors
/// The first error: an unknown option, a missing or invalid value, or an option that is repeated with a
/// different value.
pub(super) fn read<'a>(
    comment: &str,
    mention: &Mention,
    agent: impl Fn(&str) -> Option<&'a str>,
) -> Result<Command, Invalid> {
    let mut reader = Reader {
        comment,
        mention,
        at: mention.end,
        end: line_end(comment, mention.end),
        run: Run::default(),
    };
    if let Some((_, command)) = Command::control(&comment[reader.at..reader.end]) {
        return Ok(command);
    }
    reader.read_agent_and_options(&agent)?;
    let (kept, verbatim) = loop {
        let line = reader.read_line()?;
        if line.begins_instructions || reader.end == comment.len() {
            break (line.kept, line.verbatim);
        }
        reader.at = reader.end + 1;
        reader.end = line_end(comment, reader.at);
    };
    let Reader { end, mut run, .. } = reader;
    run.instructions = (kept + &comment[end..]).trim_end().trim_start_matches('\n').to_owned();
    match Command::control(&run.instructions) {
        Some((word, command)) if !verbatim => {
            let alone = Run { instructions: run.instructions.clone(), ..Run::default() };
            if run == alone { Ok(command) } else { Err(not_alone(word)) }
        }
        _ => Ok(Command::Run(run)),
    }
}

fn not_alone(word: &str) -> Invalid {
    let message = format!(
        "`{word}` is about all tasks of this issue, so it takes no agent and no options: write `@porter {word}`."
    );
    Invalid { message }
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |found| from + found)
}

/// Reads the lines that may contain options.
struct Reader<'a> {
    comment: &'a str,
    mention: &'a Mention,
    /// The position up to which the comment was read.
    at: usize,
    /// The end of the current line.
    end: usize,
    run: Run,
}

struct Line {
    /// The current line without its options.
    kept: String,
    /// Whether the line contains instructions, or `--` has started them.
    begins_instructions: bool,
    /// Whether `--` has started the instructions, which are then kept verbatim.
    verbatim: bool,
}

impl<'c> Reader<'c> {
    /// Reads the agent and the options. The agent is recognized only directly after the mention.
    fn read_agent_and_options<'a>(&mut self, agent: impl Fn(&str) -> Option<&'a str>) -> Result<(), Invalid> {
        while let Some((start, word)) = self.word(self.at) {
            if self.mention.is_literal(start) {
                break;
            }
            if let Some(option) = as_option(word) {
                self.read_option(start, word, option)?;
                continue;
            }
            let name = word.trim_end_matches([',', ':', ';', '.', '!']).to_ascii_lowercase();
            if let Some(id) = agent(&name) {
                self.run.agent = Some(id.to_owned());
                self.at = start + word.len();
            }
            break;
        }
        self.at += self.blanks(self.at);
        Ok(())
    }

    /// Reads the rest of the line.
    fn read_line(&mut self) -> Result<Line, Invalid> {
        let mut kept = String::new();
        while let Some((start, word)) = self.word(self.at) {
            let literal = self.mention.is_literal(start);
            if !literal && word == "--" && kept.is_empty() {
                let from = start + word.len();
                let kept = self.comment[from + self.blanks(from)..self.end].to_owned();
                return Ok(Line { kept, begins_instructions: true, verbatim: true });
            }
            if !literal && word == "--" {
                break;
            }
            match as_option(word) {
                Some(option) if !literal => {
                    self.read_option(start, word, option)?;
                    if kept.is_empty() {
                        self.at += self.blanks(self.at);
                    }
                }
                _ => {
                    let next = start + word.len();
                    kept.push_str(&self.comment[self.at..next]);
                    self.at = next;
                }
            }
        }
        kept.push_str(&self.comment[self.at..self.end]);
        let begins_instructions = !kept.trim().is_empty();
        Ok(Line { kept, begins_instructions, verbatim: false })
    }

    /// Returns the next word at or after `from` on this line, with its position.
    fn word(&self, from: usize) -> Option<(usize, &'c str)> {
        let start = from + self.blanks(from);
        let text = &self.comment[start..self.end];
        let length = text.find(char::is_whitespace).unwrap_or(text.len());
        (length > 0).then(|| (start, &text[..length]))
    }

    /// Returns the number of blank bytes at `from` on this line.
    fn blanks(&self, from: usize) -> usize {
        let text = &self.comment[from..self.end];
        text.len() - text.trim_start().len()
    }

    /// Reads the option `word` at `start` and moves behind it.
    fn read_option(
        &mut self,
        start: usize,
        word: &str,
        option: (&str, Option<&'c str>),
    ) -> Result<(), Invalid> {
        let comment = self.comment;
        let wrong = |what: String| {
            let line = comment[..start].matches('\n').count() + 1;
            Invalid { message: format!("{what} (line {line} of your comment). {USAGE}") }
        };
        let (name, value) = option;
        let Some(name) = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            let mut invalid = wrong(format!("I do not know the option {}", code(word, 60)));
            invalid.message.push_str(" If it is part of your instructions, put it in backticks.");
            return Err(invalid);
        };
        self.at = start + word.len();
        let value = match value {
            Some(value) => value,
            None => match self.word(self.at) {
                Some((at, value)) if !value.starts_with("--") && as_option(value).is_none() => {
                    self.at = at + value.len();
                    value
                }
                _ => "",
            },
        };
        let value = value.trim_matches(['"', '\'', '“', '”', '‘', '’']);
        if value.is_empty() {
            return Err(wrong(format!("`--{name}` needs a value")));
        }
        let shown = || code(value, 60);
        let differs = match name {
            "priority" => match Priority::parse(value) {
                Some(priority) => contradicts(&mut self.run.priority, priority),
                None => return Err(wrong(format!("{} is not a priority", shown()))),
            },
            "model" if is_model_name(value) => contradicts(&mut self.run.model, value.to_owned()),
            "base" if is_branch_name(value) => contradicts(&mut self.run.base_branch, value.to_owned()),
            _ => {
                let thing = if name == "base" { "branch" } else { name };
                return Err(wrong(format!("{} cannot be the name of a {thing}", shown())));
            }
        };
        if differs {
            return Err(wrong(format!("`--{name}` is given twice, the second time as {}", shown())));
        }
        Ok(())
    }
}

/// Returns whether a different value is already stored; otherwise stores the value.
fn contradicts<T: PartialEq>(place: &mut Option<T>, value: T) -> bool {
    if place.as_ref().is_some_and(|old| *old != value) {
        return true;
    }
    *place = Some(value);
    false
}

/// Returns the name and, after `=`, the value of a word that is an option. Phones replace `--` with a dash.
/// After a dash only known options are recognized, because a dash also occurs in ordinary text.
fn as_option(word: &str) -> Option<(&str, Option<&str>)> {
    let (rest, typed) = match word.strip_prefix("--") {
        Some(rest) => (rest, true),
        None => (word.strip_prefix(['—', '–'])?, false),
    };
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    let known = || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
    (name.starts_with(char::is_alphabetic) && (typed || known())).then_some((name, value))
}
