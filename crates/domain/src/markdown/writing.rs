//! Inserts untrusted text into Porter's text. The result is displayed literally: it creates no mention,
//! reference or link, loads nothing, opens or closes no element, and adds no line breaks.
//!
//! GitHub searches the *rendered* text for mentions, references and addresses, so backslashes do not prevent
//! them; only code does. [`plain`] therefore writes a word that GitHub would interpret as code, and puts a
//! backslash before every other character that Markdown would interpret.

use crate::text::clean;

/// Returns the first `max` characters, followed by `…` when the text is longer.
pub(super) fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((cut, _)) => format!("{}…", text[..cut].trim_end()),
        None => text.to_owned(),
    }
}

/// Returns one cleaned line, in which runs of blanks and line ends become one space.
pub fn line(text: &str, max: usize) -> String {
    shorten(&clean(text).split_whitespace().collect::<Vec<_>>().join(" "), max)
}

/// Returns at most `max` characters of `text` as inline code on one line.
pub fn code(text: &str, max: usize) -> String {
    let text = line(text, max);
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let space = if text.is_empty() || text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// Returns at most `max` characters of `text` as a code block that keeps its lines.
pub fn block(text: &str, max: usize) -> String {
    let text = shorten(clean(text).trim_matches('\n'), max);
    let fence = fence(&text);
    format!("{fence}text\n{text}\n{fence}")
}

/// Returns a fence that no line of `text` can close: longer than every run of backticks in it.
pub fn fence(text: &str) -> String {
    "`".repeat(longest_run(text, '`').max(2) + 1)
}

/// Returns a login as a mention, or as code if it is not a valid login.
pub fn mention(login: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !login.is_empty() && login.len() <= 100 && login.chars().all(plain) {
        format!("@{login}")
    } else {
        code(login, 100)
    }
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Returns `text` on one line without meaning to Markdown or GitHub. `begins_line` is true when nothing precedes
/// it on the line. Blanks at both ends become one space each.
pub fn plain(text: &str, begins_line: bool) -> String {
    let mut out = String::new();
    for (index, word) in text.split_whitespace().enumerate() {
        if index > 0 || (text.starts_with(char::is_whitespace) && !begins_line) {
            out.push(' ');
        }
        let first = index == 0 && begins_line;
        if !acts_on_github(word) {
            escape(word, first, &mut out);
            continue;
        }
        // Punctuation around a mention or an address is not part of it.
        let core = word.trim_matches(['(', '[', '"', '\'', ',', '.', ';', ':', '!', '?', ']', ')']);
        let at = word.find(core).unwrap_or(0);
        escape(&word[..at], first, &mut out);
        out.push_str(&code(core, usize::MAX));
        escape(&word[at + core.len()..], false, &mut out);
    }
    if !out.is_empty() && text.ends_with(char::is_whitespace) {
        out.push(' ');
    }
    out
}

fn escape(word: &str, begins_line: bool, out: &mut String) {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    for (at, c) in word.char_indices() {
        let begins_block =
            (at == 0 && "#+-=".contains(c)) || (at > 0 && at == digits && (c == '.' || c == ')'));
        if (begins_line && begins_block) || "\\`*_[]<>&!~|$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
}

/// Returns whether GitHub would interpret the word as a mention, a reference or a link.
pub(super) fn acts_on_github(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let digit_after = |sign: &str| {
        lower
            .match_indices(sign)
            .any(|(at, _)| lower[at + sign.len()..].starts_with(|c: char| c.is_ascii_digit()))
    };
    word.contains('@')
        || digit_after("#")
        || digit_after("gh-")
        || lower.contains("://")
        || lower.contains("www.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Parser};

    use super::*;

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(block("a\n````\nb", 100), "`````text\na\n````\nb\n`````");
    }

    #[test]
    fn code_with_backticks_stays_code() {
        assert_eq!(code("a `b`", 100), "`` a `b` ``");
    }

    #[test]
    fn only_a_login_is_mentioned() {
        assert_eq!(mention("octo-cat"), "@octo-cat");
        assert_eq!(mention("a b"), "`a b`");
    }

    proptest! {
        #[test]
        fn code_is_one_code_span(text in r"[a`\n \\@<]{0,20}") {
            let markdown = format!("x {} y", code(&text, 100));
            let spans = Parser::new(&markdown).filter(|event| matches!(event, Event::Code(_))).count();
            prop_assert_eq!(spans, 1, "{:?}", markdown);
        }
    }
}
