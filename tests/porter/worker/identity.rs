//! Whose name the commits bear.

use domain::report::Outcome;

use super::world::{BRANCH, GOOD_END, Mode, World};

const BOT: &str = "porter-x[bot] <42+porter-x[bot]@users.noreply.github.com>";

#[tokio::test]
async fn commits_are_by_the_apps_bot_account_and_name_the_requester_and_the_agent() {
    for mode in Mode::available() {
        let world = World::new().await;
        world.claude(&format!("echo 1 > one; git add one; git commit -qm One; echo 2 > two\n{GOOD_END}"));
        let mut worker = world.worker(mode, "claude", "## Task\nx");
        let (report, _) = world.run(worker.env("COMMITTER", BOT)).await;
        assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
        let log = world.on_server(&["log", "--format=%an <%ae>|%cn <%ce>|%s", &format!("main..{BRANCH}")]);
        assert_eq!(log, format!("{BOT}|{BOT}|x\n{BOT}|{BOT}|One"), "{mode:?}");
        let trailers = world.on_server(&["log", "-1", "--format=%(trailers:only)", BRANCH]);
        assert_eq!(
            trailers.trim(),
            "Porter-Task: task_1\nPorter-Agent: claude-code\nCo-authored-by: Mona <mona@example.com>"
        );
    }
}

#[tokio::test]
async fn a_committer_that_cannot_be_read_is_not_used() {
    let world = World::new().await;
    let mut worker = world.worker(Mode::SameUser, "mock", "mock: write a a");
    let (report, _) = world.run(worker.env("COMMITTER", "nobody in particular")).await;
    assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
    let author = world.on_server(&["log", "-1", "--format=%an <%ae>", BRANCH]);
    assert_eq!(author, "Mock Agent <mock@porter.invalid>");
}
