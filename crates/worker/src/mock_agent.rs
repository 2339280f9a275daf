//! `porter mock-agent PROMPT`: a tiny coding agent for the demo and for tests. It knows nothing of Porter: it
//! works on the folder it stands in and prints the events of `claude --output-format stream-json`.
//!
//! It obeys the lines of its prompt that begin with `mock:` (main-spec §7). Without any it mends the demo's
//! sample project where it finds it, and else writes the task into `PORTER.md`.

use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use domain::prompt::title;

/// The line of the demo's `greet.sh` that greets nobody when it is given nobody, and what it should be.
const FLAW: (&str, &str) = (r#"printf 'Hello, %s!\n' "$1""#, r#"printf 'Hello, %s!\n' "${1:-world}""#);

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Write { path: String, text: String, append: bool },
    Sleep(Duration),
    Print(String),
    Commit(String),
    Exit(u8),
    Nothing,
}

/// Does what `prompt` asks; `-` means that it stands in standard input.
///
/// # Errors
/// When standard input cannot be read or standard output not be written. Everything else is told the way
/// agents tell it: a result with `is_error`, and exit code 1.
pub async fn run(prompt: &str) -> anyhow::Result<ExitCode> {
    let mut prompt = prompt.to_owned();
    if prompt == "-" {
        prompt.clear();
        std::io::stdin().read_to_string(&mut prompt)?;
    }
    let folder = std::env::current_dir()?;
    let mut session = Session { folder, turns: 0, read: tokens(&prompt), written: 0 };
    session.event(&json!({ "type": "system", "subtype": "init", "model": "mock", "cwd": session.folder }))?;
    let done = match steps(&prompt) {
        Ok(steps) if steps.is_empty() => session.work_unguided(&prompt).await?.map(|words| (words, 0)),
        Ok(steps) => session.execute(steps).await?,
        Err(problem) => Err(problem),
    };
    let (words, code) = done.unwrap_or_else(|problem| (problem, 1));
    session.event(&json!({
        "type": "result",
        "subtype": if code == 0 { "success" } else { "error_during_execution" },
        "is_error": code != 0,
        "num_turns": session.turns,
        "result": words,
        "total_cost_usd": 0.0,
        "usage": { "input_tokens": session.read, "output_tokens": session.written },
    }))?;
    Ok(ExitCode::from(code))
}

/// What the prompt's `mock:` lines say.
fn steps(prompt: &str) -> Result<Vec<Step>, String> {
    prompt.lines().filter_map(|line| line.trim_start().strip_prefix("mock:")).map(step).collect()
}

fn step(text: &str) -> Result<Step, String> {
    let text = text.trim();
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_start();
    let wrong = || format!("I do not understand `mock: {text}`.");
    Ok(match verb {
        "write" | "append" => {
            let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
            if path.is_empty() {
                return Err(wrong());
            }
            Step::Write { path: path.to_owned(), text: format!("{content}\n"), append: verb == "append" }
        }
        "sleep" => {
            let seconds = rest.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
            Step::Sleep(seconds.ok_or_else(wrong)?)
        }
        "print" => Step::Print(rest.to_owned()),
        "commit" if !rest.is_empty() => Step::Commit(rest.to_owned()),
        "exit" => Step::Exit(rest.parse().map_err(|_| wrong())?),
        "nothing" => Step::Nothing,
        _ => return Err(wrong()),
    })
}

struct Session {
    folder: PathBuf,
    turns: u64,
    read: u64,
    written: u64,
}

/// How a request ended: closing words and exit code, or what went wrong.
type Done<T> = Result<T, String>;

impl Session {
    async fn execute(&mut self, steps: Vec<Step>) -> std::io::Result<Done<(String, u8)>> {
        for step in steps {
            let done = match step {
                Step::Write { path, text, append } => {
                    self.tool(if append { "Edit" } else { "Write" }, "file_path", &path)?;
                    self.write(&path, &text, append)
                }
                Step::Sleep(time) => {
                    self.tool("Bash", "command", &format!("sleep {}", time.as_secs_f64()))?;
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Step::Print(text) => {
                    self.say(&text)?;
                    Ok(())
                }
                Step::Commit(message) => {
                    self.tool("Bash", "command", &format!("git commit -m {message:?}"))?;
                    self.commit(&message).await
                }
                Step::Exit(code) => {
                    return Ok(Ok((format!("I was told to end with exit code {code}."), code)));
                }
                Step::Nothing => Ok(()),
            };
            if let Err(problem) = done {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(("I did what the prompt said.".to_owned(), 0)))
    }

    async fn work_unguided(&mut self, prompt: &str) -> std::io::Result<Done<String>> {
        self.tool("Read", "file_path", "greet.sh")?;
        let script = std::fs::read_to_string(self.folder.join("greet.sh")).unwrap_or_default();
        if !script.contains(FLAW.0) {
            self.tool("Edit", "file_path", "PORTER.md")?;
            let task = task(prompt);
            return Ok(self
                .write("PORTER.md", &format!("- {task}\n"), true)
                .map(|()| format!("I noted the task: {task}")));
        }
        self.say("greet.sh prints an empty name when it is given none. I give it a default.")?;
        self.tool("Edit", "file_path", "greet.sh")?;
        if let Err(problem) = self.write("greet.sh", &script.replace(FLAW.0, FLAW.1), false) {
            return Ok(Err(problem));
        }
        self.tool("Bash", "command", "./test.sh")?;
        let tests = Command::new("sh").arg("./test.sh").current_dir(&self.folder).output().await?;
        let output = String::from_utf8_lossy(&tests.stdout).trim().to_owned();
        self.say(&output)?;
        Ok(if tests.status.success() {
            Ok("greet.sh now greets the world when it is given no name; ./test.sh passes.".to_owned())
        } else {
            Err(format!("./test.sh still fails: {output}"))
        })
    }

    /// Writes only below the folder, and through no link.
    fn write(&self, path: &str, text: &str, append: bool) -> Done<()> {
        let refused = || format!("{path} is not a place inside this folder.");
        let relative = Path::new(path);
        let mut target = self.folder.clone();
        for part in relative.components() {
            let Component::Normal(name) = part else { return Err(refused()) };
            target.push(name);
            if target.is_symlink() {
                return Err(refused());
            }
        }
        let folder = target.parent().ok_or_else(refused)?;
        std::fs::create_dir_all(folder)
            .and_then(|()| {
                let mut options = std::fs::OpenOptions::new();
                options.create(true).append(append).write(true).truncate(!append);
                options.open(&target)?.write_all(text.as_bytes())
            })
            .map_err(|error| format!("I could not write {path}: {error}"))
    }

    async fn commit(&self, message: &str) -> Done<()> {
        for arguments in [&["add", "--all"][..], &["commit", "--quiet", "--message", message]] {
            let output = Command::new("git").args(arguments).current_dir(&self.folder).output().await;
            let output = output.map_err(|error| format!("I could not run git: {error}"))?;
            if !output.status.success() {
                let words = [output.stdout, output.stderr].concat();
                return Err(format!(
                    "git {} failed: {}",
                    arguments[0],
                    String::from_utf8_lossy(&words).trim()
                ));
            }
        }
        Ok(())
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.written += tokens(text);
        self.message(&json!({ "type": "text", "text": text }))
    }

    fn tool(&mut self, name: &str, key: &str, value: &str) -> std::io::Result<()> {
        self.written += tokens(value);
        self.message(&json!({ "type": "tool_use", "id": format!("tool_{}", self.turns), "name": name, "input": { key: value } }))
    }

    fn message(&mut self, block: &Value) -> std::io::Result<()> {
        self.turns += 1;
        let id = format!("msg_{}", self.turns);
        self.event(&json!({
            "type": "assistant",
            "message": { "id": id, "role": "assistant", "model": "mock", "content": [block] },
        }))
    }

    fn event(&self, event: &Value) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{event}")?;
        out.flush()
    }
}

/// The first heading and its text: for Porter's prompts, `Task: ` and the issue's title.
fn task(prompt: &str) -> String {
    let Some(heading) = prompt.lines().find(|line| line.starts_with('#')) else {
        return prompt.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("(no task)").to_owned();
    };
    let heading = heading.trim_matches('#').trim();
    match title(prompt) {
        Some(text) => format!("{heading}: {text}"),
        None => heading.to_owned(),
    }
}

/// About four characters make a token.
fn tokens(text: &str) -> u64 {
    text.len().div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(folder: &Path) -> Session {
        Session { folder: folder.to_owned(), turns: 0, read: 0, written: 0 }
    }

    #[test]
    fn the_lines_that_begin_with_mock_are_the_steps_in_their_order() {
        let prompt = "## Task\nx\n\nmock: write a/b.txt two words\nnot this mock: exit 9\n  mock: append c\n\
            mock: sleep 0.5\nmock: print hello  there\nmock: commit Fix it\nmock: nothing\nmock: exit 3";
        let write =
            |path: &str, text: &str, append| Step::Write { path: path.into(), text: text.into(), append };
        assert_eq!(
            steps(prompt).unwrap(),
            [
                write("a/b.txt", "two words\n", false),
                write("c", "\n", true),
                Step::Sleep(Duration::from_millis(500)),
                Step::Print("hello  there".into()),
                Step::Commit("Fix it".into()),
                Step::Nothing,
                Step::Exit(3),
            ]
        );
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        for line in ["mock: dance", "mock: sleep long", "mock: exit 300", "mock: write", "mock: commit"] {
            let problem = steps(line).unwrap_err();
            assert!(problem.contains(line), "{problem}");
        }
    }

    #[test]
    fn it_writes_only_inside_its_folder() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), inside.path().join("link")).unwrap();
        let session = session(inside.path());
        for path in ["../x", "/tmp/x", "a/../../x", "link/x", "."] {
            assert!(session.write(path, "x", false).is_err(), "{path} was written");
        }
        session.write("a/b", "x\n", false).unwrap();
        session.write("a/b", "y\n", true).unwrap();
        assert_eq!(std::fs::read_to_string(inside.path().join("a/b")).unwrap(), "x\ny\n");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn the_sample_project_is_mended_and_tested() {
        let folder = tempfile::tempdir().unwrap();
        let greet = folder.path().join("greet.sh");
        std::fs::write(&greet, format!("#!/bin/sh\n{}\n", FLAW.0)).unwrap();
        std::fs::write(
            folder.path().join("test.sh"),
            "test \"$(sh greet.sh)\" = 'Hello, world!' && echo ok\n",
        )
        .unwrap();
        let words = session(folder.path()).work_unguided("## Task\nx").await.unwrap();
        assert!(words.is_ok(), "{words:?}");
        assert_eq!(std::fs::read_to_string(greet).unwrap(), format!("#!/bin/sh\n{}\n", FLAW.1));
    }

    #[tokio::test]
    async fn elsewhere_the_task_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        session(folder.path())
            .work_unguided("## Task\nMake tea\n\n## Description\n…")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("PORTER.md")).unwrap(), "- Task: Make tea\n");
    }
}
