//! Removes secrets from text by value: in plain form, in base64 at any offset, in hexadecimal and
//! percent-encoded, also with other characters inserted. A machine that prints its environment shows
//! `[redacted]`.
//!
//! The worker redacts its reports. The server redacts the reports again, and also everything that it publishes.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::text::visible;

/// The replacement for a secret.
const MARK: &str = "[redacted]";

/// The minimum length of a secret, in bytes. Replacing shorter values would damage ordinary text.
const MIN_SECRET_BYTES: usize = 6;

/// The minimum number of letters and digits of a secret that is found by these alone, whatever is inserted
/// between them.
const MIN_SPREAD_CHARS: usize = 12;

/// The maximum number of bytes between two letters of a spread secret: enough for a line end with a list or
/// quote marker, but not for a sentence.
const MAX_GAP_BYTES: usize = 24;

/// The secrets and their encodings. It does not implement `Debug`, because it contains secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Forms that are found literally.
    exact: Vec<String>,
    /// Forms that are found by their letters and digits, which are all that is stored.
    spread: Vec<String>,
}

impl Redactor {
    /// Returns a redactor for each of `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES) {
            for form in encodings(secret) {
                let letters: String = form.chars().filter(char::is_ascii_alphanumeric).collect();
                if letters.len() >= MIN_SPREAD_CHARS {
                    redactor.spread.push(letters);
                } else if form.len() >= MIN_SECRET_BYTES {
                    redactor.exact.push(form);
                }
            }
        }
        // The two base64 alphabets differ only in characters that are neither letters nor digits.
        for forms in [&mut redactor.exact, &mut redactor.spread] {
            forms.sort();
            forms.dedup();
        }
        redactor
    }

    /// Returns `text` as a person sees it ([`visible`]), without secrets. Later steps may shorten the result but
    /// must not delete anything inside it.
    pub fn clean(&self, text: &str) -> String {
        self.redact(&visible(text))
    }

    /// Returns `text` without secrets and otherwise unchanged.
    pub fn redact(&self, text: &str) -> String {
        let mut found = self.find(text);
        if found.is_empty() {
            return text.to_owned();
        }
        found.sort_by_key(|range| range.start);
        let mut clean = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            // Overlapping secrets are replaced by one mark.
            if range.start >= end {
                clean.push_str(&text[end..range.start]);
                clean.push_str(MARK);
            }
            end = end.max(range.end);
        }
        clean.push_str(&text[end..]);
        clean
    }

    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for secret in &self.exact {
            found.extend(text.match_indices(secret.as_str()).map(|(at, part)| at..at + part.len()));
        }
        if self.spread.is_empty() {
            return found;
        }
        let (letters, places): (String, Vec<usize>) = letters_and_places(text);
        for secret in &self.spread {
            let mut from = 0;
            while let Some(at) = letters[from..].find(secret.as_str()).map(|at| from + at) {
                let span = &places[at..at + secret.len()];
                if span.windows(2).all(|pair| pair[1] - pair[0] <= MAX_GAP_BYTES + 1) {
                    found.push(span[0]..span[span.len() - 1] + 1);
                }
                from = at + 1;
            }
        }
        found
    }
}

/// Returns the letters and digits of `text`, and the position of each.
fn letters_and_places(text: &str) -> (String, Vec<usize>) {
    let letters = text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    letters.map(|(at, byte)| (char::from(byte), at)).unzip()
}

fn encodings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![secret.to_owned(), hex.to_ascii_uppercase(), hex, percent_encoded(secret)];
    for padding in 0..3_usize {
        // Inside a longer base64 text, a secret has one of three forms, by its offset. The characters at both
        // ends also depend on the adjacent text, so they are omitted.
        let shifted = [&vec![0; padding], secret.as_bytes()].concat();
        let first = (padding * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            all.extend(encoded.get(first..last).map(str::to_owned));
        }
    }
    all
}

/// Percent-encodes everything except unreserved characters (RFC 3986 §2.1).
fn percent_encoded(text: &str) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests;
