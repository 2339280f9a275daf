//! The sample project of the demo: a shell script with one bug, its test, and the issue that reports it.
//!
//! The demo and the tests create a repository with [`files`]. The mock agent contains the fix for the bug.

/// The title of the issue that the demo opens.
pub const ISSUE_TITLE: &str = "Without a name, the greeting has a hole in it";

/// The text of the issue.
pub const ISSUE_BODY: &str = "\
`./greet.sh` without an argument prints

    Hello, !

It should greet the world: `Hello, world!`. `./test.sh` shows the failing cases.
";

/// The project's files: path, text, and whether the file is executable.
pub fn files() -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("AGENTS.md", include_str!("files/AGENTS.md"), false),
        ("README.md", include_str!("files/README.md"), false),
        ("greet.sh", include_str!("files/greet.sh"), true),
        ("test.sh", include_str!("files/test.sh"), true),
    ]
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::files;

    /// Writes the project to a folder, with `greet.sh` changed by `fix`, and runs its test.
    fn run_test(fix: impl Fn(&str) -> String) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text, _) in files() {
            let text = if path == "greet.sh" { fix(text) } else { text.to_owned() };
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        let output = Command::new("sh").arg(folder.path().join("test.sh")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn the_test_detects_the_bug_and_prints_expected_and_seen_output() {
        let (passed, output) = run_test(str::to_owned);
        assert!(!passed, "{output}");
        assert!(output.contains("expected: Hello, world!\n        seen:     Hello, !\n"), "{output}");
    }

    #[test]
    fn the_test_passes_after_the_fix() {
        let line = r#"printf 'Hello, %s!\n' "$1""#;
        let (passed, output) = run_test(|text| {
            assert!(text.lines().any(|l| l == line), "the mock agent looks for exactly this line: {text}");
            text.replace(line, r#"printf 'Hello, %s!\n' "${1:-world}""#)
        });
        assert!(passed, "{output}");
    }
}
