//! Formats errors with their sources. No other code follows `source()`.

use std::error::Error;

/// Returns the error and its sources in one line for logs, because `Display` does not include the sources. A
/// source whose text is already part of the line is omitted.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().expect("the error has a message");
        Layer { text, source: (!rest.is_empty()).then(|| Box::new(layers(rest))) }
    }

    #[test]
    fn every_cause_is_named_once() {
        assert_eq!(
            error_chain(&layers(&["no machine", "no answer", "refused"])),
            "no machine: no answer: refused"
        );
        assert_eq!(error_chain(&layers(&["no answer (refused)", "refused"])), "no answer (refused)");
    }
}
