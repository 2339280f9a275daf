//! Takes secrets out of everything the worker says, by their value: plain, base64 at any offset, hex and
//! percent-encoded. An agent that prints its environment shows `[redacted]`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What stands where a secret stood.
const MARK: &str = "[redacted]";

/// A shorter value is no secret worth the name, and taking it out would tear holes into ordinary text.
const SHORTEST: usize = 6;

/// Knows the secrets and their common disguises. Has no `Debug`: it holds them.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret within another one does not leave the rest behind.
    needles: Vec<String>,
}

impl Redactor {
    /// Will take out each of `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needles: Vec<String> =
            secrets.into_iter().filter(|secret| secret.len() >= SHORTEST).flat_map(disguises).collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        Self { needles }
    }

    /// `text` without any secret.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                text = text.replace(needle.as_str(), MARK);
            }
        }
        text
    }
}

fn disguises(secret: &str) -> Vec<String> {
    let mut all = vec![secret.to_owned(), hex::encode(secret), percent_encoded(secret)];
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
    all.retain(|needle| needle.len() >= SHORTEST);
    all
}

fn percent_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    const SECRET: &str = "ghs_12345_eyJhbGciOi+JIUzI1NiJ9/x.y==";

    #[test]
    fn a_secret_is_taken_out_in_each_of_its_disguises() {
        let redactor = Redactor::new([SECRET]);
        for text in [
            SECRET.to_owned(),
            STANDARD.encode(SECRET),
            URL_SAFE.encode(SECRET),
            STANDARD.encode(format!("x-access-token:{SECRET}")),
            STANDARD.encode(format!("ab{SECRET}cd")),
            hex::encode(SECRET),
            percent_encoded(SECRET),
        ] {
            let seen = redactor.clean(&format!("before {text} after"));
            assert!(seen.contains(MARK), "{text} stayed: {seen}");
            assert!(seen.starts_with("before ") && seen.ends_with(" after"), "{seen}");
        }
    }

    #[test]
    fn a_secret_that_contains_another_leaves_nothing_behind() {
        assert_eq!(Redactor::new(["abcdef", "abcdefghij"]).clean("abcdefghij"), MARK);
    }

    #[test]
    fn a_value_too_short_to_be_a_secret_stays() {
        assert_eq!(Redactor::new(["", "a", "true"]).clean("a true story"), "a true story");
    }
}
