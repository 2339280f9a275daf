//! What a person should know about the published work, in words. Everything in `export` and `publish` that
//! leaves something out says so through this.

use domain::report::Remark;
use domain::text::visible;

/// The most paths that one remark lists.
const MAX_PATHS: usize = 20;

/// A remark without paths.
pub fn remark(code: &str, text: impl Into<String>) -> Remark {
    Remark { code: code.to_owned(), text: text.into(), paths: Vec::new() }
}

/// `PATHS was left out: REASON.`
pub fn left_out<P: AsRef<[u8]>>(code: &str, paths: &[P], reason: &str) -> Remark {
    let verb = if paths.len() == 1 { "was" } else { "were" };
    let (shown, text) = listed(paths);
    Remark { code: code.to_owned(), text: format!("{text} {verb} left out: {reason}."), paths: shown }
}

/// The paths as a person reads them, and as one enumeration; not more than are worth listing.
pub fn listed<P: AsRef<[u8]>>(paths: &[P]) -> (Vec<String>, String) {
    let shown: Vec<String> = paths.iter().take(MAX_PATHS).map(|path| readable(path.as_ref())).collect();
    let more = paths.len() - shown.len();
    let text = shown.join(", ");
    (shown, if more > 0 { format!("{text} and {more} more") } else { text })
}

/// A path as one line without invisible characters.
pub fn readable(path: &[u8]) -> String {
    visible(&String::from_utf8_lossy(path)).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remark_names_its_paths_and_counts_the_rest() {
        assert_eq!(left_out("c", &["a"], "too large").text, "a was left out: too large.");
        assert_eq!(left_out("c", &["a", "b"], "too large").text, "a, b were left out: too large.");
        let many: Vec<String> = (0..25).map(|n| n.to_string()).collect();
        let seen = left_out("c", &many, "x");
        assert!(seen.text.contains("19 and 5 more were left out"), "{}", seen.text);
        assert_eq!(seen.paths.len(), 20);
    }

    #[test]
    fn a_path_hides_nothing() {
        assert_eq!(readable("a\u{202e}b\nc\u{1b}".as_bytes()), "ab c");
    }
}
