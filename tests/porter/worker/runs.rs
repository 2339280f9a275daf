//! How attempts end: what is pushed and what is reported.

use std::os::unix::fs::PermissionsExt as _;

use domain::prompt::{self, PromptInput};
use domain::report::{FailureStage, Outcome};

use super::world::{API_KEY, BRANCH, GOOD_END, Mode, World};

/// The prompt of an issue called `Say hello`, as the server writes it.
fn prompt_with(instructions: &str) -> String {
    prompt::build(&PromptInput {
        title: "Say hello",
        body: "",
        issue_number: 7.into(),
        agents_md: None,
        instructions,
        custom_prompt: None,
    })
}

#[tokio::test]
async fn what_the_agent_left_uncommitted_is_committed_pushed_and_reported() {
    for mode in Mode::available() {
        let world = World::new().await;
        let prompt = prompt_with("mock: write docs/hello.txt hello\nmock: append README.md More.");
        let (report, code) = world.run(&mut world.worker(mode, "mock", &prompt)).await;

        assert_eq!((report.status, &report.error, code), (Outcome::Success, &None, 0), "{mode:?}");
        assert_eq!((report.task_id.as_str(), report.execution_id.as_str()), ("task_1", "task_1"));
        assert_eq!(report.branch_name.as_deref(), Some(BRANCH));
        assert_eq!(report.base_branch.as_deref(), Some("main"));
        assert_eq!(report.commit_hash.unwrap(), world.on_server(&["rev-parse", BRANCH]));
        assert_eq!(report.summary.as_deref(), Some("I did what the prompt said."));
        assert!(report.usage.unwrap().output_tokens.unwrap() > 0);
        assert_eq!(world.on_server(&["show", &format!("{BRANCH}:docs/hello.txt")]), "hello");
        assert_eq!(world.on_server(&["show", &format!("{BRANCH}:README.md")]), "# Hello\nMore.");
        assert_eq!(
            world.on_server(&["rev-parse", &format!("{BRANCH}~1")]),
            world.on_server(&["rev-parse", "main"])
        );
        assert_eq!(
            world.on_server(&["for-each-ref", "--format=%(refname:short)"]),
            format!("main\n{BRANCH}")
        );
        let said = world.on_server(&[
            "log",
            "-1",
            "--format=%an <%ae>|%cn|%s|%(trailers:key=Co-authored-by,valueonly)",
            BRANCH,
        ]);
        assert_eq!(said, "Mock Agent <mock@porter.invalid>|Porter|Say hello|Mona <mona@example.com>");
        assert!(world.lines().contains(&"Write: docs/hello.txt".to_owned()), "{:?}", world.lines());
    }
}

#[tokio::test]
async fn the_mock_agent_notes_the_title_of_the_issue_when_it_is_told_nothing() {
    let world = World::new().await;
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "mock", &prompt_with(""))).await;
    assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
    assert_eq!(world.on_server(&["show", &format!("{BRANCH}:PORTER.md")]), "- Task: Say hello");
    assert_eq!(world.on_server(&["log", "-1", "--format=%s", BRANCH]), "Say hello");
}

#[tokio::test]
async fn an_agent_that_changes_nothing_pushes_nothing() {
    for script in ["mock: nothing", "mock: write README.md # Hello", "mock: write debug.log ignored"] {
        let world = World::new().await;
        let (report, code) = world.run(&mut world.worker(Mode::SameUser, "mock", script)).await;
        assert_eq!((report.status, code), (Outcome::Success, 0), "{script}: {:?}", report.error);
        assert_eq!((report.commit_hash, report.branch_name), (None, None), "{script}");
        assert_eq!(world.on_server(&["branch", "--format=%(refname:short)"]), "main");
    }
}

#[tokio::test]
async fn the_agents_own_commits_stay_as_they_are() {
    for mode in Mode::available() {
        let world = World::new().await;
        let prompt = "mock: write a.txt a\nmock: commit Add a\nmock: write b.txt b\nmock: commit Add b";
        let (report, _) = world.run(&mut world.worker(mode, "mock", prompt)).await;
        assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
        let log = world.on_server(&["log", "--format=%an: %s", &format!("main..{BRANCH}")]);
        assert_eq!(log, "Mock Agent: Add b\nMock Agent: Add a");
    }
}

#[tokio::test]
async fn a_failed_run_keeps_its_work_and_says_that_it_is_unfinished() {
    let world = World::new().await;
    let prompt = "mock: write a.txt a\nmock: commit Add a\nmock: exit 3";
    let (report, code) = world.run(&mut world.worker(Mode::SameUser, "mock", prompt)).await;
    assert_eq!((report.status, report.failure_stage, code), (Outcome::Failed, Some(FailureStage::Agent), 0));
    assert_eq!(report.error.as_deref(), Some("The agent failed: I was told to end with exit code 3."));
    assert_eq!(report.commit_hash.unwrap(), world.on_server(&["rev-parse", BRANCH]));
    let said = world.on_server(&["log", "-1", "--format=%(trailers:key=Porter-Result,valueonly)", BRANCH]);
    assert_eq!(said, "unfinished");
    assert_eq!(world.on_server(&["show", &format!("{BRANCH}:a.txt")]), "a");
}

#[tokio::test]
async fn an_exit_code_of_zero_is_no_success_when_the_agent_says_otherwise() {
    let world = World::new().await;
    for (script, reason) in [
        ("touch x; echo Execution error", "The agent ended without a result."),
        (
            r#"touch x; echo '{"type":"result","subtype":"success","is_error":true,"result":"Invalid API key"}'"#,
            "The agent failed: Invalid API key",
        ),
    ] {
        world.claude(script);
        let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude-code", "x")).await;
        assert_eq!((report.status, report.error.as_deref()), (Outcome::Failed, Some(reason)));
    }
    world.claude(&format!("{GOOD_END}; exit 4"));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude-code", "x")).await;
    assert_eq!(report.error.as_deref(), Some("The agent ended with exit code 4."));
}

#[tokio::test]
async fn the_agent_gets_its_prompt_unread_by_any_shell_and_only_what_it_needs() {
    for mode in Mode::available() {
        let world = World::new().await;
        world.claude(&format!("cat > prompt.txt; env | cut -d= -f1 | sort > env.txt; id -u > uid.txt; echo \"$@\" > args.txt; {GOOD_END}"));
        let prompt = format!("--version $(id) `id` \"quoted\"\n{}", "long ".repeat(18_000));
        let mut worker = world.worker(mode, "claude", &prompt);
        let (report, _) = world.run(worker.env("MODEL", "opus").env("OPENAI_API_KEY", "sk-other")).await;
        assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
        let file = |name: &str| world.on_server(&["show", &format!("{BRANCH}:{name}")]);
        assert_eq!(file("prompt.txt"), prompt.trim_end());
        let mut names: Vec<String> = file("env.txt").lines().map(str::to_owned).collect();
        // The shell's own.
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD", "IS_SANDBOX"].contains(&name.as_str()));
        let expected = [
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_AUTOUPDATER",
            "HOME",
            "LANG",
            "PATH",
        ];
        assert_eq!(names, expected);
        assert!(file("args.txt").ends_with("--strict-mcp-config --model opus"), "{}", file("args.txt"));
        let uid = if mode == Mode::Nobody { 65534 } else { nix::unistd::Uid::effective().as_raw() };
        assert_eq!(file("uid.txt"), uid.to_string());
    }
}

#[tokio::test]
async fn secrets_are_out_of_everything_that_is_said() {
    let world = World::new().await;
    let end = GOOD_END.replace("All done.", &format!("My key is {API_KEY}."));
    world.claude(&format!(
        r#"touch x; echo "key $ANTHROPIC_API_KEY"; printf %s "$ANTHROPIC_API_KEY" | base64 >&2; {end}"#
    ));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    assert_eq!(report.summary.as_deref(), Some("My key is [redacted]."));
    let lines = world.lines();
    assert!(lines.contains(&"key [redacted]".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(API_KEY) || line.contains("c2stYW50")), "{lines:?}");
}

#[tokio::test]
async fn a_secret_that_the_agent_takes_apart_is_out_as_well() {
    let world = World::new().await;
    let end = GOOD_END.replace("All done.", "My key is '$SPREAD'.");
    world.claude(&format!(
        "touch x; SPREAD=$(printf %s \"$ANTHROPIC_API_KEY\" | sed 's/./&\u{200b}/g'); echo \"key $SPREAD\"\n\
         printf %s \"$ANTHROPIC_API_KEY\" | sed 's/./&\u{7}/g' >&2; {end}"
    ));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    assert_eq!(report.summary.as_deref(), Some("My key is [redacted]."));
    let lines = world.lines();
    let redacted = lines.iter().filter(|line| line.contains("[redacted]")).count();
    assert_eq!(redacted, 2, "one of standard output, one of standard error: {lines:#?}");
}

#[tokio::test]
async fn an_agents_user_that_cannot_reach_the_workspace_does_not_run_the_agent() {
    // Only root can change to another user.
    if !Mode::available().contains(&Mode::Nobody) {
        return;
    }
    let world = World::new().await;
    let closed = world.folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let worker = |allow: &str| {
        let mut worker = world.worker(Mode::Nobody, "mock", "mock: write a a");
        worker.env("PORTER_WORKSPACE", closed.join("workspace")).env("PORTER_ALLOW_SAME_USER", allow);
        worker
    };
    let (report, _) = world.run(&mut worker("false")).await;
    assert_eq!(report.failure_stage, Some(FailureStage::Setup));
    let error = report.error.unwrap_or_default();
    let reason = format!("the user `nobody` cannot reach {}", closed.display());
    assert!(error.contains(&reason), "expected {reason:?} in {error:?}");

    // As with the local runner, whose folders are the operator's own.
    let (report, _) = world.run(&mut worker("true")).await;
    assert_eq!((report.status, report.error), (Outcome::Success, None));
    let warning = "Warning: the agent runs as the worker's own user";
    assert!(world.lines().iter().any(|line| line.starts_with(warning)), "{:#?}", world.lines());
}

#[tokio::test]
async fn a_secret_is_out_wherever_a_long_text_is_cut() {
    let world = World::new().await;
    let key = &API_KEY[..API_KEY.len() - 2];
    // Each but its last two letters fits into what is shown.
    let before = |limit: usize| "x".repeat(limit - key.len());
    let tool = format!(
        r#"{{"type":"assistant","message":{{"id":"m","content":[{{"type":"tool_use","name":"Bash","input":{{"command":"{}{API_KEY}"}}}}]}}}}"#,
        before(200)
    );
    let line = format!("{}{API_KEY}", before(2048));
    let end = GOOD_END.replace("All done.", &format!("{}{API_KEY}", before(4096)));
    world.claude(&format!("touch x; echo '{tool}'; echo {line}; {end}"));
    let (report, _) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    let summary = report.summary.unwrap();
    let mut said = world.lines();
    assert!(said.contains(&format!("Bash: {}[redacted]", before(200))), "{said:#?}");
    said.push(summary);
    assert!(!said.iter().any(|text| text.contains("sk-ant")), "{said:#?}");
}

#[tokio::test]
async fn an_agent_that_fails_with_a_flood_of_words_is_reported_all_the_same() {
    let world = World::new().await;
    world.claude(
        r#"touch x; printf '{"type":"result","is_error":true,"result":"'; head -c 3000000 /dev/zero | tr '\0' y; echo '"}'"#,
    );
    let (report, code) = world.run(&mut world.worker(Mode::SameUser, "claude", "x")).await;
    assert_eq!((report.status, code), (Outcome::Failed, 0));
    let error = report.error.unwrap();
    assert!(error.starts_with("The agent failed: yyy") && error.len() < 5000, "{} bytes", error.len());
}

#[tokio::test]
async fn a_branch_of_an_earlier_attempt_is_replaced() {
    let world = World::new().await;
    let mut commits = Vec::new();
    for text in ["first", "second"] {
        let prompt = format!("mock: write a.txt {text}");
        let (report, _) = world.run(&mut world.worker(Mode::SameUser, "mock", &prompt)).await;
        assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
        commits.push(report.commit_hash.unwrap());
    }
    assert_ne!(commits[0], commits[1]);
    assert_eq!(world.on_server(&["log", "--format=%H", &format!("main..{BRANCH}")]), commits[1]);
}

#[tokio::test]
async fn what_somebody_else_pushed_to_the_branch_meanwhile_is_not_overwritten() {
    let world = World::new().await;
    world.claude(&format!("touch x $OPEN/started; while [ ! -e $OPEN/go ]; do sleep 0.05; done; {GOOD_END}"));
    let worker = world.worker(Mode::SameUser, "claude", "x").spawn().unwrap();
    let started = world.open().join("started");
    world.until("the agent's start", || started.exists()).await;
    world.git(&world.bare(), &["update-ref", &format!("refs/heads/{BRANCH}"), "main~1"]);
    std::fs::write(world.open().join("go"), "").unwrap();
    let (report, _) = world.finish(worker).await;
    assert_eq!((report.status, report.failure_stage), (Outcome::Failed, Some(FailureStage::Push)));
    assert!(report.error.as_deref().unwrap().contains("somebody else changed"), "{:?}", report.error);
    assert_eq!(world.on_server(&["rev-parse", BRANCH]), world.on_server(&["rev-parse", "main~1"]));
}

#[tokio::test]
async fn an_assignment_that_cannot_be_carried_out_is_reported_with_its_reason() {
    let world = World::new().await;
    for (agent, variable, value, stage, reason) in [
        (
            "mock",
            "BASE_BRANCH",
            "--upload-pack=touch x",
            FailureStage::Clone,
            "cannot be the name of a branch",
        ),
        ("mock", "BRANCH", "a..b", FailureStage::Clone, "cannot be the name of a branch"),
        ("mock", "BASE_BRANCH", "nowhere", FailureStage::Clone, "octo/hello has no branch \"nowhere\""),
        ("mock", "GITHUB_TOKEN", "ghs_wrong_token", FailureStage::Clone, "could not be fetched"),
        ("mock", "REPO_URL", "file:///etc", FailureStage::Clone, "https://"),
        ("claude", "MODEL", "--help", FailureStage::Setup, "cannot be the name of a model"),
        (
            "claude",
            "ANTHROPIC_API_KEY",
            "",
            FailureStage::Setup,
            "ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN",
        ),
        ("claude", "LANG", "C", FailureStage::Setup, "`claude` is not installed"),
        ("codex", "LANG", "C", FailureStage::Setup, "no agent called \"codex\""),
    ] {
        let mut worker = world.worker(Mode::SameUser, agent, "mock: write x x");
        let (report, code) = world.run(worker.env(variable, value)).await;
        assert_eq!(
            (report.status, report.failure_stage, code),
            (Outcome::Failed, Some(stage), 0),
            "{variable}={value}"
        );
        assert!(report.error.as_deref().unwrap().contains(reason), "{variable}={value}: {:?}", report.error);
    }
}

#[tokio::test]
async fn without_a_user_for_the_agent_nothing_is_run() {
    let world = World::new().await;
    let mut worker = world.worker(Mode::SameUser, "mock", "mock: write x x");
    let (report, _) = world.run(worker.env_remove("PORTER_ALLOW_SAME_USER")).await;
    assert_eq!((report.status, report.failure_stage), (Outcome::Failed, Some(FailureStage::Setup)));
    let reason =
        if nix::unistd::Uid::effective().is_root() { "no user `no-such-user-here`" } else { "is not root" };
    assert!(report.error.as_deref().unwrap().contains(reason), "{:?}", report.error);
    assert_eq!(world.on_server(&["branch", "--format=%(refname:short)"]), "main");
}
