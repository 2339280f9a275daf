//! The validity of branch names in commands, the API and the worker.

/// The maximum length of a name on GitHub, in bytes.
const MAX_BRANCH_BYTES: usize = 255;

/// Returns whether `name` is a valid branch name by git's rules (`git check-ref-format`) that no command line
/// can interpret as an option.
pub fn is_branch_name(name: &str) -> bool {
    let bad_char = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    !name.is_empty()
        && name.len() <= MAX_BRANCH_BYTES
        && name != "@"
        && name != "HEAD"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(bad_char)
        && !name.split('/').any(bad_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branch_names_follow_gits_rules() {
        for name in ["main", "porter/task_0193", "release/1.2", "a-b", "käse"] {
            assert!(is_branch_name(name), "{name} was rejected");
        }
        for name in [
            "",
            "-f",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "[a",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "a@{1}",
            "@",
            "HEAD",
            "+a:b",
            &"x".repeat(256),
        ] {
            assert!(!is_branch_name(name), "{name:?} was accepted");
        }
    }
}
