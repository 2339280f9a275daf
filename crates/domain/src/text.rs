//! Untrusted text as a person sees it: without invisible, hidden and terminal-only characters.
//!
//! All text that leaves Porter is normalised (here), redacted (`redact`) and shortened, in this order. No step
//! after the redaction may delete a character, because that could rejoin a secret that the character had split.
//! [`super::prompt`], [`super::markdown`], [`super::redact`] and the worker's output readers call this module.

use std::borrow::Cow;

use super::markdown::{Piece, walk};

/// Returns the [`visible`] text as GitHub renders it, without HTML comments. Comments inside code are kept,
/// because GitHub displays them.
pub fn clean(text: &str) -> String {
    let seen = visible(text);
    if seen.contains("<!--") { without_comments(&seen) } else { seen }
}

/// Returns `text` without control characters (except tab and newline), invisible characters and characters that
/// change the writing direction. Line ends become `\n`.
///
/// Persian, Hindi and emoji such as 🏳️‍🌈 require the joiners and the two emoji selectors, so one of them (or a
/// selector and a joiner) is kept after a non-ASCII character. Elsewhere, and in sequences, they only serve to
/// hide text.
pub fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    let mut before = '\n';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' {
            chars.next_if_eq(&'\n');
        }
        let c = if matches!(c, '\r' | '\u{2028}' | '\u{2029}') { '\n' } else { c };
        let joins = !before.is_ascii() && (!is_joiner(before) || (before == '\u{fe0f}' && c == '\u{200d}'));
        let keep = if is_joiner(c) { joins } else { !is_invisible(c) };
        if keep {
            seen.push(c);
            before = c;
        }
    }
    seen
}

/// Returns `text` as a terminal displays it, without escape sequences such as those for colours and links.
pub fn without_escape_sequences(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            skip_escape_sequence(&mut chars);
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Skips the rest of an escape sequence after its ESC (ECMA-48 §5.4 and §8.3.89). A control sequence ends with a
/// byte from `@` to `~`, an operating system command with BEL or ESC `\`.
fn skip_escape_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if chars.next_if_eq(&'[').is_some() {
        while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
        chars.next_if(|c| ('@'..='~').contains(c));
    } else if chars.next_if_eq(&']').is_some() {
        while let Some(c) = chars.next_if(|c| *c != '\n') {
            if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                return;
            }
        }
    }
}

fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    walk(text, |piece, range| {
        if piece != Piece::Comment || range.start < from {
            return;
        }
        kept.push_str(&text[from..range.start]);
        // A space prevents both sides from forming one word or a new comment.
        if !kept.ends_with(char::is_whitespace) && !text[range.end..].starts_with(char::is_whitespace) {
            kept.push(' ');
        }
        from = range.end;
    });
    kept.push_str(&text[from..]);
    kept
}

/// Returns whether `c` is a zero-width joiner or one of the two emoji selectors.
pub(super) fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

/// Returns whether `c` is a control character or default-ignorable in Unicode: soft hyphen, fillers, zero-width
/// and bidirectional characters, variation selectors, interlinear marks, tags.
pub(super) fn is_invisible(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    control
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_escape_sequences_are_removed() {
        for (text, shown) in [
            ("\u{1b}[1;31mred\u{1b}[0m text", "red text"),
            ("\u{1b}]8;;https://example.com\u{7}link\u{1b}]8;;\u{1b}\\ end", "link end"),
            ("a\u{1b}[b\u{1b}", "a"),
        ] {
            assert_eq!(without_escape_sequences(text), shown);
        }
    }

    proptest! {
        /// A step that deletes nothing when it is repeated cannot rejoin what the redaction between the two runs
        /// has separated.
        #[test]
        fn visible_text_is_unchanged(text in r"(\PC|\p{Cf}|\p{Cc}|\r|\n){0,40}") {
            let once = visible(&text);
            prop_assert_eq!(visible(&once), once);
        }
    }
}
