//! Servers that do not accept a push: a hook in the repository says no, or the server fails.

use domain::report::{Completion, FailureStage, Outcome};

use super::world::{BRANCH, GOOD_END, Mode, World};

/// Refuses what `condition`, a shell command about the new commit `$new`, finds; prints `words`, a shell
/// command, to the one who pushes.
fn refuse(world: &World, condition: &str, words: &str) {
    let script = format!(
        "#!/bin/sh\nwhile read old new ref; do case $ref in refs/heads/porter/*)\n\
         if {condition}; then {{ {words}\n}} >&2; exit 1; fi;; esac; done\n"
    );
    world.hook(&script);
}

async fn run(world: &World, script: &str) -> Completion {
    world.claude(&format!("{script}\n{GOOD_END}"));
    let mut worker = world.worker(Mode::SameUser, "claude", "## Task\nx");
    worker.env("BUNDLE_URL", world.bundle_url());
    world.run(&mut worker).await.0
}

fn changed(world: &World) -> String {
    world
        .on_server(&["diff", "--name-status", "--no-renames", "main", BRANCH])
        .replace('\t', " ")
        .replace('\n', ", ")
}

fn commits(world: &World) -> String {
    world.on_server(&["rev-list", "--count", &format!("main..{BRANCH}")])
}

fn remark<'a>(report: &'a Completion, code: &str) -> &'a str {
    let found = report.remarks.iter().find(|remark| remark.code == code);
    &found.unwrap_or_else(|| panic!("expected a remark {code:?}, seen: {:#?}", report.remarks)).text
}

#[tokio::test]
async fn a_push_that_fails_on_the_server_is_tried_again() {
    let world = World::new().await;
    let seen = world.open().join("seen");
    refuse(
        &world,
        &format!("test ! -e {}", seen.display()),
        &format!("touch {}; echo Internal Server Error", seen.display()),
    );
    let report = run(&world, "echo y >> README.md").await;
    assert_eq!((report.status, &report.error), (Outcome::Success, &None));
    assert_eq!(changed(&world), "M README.md");
    assert!(world.lines().contains(&"remote: Internal Server Error".to_owned()), "{:#?}", world.lines());
}

#[tokio::test]
async fn a_token_that_is_not_known_yet_is_tried_again() {
    for status in [401, 403] {
        let world = World::new().await;
        world.claude(&format!("touch $OPEN/started; while [ ! -e $OPEN/go ]; do sleep 0.05; done; echo y >> README.md\n{GOOD_END}"));
        let worker = world.worker(Mode::SameUser, "claude", "x").spawn().unwrap();
        let started = world.open().join("started");
        world.until("the agent's start", || started.exists()).await;
        *world.server.git_answer.lock().unwrap() = Some((status, 1));
        std::fs::write(world.open().join("go"), "").unwrap();
        let (report, _) = world.finish(worker).await;
        assert_eq!((report.status, &report.error), (Outcome::Success, &None), "{status}");
        assert_eq!(changed(&world), "M README.md", "{status}");
    }
}

#[tokio::test]
async fn a_history_that_is_refused_goes_as_one_commit() {
    let world = World::new().await;
    let words = "i=0; echo 'error: GH013: Repository rule violations found for refs/heads/x.'; while [ $i -lt 23 ]; do echo; echo \"- line $i\"; i=$((i+1)); done";
    refuse(
        &world,
        "git rev-list $new --not --all | while read c; do git show $c; done | grep -q '^+ghp_FAKE'",
        words,
    );
    let script = "echo ghp_FAKE > .env; git add -A; git commit -qm One; git rm -q .env; echo y >> README.md; git add -A; git commit -qm Two";
    let report = run(&world, script).await;
    assert_eq!((report.status, &report.error), (Outcome::Success, &None), "{:#?}", world.lines());
    assert_eq!((changed(&world), commits(&world)), ("M README.md".to_owned(), "1".to_owned()));
    assert!(remark(&report, "history_refused").contains("GH013: Repository rule violations found"));
    let lines = world.lines();
    for n in 0..23 {
        assert!(
            lines.contains(&format!("remote: - line {n}")),
            "line {n} of the server is missing: {lines:#?}"
        );
    }
    assert!(!lines.iter().any(|line| line.trim() == "remote:"), "no blank lines: {lines:#?}");
}

#[tokio::test]
async fn refused_files_are_left_out_and_named_and_the_rest_is_pushed() {
    let in_tree = |path: &str| format!("git diff --name-only main $new | grep -q '^{path}'");
    for (condition, words, script, named) in [
        (
            in_tree(".github/workflows/"),
            "echo 'refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission'",
            "mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml; echo y >> README.md",
            ".github/workflows/ci.yml was left out: the server refused this: refusing to allow a GitHub App",
        ),
        (
            in_tree(".github/workflows/"),
            "echo 'Changes of a workflow are refused.'",
            "mkdir -p .github/workflows; echo 'on: push' > .github/workflows/ci.yml; echo y >> README.md; git add -A; git commit -qm x",
            ".github/workflows/ci.yml was left out",
        ),
        (
            in_tree(".env"),
            "echo 'error: GH013: Repository rule violations found.'; echo; echo '  - Push cannot contain secrets'; echo '      locations:'; echo '        path: .env:1'",
            "echo ghp_FAKE > .env; echo y >> README.md",
            ".env was left out: the server refused this: GH013",
        ),
        (
            in_tree("data.bin"),
            "echo 'error: GH001: Large files detected.'; echo 'error: File data.bin is 52.00 MB'",
            "echo big > data.bin; echo y >> README.md",
            "data.bin was left out: the server refused this: GH001: Large files detected.",
        ),
    ] {
        let world = World::new().await;
        refuse(&world, &condition, words);
        let report = run(&world, script).await;
        assert_eq!(
            (report.status, &report.error),
            (Outcome::Success, &None),
            "{words}: {:#?}",
            world.lines()
        );
        assert_eq!(changed(&world), "M README.md", "{words}");
        let text = remark(&report, "refused");
        assert!(text.starts_with(named), "expected {named:?}, seen {text:?}");
        if named.contains("workflows") {
            assert!(text.contains("+on: push"), "the change itself is shown: {text}");
        }
        assert!(!text.contains("ghp_FAKE"), "no secret is shown: {text}");
    }
}

#[tokio::test]
async fn work_that_cannot_be_pushed_at_all_goes_to_porter_as_a_bundle() {
    let world = World::new().await;
    refuse(&world, "true", "echo 'error: GH013: Commits must have verified signatures.'");
    let report = run(&world, "echo y >> README.md; git commit -qam x; echo z > z").await;
    assert_eq!(
        (report.status, report.failure_stage, report.failure_reason.as_deref()),
        (Outcome::Failed, Some(FailureStage::Push), Some("push_refused"))
    );
    assert!(report.error.as_deref().unwrap().contains("verified signatures"), "{:?}", report.error);
    remark(&report, "bundle_saved");
    let (query, bundle) = world.server.bundles.lock().unwrap().pop().unwrap();
    assert_eq!(query, "task_id=task_1&attempt=1");
    let file = world.folder.path().join("work.bundle");
    std::fs::write(&file, bundle).unwrap();
    let name = format!("refs/heads/{BRANCH}:refs/heads/from-bundle");
    world.git(&world.bare(), &["fetch", "--quiet", file.to_str().unwrap(), &name]);
    assert_eq!(world.on_server(&["diff", "--name-only", "main", "from-bundle"]), "README.md\nz");
    assert_eq!(world.on_server(&["rev-list", "--count", "main..from-bundle"]), "2");
}

#[tokio::test]
async fn a_bundle_that_porter_does_not_take_is_a_remark() {
    let world = World::new().await;
    refuse(&world, "true", "echo no");
    world.claude(&format!("echo y >> README.md\n{GOOD_END}"));
    let mut worker = world.worker(Mode::SameUser, "claude", "## Task\nx");
    worker.env("BUNDLE_URL", world.bundle_url().replace("bundle", "nowhere"));
    let (report, _) = world.run(&mut worker).await;
    assert_eq!((report.status, report.failure_stage), (Outcome::Failed, Some(FailureStage::Push)));
    let text = remark(&report, "bundle_not_saved");
    assert!(text.starts_with("The work could not be kept as a bundle: Porter answered 4"), "{text}");

    // A server that does not take bundles is not asked.
    let world = World::new().await;
    refuse(&world, "true", "echo no");
    world.claude(&format!("echo y >> README.md\n{GOOD_END}"));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "## Task\nx")).await;
    assert_eq!((report.status, report.remarks), (Outcome::Failed, Vec::new()));
}
