//! Finds the mention of Porter. The raw lines are checked first, which is fast and sufficient for nearly every
//! comment; then the Markdown is parsed.

use std::ops::Range;

use crate::markdown::{Piece, walk};

const NAME: &str = "@porter";

/// A valid mention.
pub(super) struct Mention {
    /// The position at which the command starts: after the name and any punctuation directly behind it.
    pub end: usize,
    /// The later ranges that are code, quotes or HTML, in order and without overlap.
    literal: Vec<Range<usize>>,
}

impl Mention {
    /// Returns whether the source at `position` is code, a quote or HTML.
    pub fn is_literal(&self, position: usize) -> bool {
        let index = self.literal.partition_point(|range| range.end <= position);
        self.literal.get(index).is_some_and(|range| range.contains(&position))
    }
}

/// Returns whether some line starts with the name. False for almost every comment; does not allocate.
pub(super) fn is_possible(comment: &str) -> bool {
    candidates(comment).next().is_some()
}

/// Returns the first mention in `comment` that is visible plain text.
pub(super) fn find(comment: &str) -> Option<Mention> {
    let mut candidates = candidates(comment).peekable();
    let mut found: Option<Mention> = None;
    walk(comment, |piece, range| match (&mut found, piece) {
        (None, Piece::Text) => {
            while candidates.next_if(|candidate| candidate.start < range.start).is_some() {}
            if let Some(candidate) = candidates.next_if(|candidate| candidate.start < range.end) {
                found = Some(Mention { end: candidate.end, literal: Vec::new() });
            }
        }
        (Some(mention), Piece::Literal) if range.start >= mention.end => match mention.literal.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => mention.literal.push(range),
        },
        _ => {}
    });
    found
}

/// Returns the ranges of the name at the start of a line, after optional blanks, where no longer name follows.
fn candidates(comment: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = comment.as_bytes();
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(found) = bytes[from..].iter().position(|&byte| byte == b'@') {
            let start = from + found;
            let end = start + NAME.len();
            from = start + 1;
            let named = bytes.get(start..end).is_some_and(|name| name.eq_ignore_ascii_case(NAME.as_bytes()));
            if named
                && begins_line(&comment[..start])
                && let Some(punctuation) = ends_name(&comment[end..])
            {
                return Some(start..end + punctuation);
            }
        }
        None
    })
}

fn begins_line(before: &str) -> bool {
    let unspaced = before.trim_end_matches(|c: char| c.is_whitespace() && c != '\n' && c != '\r');
    unspaced.is_empty() || unspaced.ends_with(['\n', '\r'])
}

/// Returns the number of punctuation bytes after the name (`@porter, please…`) if a blank or the end follows.
/// Otherwise the text is a different name: `@porter-bot`, `@porter/team`, `@porter.dev`.
fn ends_name(after: &str) -> Option<usize> {
    let punctuation = usize::from(after.starts_with([',', ':', ';', '.', '!', '?']));
    let rest = &after[punctuation..];
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(punctuation)
}
