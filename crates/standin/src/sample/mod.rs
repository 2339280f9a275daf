//! The sample project of the demo: a shell script with one bug, its test, and the issue that reports it.
//!
//! The stand-in makes a repository of [`files`]; the mock agent knows the bug and mends it.

/// The title of the issue that the demo files.
pub const ISSUE_TITLE: &str = "Without a name, the greeting has a hole in it";

/// The text of that issue.
pub const ISSUE_BODY: &str = "\
`./greet.sh` without an argument prints

    Hello, !

It should greet the world: `Hello, world!`. `./test.sh` shows the failing cases.
";

/// The project's files, each with its path, its text, and whether it is executable.
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

    /// Writes the project to a folder, with `greet.sh` changed by `mend`, and runs its test.
    fn run_test(mend: impl Fn(&str) -> String) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text, _) in files() {
            let text = if path == "greet.sh" { mend(text) } else { text.to_owned() };
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        let output = Command::new("sh").arg(folder.path().join("test.sh")).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn the_test_fails_on_the_bug_and_shows_expected_and_seen() {
        let (passed, output) = run_test(str::to_owned);
        assert!(!passed, "{output}");
        assert!(output.contains("expected: Hello, world!\n        seen:     Hello, !\n"), "{output}");
    }

    #[test]
    fn the_test_passes_once_the_script_greets_the_world() {
        let line = r#"printf 'Hello, %s!\n' "$1""#;
        let (passed, output) = run_test(|text| {
            assert!(text.lines().any(|l| l == line), "the mock agent looks for exactly this line: {text}");
            text.replace(line, r#"printf 'Hello, %s!\n' "${1:-world}""#)
        });
        assert!(passed, "{output}");
    }
}
