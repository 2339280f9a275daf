//! Tests of parsing comments, including hostile ones.

use proptest::prelude::*;

use super::*;

fn agent(name: &str) -> Option<&'static str> {
    match name {
        "claude" | "claude-code" => Some("claude-code"),
        "opencode" => Some("opencode"),
        "amp" => Some("amp"),
        _ => None,
    }
}

fn read(comment: &str) -> Option<Result<Command, Invalid>> {
    parse(comment, agent)
}

#[track_caller]
fn run(comment: &str) -> Run {
    match read(comment) {
        Some(Ok(Command::Run(run))) => run,
        other => panic!("{comment:?} should start a task, but was parsed as {other:?}"),
    }
}

#[track_caller]
fn invalid(comment: &str) -> String {
    match read(comment) {
        Some(Err(invalid)) => invalid.message,
        other => panic!("{comment:?} should be refused, but was parsed as {other:?}"),
    }
}

#[track_caller]
fn ignored(comment: &str) {
    assert_eq!(read(comment), None, "{comment:?} does not address Porter");
}

fn instructions(text: &str) -> Run {
    Run { instructions: text.to_owned(), ..Run::default() }
}

#[test]
fn the_commands_on_the_product_page_are_parsed() {
    assert_eq!(run("@porter opencode").agent.as_deref(), Some("opencode"));
    assert_eq!(run("@porter claude").agent.as_deref(), Some("claude-code"));
    assert_eq!(
        run("@porter opencode --priority=high fix flaky test runner"),
        Run {
            agent: Some("opencode".into()),
            priority: Some(Priority::High),
            ..instructions("fix flaky test runner")
        }
    );
    assert_eq!(
        run("@porter --priority=low clean up docs typos"),
        Run { priority: Some(Priority::Low), ..instructions("clean up docs typos") }
    );
    assert_eq!(run("@porter"), Run::default());
}

#[test]
fn a_mention_is_found_on_any_line_regardless_of_case() {
    assert_eq!(
        run("Thanks!\n\n  @Porter Claude fix it"),
        Run { agent: Some("claude-code".into()), ..instructions("fix it") }
    );
    assert_eq!(run("Thanks!\r\n@PORTER fix it\r\nand that"), instructions("fix it\nand that"));
    assert_eq!(run("- a list\n\n  @porter fix it"), instructions("fix it"));
    assert_eq!(
        run("<details>\n<summary>more</summary>\n\n@porter fix it\n\n</details>").instructions,
        "fix it\n\n</details>"
    );
    assert_eq!(run("<details>\n@porter fix it\n</details>").instructions, "fix it\n</details>");
}

#[test]
fn punctuation_after_the_name_or_the_agent_is_ignored() {
    assert_eq!(run("@porter: fix it"), instructions("fix it"));
    assert_eq!(run("@porter, claude, fix it").agent.as_deref(), Some("claude-code"));
    assert_eq!(
        run("@porter claude: fix it"),
        Run { agent: Some("claude-code".into()), ..instructions("fix it") }
    );
}

#[test]
fn other_names_are_not_porter() {
    for comment in [
        "@porter-bot fix",
        "@porterx fix",
        "@porter_x fix",
        "x@porter.dev",
        "@porter.dev",
        "/@porter fix",
        "@porter/team look",
        "@porter's work",
        "\\@porter fix",
        "hello @porter fix",
        "- @porter fix",
        "**@porter** fix",
        "[@porter](x) fix",
        "@ porter fix",
        "porter fix",
        "",
        "@",
        "@porte",
        "@por\u{200b}ter fix",
        "\u{202e}@porter fix",
        "\u{feff}@porter fix",
        "@porter\u{200b} fix",
        "@pörter fix",
    ] {
        ignored(comment);
    }
}

#[test]
fn quoted_and_hidden_mentions_do_not_count() {
    for comment in [
        "```\n@porter fix\n```",
        "~~~ text\n@porter fix\n~~~",
        "````\n```\n@porter fix\n```\n````",
        "```\n@porter fix",
        "    @porter fix",
        "\t@porter fix",
        "a `code\n@porter fix\nspan` b",
        "> @porter fix",
        "> quoted\n@porter fix",
        "> > deep\n> > ```\n> > @porter fix\n",
        "- item\n\n      @porter fix",
        "1. item\n   ```\n   @porter fix\n   ```",
        "<!--\n@porter fix\n-->",
        "<!-- a\n\n@porter fix\n\n-->",
        "text <!--\n@porter fix\n--> text",
        "<!--\n@porter fix",
        "<div><!--\n\n@porter fix\n\n--></div>",
        "<pre>\n@porter fix\n</pre>",
        "<blockquote>\n\n@porter fix\n\n</blockquote>",
        "<a title=\"\n@porter fix\n\">x</a>",
        "[link]:\n@porter\n",
    ] {
        ignored(comment);
    }
}

#[test]
fn the_first_visible_mention_counts() {
    assert_eq!(
        run("> @porter amp old\n\n@porter claude new\n@porter amp other"),
        Run { agent: Some("claude-code".into()), ..instructions("new\n@porter amp other") }
    );
    assert_eq!(run("```\n@porter amp\n```\n@porter claude").agent.as_deref(), Some("claude-code"));
    assert_eq!(
        run("<!-- @porter --> x\n<!--\n@porter amp\n-->\n@porter claude").agent.as_deref(),
        Some("claude-code")
    );
}

#[test]
fn instructions_run_to_the_end_and_keep_their_lines() {
    let comment = "@porter claude fix  the\n\n- first\n- second\n\n```sh\nmake --all\n```\n> --quoted\n\n";
    assert_eq!(
        run(comment).instructions,
        "fix  the\n\n- first\n- second\n\n```sh\nmake --all\n```\n> --quoted"
    );
    assert_eq!(run("@porter claude\n\n    code first\n").instructions, "    code first");
    assert_eq!(run("@porter\n\nfix it").instructions, "fix it");
}

#[test]
fn options_are_recognized_before_the_second_line_of_the_instructions() {
    let expected = Run {
        agent: Some("claude-code".into()),
        priority: Some(Priority::High),
        model: Some("anthropic/claude-sonnet-4.5:beta@1".into()),
        base_branch: Some("release/2.x".into()),
        instructions: "fix the tests\nand --verbose docs".into(),
    };
    for comment in [
        "@porter claude --priority=high --model=anthropic/claude-sonnet-4.5:beta@1 --base=release/2.x fix the tests\nand --verbose docs",
        "@porter --priority high claude --model anthropic/claude-sonnet-4.5:beta@1 fix --base release/2.x the tests\nand --verbose docs",
        "@porter claude\n--priority=HIGH\n\n--model=anthropic/claude-sonnet-4.5:beta@1 fix the tests --base=release/2.x\nand --verbose docs",
        "@porter Claude fix the tests —priority=high –model anthropic/claude-sonnet-4.5:beta@1 --base=“release/2.x”\nand --verbose docs",
        "@porter --Priority='High' --priority=high claude --base=release/2.x --model=anthropic/claude-sonnet-4.5:beta@1\nfix the tests\nand --verbose docs",
    ] {
        assert_eq!(run(comment), expected, "{comment}");
    }
}

#[test]
fn text_that_resembles_an_option_is_kept_as_text() {
    for text in [
        "explain `--verbose` and ``a --b c``",
        "this — as I said —fails – really",
        "a -- b --c",
        "draw --- and ---- and --1",
        "<!-- note -->",
    ] {
        assert_eq!(run(&format!("@porter {text}")), instructions(text));
    }
    assert_eq!(run("@porter\n\n```\n--flag\n```").instructions, "```\n--flag\n```");
    assert_eq!(run("@porter\n\n    --flag").instructions, "    --flag");
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(
        run("@porter amp --priority=low -- --verbose is broken"),
        Run {
            agent: Some("amp".into()),
            priority: Some(Priority::Low),
            ..instructions("--verbose is broken")
        }
    );
    assert_eq!(run("@porter -- stop"), instructions("stop"));
    assert_eq!(run("@porter -- amp"), instructions("amp"));
}

#[test]
fn an_agent_name_is_recognized_only_directly_after_the_mention() {
    assert_eq!(run("@porter fix amp"), instructions("fix amp"));
    assert_eq!(run("@porter\namp is loud"), instructions("amp is loud"));
    assert_eq!(run("@porter gemini fix it"), instructions("gemini fix it"));
    assert_eq!(run("@porter amp amp it up"), Run { agent: Some("amp".into()), ..instructions("amp it up") });
}

#[test]
fn control_words_must_be_the_only_text() {
    for (comment, expected) in [
        ("@porter stop", Command::Stop),
        ("@porter  STOP!  ", Command::Stop),
        ("@porter stop\n\nIt went wrong.", Command::Stop),
        ("@porter\nretry", Command::Retry),
        ("@porter retry", Command::Retry),
        ("@porter: status?", Command::Status),
        ("@porter help", Command::Help),
    ] {
        assert_eq!(read(comment), Some(Ok(expected)), "{comment:?}");
    }
    assert_eq!(
        run("@porter stop the flaky test from failing").instructions,
        "stop the flaky test from failing"
    );
    assert_eq!(run("@porter help me").instructions, "help me");
}

#[test]
fn an_invalid_command_is_reported_with_its_position_and_a_correction() {
    insta::assert_snapshot!(invalid("Hi\n\n@porter claude --prio=high fix"), @"I do not know the option `--prio=high` (line 3 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`. If it is part of your instructions, put it in backticks.");
    insta::assert_snapshot!(invalid("@porter --priority=urgent"), @"`urgent` is not a priority (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter --priority"), @"`--priority` needs a value (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter --priority --model=x"), @"`--priority` needs a value (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter --model=a --model=b"), @"`--model` is given twice, the second time as `b` (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter --model=a$(rm)"), @"`a$(rm)` cannot be the name of a model (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter --base=../x"), @"`../x` cannot be the name of a branch (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`.");
    insta::assert_snapshot!(invalid("@porter claude stop"), @"`stop` is about all tasks of this issue, so it takes no agent and no options: write `@porter stop`.");
    insta::assert_snapshot!(invalid("@porter --x`@octocat`<!--y\u{202e}=1"), @"I do not know the option ``--x`@octocat`<!--y=1`` (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`. If it is part of your instructions, put it in backticks.");
    insta::assert_snapshot!(invalid(&format!("@porter --{}", "x".repeat(500))), @"I do not know the option `--xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` (line 1 of your comment). The options are `--priority=low|normal|high`, `--model=NAME` and `--base=BRANCH`. If it is part of your instructions, put it in backticks.");
}

#[test]
fn values_that_git_or_a_shell_would_misread_are_refused() {
    for base in [
        "-x",
        "a..b",
        "/a",
        "a/",
        "a//b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "a.lock",
        "a.lock/b",
        ".a",
        "a/.b",
        "a.",
        "a@{1}",
        "@",
        "a\u{7f}",
        "HEAD",
        &"x".repeat(256),
    ] {
        assert!(invalid(&format!("@porter --base={base}")).contains("branch"), "{base:?}");
    }
    for model in ["-x", "@cf/meta/x", "/x", "a\"b", "a;b", "ä", &"x".repeat(201)] {
        assert!(invalid(&format!("@porter --model={model}")).contains("model"), "{model:?}");
    }
}

#[test]
fn parsing_a_hostile_comment_takes_linear_time() {
    let hostile = [
        format!("{}\n@porter fix", "> ".repeat(10_000)),
        format!("{}@porter fix", "> \n".repeat(20_000)),
        format!("{}\n\n@porter fix", "`".repeat(100_000)),
        format!("{}\n@porter fix", "` `` ".repeat(20_000)),
        format!("{}@porter fix", "<!--\n".repeat(20_000)),
        format!("{}@porter fix", "<!-- -->\n".repeat(10_000)),
        format!("{}\n\n@porter fix", "[".repeat(50_000)),
        format!("{}\n\n@porter fix", "*a_ ".repeat(25_000)),
        format!("{}\n\n@porter fix", "<a ".repeat(30_000)),
        format!("{}@porter fix", "- ".repeat(5_000)),
        "> @porter a\n".repeat(10_000),
        "```\n@porter a\n```\n".repeat(5_000),
        "@porter\n".repeat(12_000),
        format!("@porter {}", "--priority=low ".repeat(8_000)),
        format!("@porter {}", "--priority=low\n".repeat(8_000)),
        format!("@porter {}", "`a` ".repeat(25_000)),
        format!("@porter{}", " ".repeat(100_000)),
        format!("{}x", "  @porter-".repeat(10_000)),
        format!("<div>\n{}\n@porter fix", "<a ' ".repeat(20_000)),
    ];
    for comment in hostile {
        let start = std::time::Instant::now();
        let _ = read(&comment);
        let took = start.elapsed();
        assert!(took.as_millis() < 2_000, "{took:?} for {:?}…", &comment[..20]);
    }
}

fn format(run: &Run) -> String {
    let mut comment = "@porter".to_owned();
    if let Some(agent) = &run.agent {
        comment += &format!(" {agent}");
    }
    if let Some(priority) = run.priority {
        comment += &format!(" --priority={}", priority.as_str());
    }
    if let Some(model) = &run.model {
        comment += &format!(" --model={model}");
    }
    if let Some(base) = &run.base_branch {
        comment += &format!(" --base {base}");
    }
    comment + " -- " + &run.instructions
}

proptest! {
    #[test]
    fn no_input_causes_a_panic(comment in r"(@porter|--priority[= ]|--|claude|stop|[`~>#<!\-\[\]() \t\r\n]|<!--|-->|<pre>|\PC){0,40}") {
        let _ = read(&comment);
    }

    #[test]
    fn no_mention_is_found_inside_a_fence_a_quote_or_a_comment(lines in prop::collection::vec("[a-z@` ]{0,12}|@porter claude|", 1..8)) {
        let inside = lines.join("\n");
        let fenced = format!("~~~\n{inside}\n~~~\n");
        let quoted: String = lines.iter().map(|line| format!("> {line}\n")).collect();
        let hidden = format!("<!--\n{inside}\n-->\n");
        prop_assert_eq!(read(&fenced), None);
        prop_assert_eq!(read(&quoted), None);
        prop_assert_eq!(read(&hidden), None);
        let said = format!("{fenced}\n{quoted}\n\n{hidden}\n@porter amp");
        prop_assert!(matches!(read(&said), Some(Ok(Command::Run(run))) if run.agent.as_deref() == Some("amp")));
    }

    #[test]
    fn instructions_are_the_end_of_the_comment(before in "[a-z \n]{0,20}", text in r"[a-z][a-z .,\n>#*`-]{0,60}") {
        let comment = format!("{before}\n\n@porter -- {text}");
        let Some(Ok(Command::Run(run))) = read(&comment) else { return Err(TestCaseError::fail(comment)) };
        prop_assert!(comment.trim_end().ends_with(&run.instructions), "{:?}", run.instructions);
        prop_assert_eq!(run.instructions, text.trim_end());
    }

    #[test]
    fn a_command_is_parsed_as_it_was_written(
        agent in prop::option::of(prop::sample::select(vec!["claude-code", "opencode", "amp"])),
        priority in prop::option::of(prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High])),
        model in prop::option::of("[a-z0-9][a-z0-9._:/@-]{0,20}"),
        base in prop::option::of("[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}"),
        text in r"([a-zA-Z@:.-][a-zA-Z@:. -]{0,30}[a-z](\n\n[a-z]{1,8}){0,2})?",
    ) {
        let run = Run {
            agent: agent.map(str::to_owned),
            priority,
            model,
            base_branch: base,
            instructions: text,
        };
        prop_assert_eq!(read(&format(&run)), Some(Ok(Command::Run(run))));
    }
}
