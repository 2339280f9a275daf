//! Small functions on text that several parts of the worker use.

/// `text` as one line of at most `limit` characters; control characters become blanks.
pub fn one_line(text: &str, limit: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error with everything that led to it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::checkout;
    use super::*;

    #[test]
    fn an_error_tells_its_whole_story_once() {
        let inner = std::io::Error::other("disk full");
        assert_eq!(
            chain(&checkout::Error::Machine(inner)),
            "the working folder could not be made: disk full"
        );
    }
}
