//! Tests of what the redaction removes and what it keeps.

use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

const SECRET: &str = "ghs_12345_eyJhbGciOi+JIUzI1NiJ9/x.y==";

#[test]
fn a_secret_is_removed_in_each_of_its_encodings() {
    let redactor = Redactor::new([SECRET]);
    for text in [
        SECRET.to_owned(),
        STANDARD.encode(SECRET),
        URL_SAFE.encode(SECRET),
        STANDARD.encode(format!("x-access-token:{SECRET}")),
        STANDARD.encode(format!("ab{SECRET}cd")),
        encodings(SECRET)[1].clone(),
        encodings(SECRET)[2].clone(),
        percent_encoded(SECRET),
    ] {
        let seen = redactor.clean(&format!("before {text} after"));
        assert!(seen.contains(MARK), "{text} was not removed: {seen}");
        assert!(seen.starts_with("before ") && seen.ends_with(" after"), "{seen}");
    }
}

#[test]
fn a_secret_is_removed_with_other_characters_inserted() {
    let redactor = Redactor::new([SECRET]);
    for strewn in ["\u{200b}", "\u{7}", "\u{1b}", "\\", "**", "\n> ", "<!-- -->", " \u{ad} "] {
        let text: String = SECRET.chars().map(|c| format!("{c}{strewn}")).collect();
        let seen = redactor.clean(&format!("before {text} after"));
        assert!(seen.contains(MARK) && !seen.contains("ghs"), "{strewn:?}: {seen}");
    }
}

#[test]
fn a_secret_that_contains_another_is_removed_completely() {
    assert_eq!(Redactor::new(["abcdef", "abcdefghij"]).clean("abcdefghij"), MARK);
    assert_eq!(Redactor::new(["abcdef", "defghi"]).clean("-abcdefghi-"), "-[redacted]-");
}

#[test]
fn a_value_too_short_to_be_a_secret_is_kept() {
    assert_eq!(Redactor::new(["", "a", "true"]).clean("a true story"), "a true story");
}

#[test]
fn words_far_apart_are_not_a_secret() {
    let text = format!("key-of-{}this-test", " ".repeat(MAX_GAP_BYTES + 2));
    assert_eq!(Redactor::new(["key-of-this-test"]).redact(&text), text);
}
