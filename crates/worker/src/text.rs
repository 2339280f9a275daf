//! Small functions on text that several parts of the worker use.

/// `text` as one line of at most `limit` characters; control characters become blanks.
pub fn one_line(text: &str, limit: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use domain::errors::error_chain;

    use super::super::checkout;

    #[test]
    fn an_error_tells_its_whole_story_once() {
        let inner = std::io::Error::other("disk full");
        assert_eq!(
            error_chain(&checkout::Error::Machine(inner)),
            "the working folder could not be made: disk full"
        );
    }
}
