//! Takes secrets out of text by their value: as they are, in base64 at any offset, in hexadecimal and
//! percent-encoded, also with other characters strewn in. A machine that prints its environment shows
//! `[redacted]`.
//!
//! The worker redacts what it reports; the server redacts the reports again, and what it publishes.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::text::visible;

/// What stands where a secret stood.
const MARK: &str = "[redacted]";

/// A shorter value is not treated as a secret: replacing it would damage ordinary text. In bytes.
const MIN_SECRET_BYTES: usize = 6;

/// A secret with at least this many letters and digits is found by these alone, whatever stands between them.
const MIN_SPREAD_CHARS: usize = 12;

/// The most bytes between two letters of a secret that is spread: room for a line end with a list mark or a
/// quote mark, but not for a sentence.
const MAX_GAP_BYTES: usize = 24;

/// Knows the secrets and their encodings. Has no `Debug`: it holds them.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Found as they are.
    exact: Vec<String>,
    /// Found by their letters and digits, which are all these hold.
    spread: Vec<String>,
}

impl Redactor {
    /// Will take out each of `secrets`.
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
        // The two alphabets of base64 differ only in characters that are neither letters nor digits.
        for forms in [&mut redactor.exact, &mut redactor.spread] {
            forms.sort();
            forms.dedup();
        }
        redactor
    }

    /// `text` as a person sees it ([`visible`]), without any secret. What is done with it afterwards may
    /// shorten it, but may not delete anything inside it.
    pub fn clean(&self, text: &str) -> String {
        self.redact(&visible(text))
    }

    /// `text` without any secret, otherwise as it is.
    pub fn redact(&self, text: &str) -> String {
        let mut found = self.find(text);
        if found.is_empty() {
            return text.to_owned();
        }
        found.sort_by_key(|range| range.start);
        let mut clean = String::with_capacity(text.len());
        let mut end = 0;
        for range in found {
            // Secrets may overlap; together they become one mark.
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

/// The letters and digits of `text`, and where each stands.
fn letters_and_places(text: &str) -> (String, Vec<usize>) {
    let letters = text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    letters.map(|(at, byte)| (char::from(byte), at)).unzip()
}

fn encodings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![secret.to_owned(), hex.to_ascii_uppercase(), hex, percent_encoded(secret)];
    for padding in 0..3_usize {
        // Encoded somewhere inside a longer text, a secret has one of three shapes. The characters at both
        // ends also depend on its neighbours, so they are left out.
        let shifted = [&vec![0; padding], secret.as_bytes()].concat();
        let first = (padding * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            all.extend(encoded.get(first..last).map(str::to_owned));
        }
    }
    all
}

/// RFC 3986 §2.1, with everything but unreserved characters encoded.
fn percent_encoded(text: &str) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests;
