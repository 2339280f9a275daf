//! How an agent ends: its result, a known reason, or silence.

use domain::report::{Completion, FailureStage, Outcome};

use super::world::{BRANCH, GOOD_END, Mode, World};

/// OpenCode's last event of a run that went well.
const STOP: &str =
    r#"echo '{"type":"step_finish","part":{"reason":"stop","tokens":{"input":1,"output":1},"cost":0}}'"#;

fn error(message: &str) -> String {
    format!(r#"echo '{{"type":"error","error":{{"name":"APIError","data":{{"message":"{message}"}}}}}}'"#)
}

/// What an OpenCode that is this script leads to.
async fn opencode(script: &str, variables: &[(&str, &str)]) -> (World, Completion) {
    let world = World::new().await;
    world.agent("opencode", script);
    let mut worker = world.worker(Mode::SameUser, "opencode", "x");
    let (report, _) = world.run(worker.envs(variables.iter().copied())).await;
    (world, report)
}

fn seen(report: &Completion) -> (Outcome, Option<&str>, Option<&str>, bool) {
    (report.status, report.failure_reason.as_deref(), report.error.as_deref(), report.timed_out)
}

#[tokio::test]
async fn an_agent_that_has_printed_its_result_and_does_not_exit_is_a_success() {
    let world = World::new().await;
    world.claude(&format!("echo x >> README.md\n{GOOD_END}\nexec sleep 9999"));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    assert_eq!(seen(&report), (Outcome::Success, None, None, false));
    assert_eq!(world.on_server(&["diff", "--name-only", "main", BRANCH]), "README.md");
}

#[tokio::test]
async fn a_result_that_says_failed_is_one_although_the_process_does_not_exit() {
    let world = World::new().await;
    world.claude(
        r#"echo '{"type":"result","is_error":true,"result":"Claude usage limit reached"}'; exec sleep 9999"#,
    );
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    let expected = "The agent failed: Claude usage limit reached";
    assert_eq!(seen(&report), (Outcome::Failed, Some("usage_limit"), Some(expected), false));
}

#[tokio::test]
async fn a_later_success_clears_an_earlier_error() {
    let text = r#"echo '{"type":"text","part":{"text":"All done."}}'"#;
    let script = format!("echo x >> README.md; {}; {text}; {STOP}", error("Overloaded"));
    let (world, report) = opencode(&script, &[]).await;
    assert_eq!(seen(&report), (Outcome::Success, None, None, false));
    assert_eq!(report.summary.as_deref(), Some("All done."));
    assert!(world.lines().contains(&"Failed: Overloaded".to_owned()), "{:#?}", world.lines());

    let (_, report) = opencode(&format!("{STOP}; {}", error("Overloaded")), &[]).await;
    assert_eq!(
        seen(&report),
        (Outcome::Failed, Some("agent_failed"), Some("The agent failed: Overloaded"), false)
    );
}

#[tokio::test]
async fn a_known_reason_ends_an_agent_that_does_not_exit() {
    for (message, word) in [
        ("Monthly usage limit reached", "usage_limit"),
        ("invalid x-api-key", "key_refused"),
        ("Model not found: anthropic/claude-9", "model_unknown"),
    ] {
        let (_, report) = opencode(&format!("{}; exec sleep 9999", error(message)), &[]).await;
        let expected = format!("The agent failed: {message}");
        assert_eq!(seen(&report), (Outcome::Failed, Some(word), Some(expected.as_str()), false));
        assert_eq!(report.failure_stage, Some(FailureStage::Agent));
    }
}

#[tokio::test]
async fn the_last_error_of_an_agent_out_of_time_is_the_reason() {
    let script = format!("{}; exec sleep 9999", error("Overloaded"));
    let (_, report) = opencode(&script, &[("TIMEOUT_SECONDS", "2")]).await;
    assert_eq!(
        seen(&report),
        (Outcome::Failed, Some("agent_failed"), Some("The agent failed: Overloaded"), false)
    );
}

#[tokio::test]
async fn an_agent_that_prints_nothing_at_all_is_ended_and_that_is_the_reason() {
    let silent = "exec sleep 9999";
    let (_, report) = opencode(silent, &[("PORTER_SILENCE_TIMEOUT_SECONDS", "2")]).await;
    let expected = "The agent printed nothing at all for 2 seconds and was ended.";
    assert_eq!(seen(&report), (Outcome::Failed, Some("printed_nothing"), Some(expected), false));

    let (_, report) = opencode(silent, &[("TIMEOUT_SECONDS", "2")]).await;
    let expected = "The agent printed nothing at all within its 2 seconds and was ended.";
    assert_eq!(seen(&report), (Outcome::Failed, Some("printed_nothing"), Some(expected), true));

    // One that has begun may think or build for as long as it likes.
    let script = format!("echo started; sleep 4; echo x >> README.md; {STOP}");
    let (_, report) = opencode(&script, &[("PORTER_SILENCE_TIMEOUT_SECONDS", "2")]).await;
    assert_eq!(seen(&report), (Outcome::Success, None, None, false));
}

#[tokio::test]
async fn the_final_report_carries_the_lines_that_progress_reports_have_not() {
    let world = World::new().await;
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "mock", "mock: write a a")).await;
    assert_eq!(report.status, Outcome::Success);
    let lines = world.lines();
    let pushing = format!("Pushing {BRANCH}");
    assert_eq!(lines.iter().filter(|line| **line == pushing).count(), 1, "{lines:#?}");
}
