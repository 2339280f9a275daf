//! How errors are printed: the one place that follows `source()`.

use std::error::Error;

/// The error and its causes in one line, for logs: `Display` alone does not name the cause. A cause whose text the
/// line contains already is left out.
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
        let (text, rest) = texts.split_first().expect("an error has a text");
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
