//! Tests of refusals and answers.

use super::*;

fn refusals() -> Vec<Refusal> {
    let settings_url = || "https://porter.example/settings".to_owned();
    vec![
        Refusal::MissingInstallation,
        Refusal::MissingUserOauth { login: "ada".into(), sign_in_url: "https://porter.example/auth".into() },
        Refusal::RepoNotSelected { settings_url: settings_url() },
        Refusal::NotAllowed,
        Refusal::AgentDisabled {
            agent: "amp".into(),
            settings_url: settings_url(),
            enabled: vec!["opencode".into(), "claude-code".into()],
        },
        Refusal::AgentDisabled { agent: "amp".into(), settings_url: settings_url(), enabled: vec![] },
        Refusal::MissingCredentials {
            missing: vec!["ANTHROPIC_API_KEY".into(), "Fly token".into()],
            settings_url: settings_url(),
        },
        Refusal::InvalidCommand { message: "`urgent` is not a priority.".into() },
        Refusal::TooManyTasks { limit: 5 },
        Refusal::TaskAlreadyActive {
            task_url: CONTEXT.task_url.into(),
            status: Status::Running,
            agent: "claude-code".into(),
        },
    ]
}

const ANSWERING: AnswerContext<'_> = AnswerContext { comment_id: CommentId::new(7), proof: "p00f" };

#[test]
fn every_refusal_states_the_reason_and_the_next_step() {
    let texts: Vec<_> = refusals().iter().map(|reason| refusal(reason, &ANSWERING)).collect();
    assert_snapshot!(texts.join("\n\n---\n\n"), @r#"
    ⚠️ Porter's GitHub App is not installed on this account. Install it, then ask again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"missing_installation"} -->

    ---

    ⚠️ @ada, I do not know you yet. [Sign in to Porter](https://porter.example/auth) with GitHub and add your keys; then write your comment again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"missing_user_oauth"} -->

    ---

    ⚠️ In your settings you have chosen where I may work for you, and this repository is not among them. [Add the repository](https://porter.example/settings), then ask again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"repo_not_selected"} -->

    ---

    ⚠️ Only people who may push to this repository, and whom the operator of this Porter has admitted, can ask me for work here. Ask a maintainer for write access, or ask one of them to write the comment.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"not_allowed"} -->

    ---

    ⚠️ `amp` is switched off in your settings. [Switch it on](https://porter.example/settings), then ask again. Or use one that is on (`opencode` and `claude-code`): `@porter opencode …`.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"agent_disabled"} -->

    ---

    ⚠️ `amp` is switched off in your settings. [Switch it on](https://porter.example/settings), then ask again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"agent_disabled"} -->

    ---

    ⚠️ I cannot start yet: `ANTHROPIC_API_KEY` and `Fly token` are missing. [Add what is missing](https://porter.example/settings), then ask again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"missing_credentials"} -->

    ---

    ⚠️ I could not read this command. `urgent` is not a priority.

    `@porter help` shows what I understand.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"invalid_command"} -->

    ---

    ⚠️ You have 5 tasks waiting, which is as many as one person may have waiting. Ask again when one has begun, or end one: `@porter stop` on its issue.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"too_many_tasks"} -->

    ---

    ⚠️ `claude-code` already has a task on this issue: [it is running](https://porter.example/tasks/task_0193). Wait for it to end, or comment `@porter stop` and ask again.

    <!-- porter:{"comment":7,"proof":"p00f","refusal":"too_many_tasks"} -->
    "#);
}

fn answers() -> Vec<Answer> {
    let summary = |status, agent: &str| TaskSummary {
        agent: agent.into(),
        status,
        progress: 40,
        queue_position: (status == Status::Queued).then_some(2),
        task_url: CONTEXT.task_url.into(),
        pr_url: (status == Status::Success).then(|| "https://github.com/acme/shop/pull/43".into()),
    };
    vec![
        Answer::Help { agents: vec!["opencode".into(), "claude".into(), "amp".into()] },
        Answer::Status { tasks: vec![] },
        Answer::Status { tasks: Status::ALL.into_iter().map(|status| summary(status, "amp")).collect() },
        Answer::Stopped { tasks: vec![summary(Status::Running, "amp"), summary(Status::Queued, "opencode")] },
        Answer::NothingToStop,
        Answer::Retrying { task_url: CONTEXT.task_url.into(), attempt: 2 },
        Answer::NothingToRetry,
        Answer::StillActive { task_url: CONTEXT.task_url.into() },
        Answer::CannotRetrySuccess { pr_url: Some("https://github.com/acme/shop/pull/43".into()) },
        Answer::CannotRetrySuccess { pr_url: None },
    ]
}

#[test]
fn every_control_word_is_answered() {
    let texts: Vec<_> = answers().iter().map(|reply| answer(reply, &ANSWERING)).collect();
    assert_snapshot!(texts.join("\n\n---\n\n"), @r#"
    Ask me for work at the start of a line, and I come back with a pull request:

    ```text
    @porter [agent] [options] [what else to know]
    ```

    The issue says what is to be done; whatever you add goes along with it.

    - Agents: `opencode`, `claude` and `amp`. Without one, your first enabled agent does the work.
    - `--priority=low|normal|high`: how soon it starts.
    - `--model=NAME`: which model the agent uses.
    - `--base=BRANCH`: which branch to start from.
    - `@porter status` shows the status, `@porter stop` ends what is running, `@porter retry` tries the last task again.

    For example: `@porter claude --priority=high fix the flaky test in the login suite`

    <!-- porter:{"answer":"help","comment":7,"proof":"p00f"} -->

    ---

    There is no task on this issue yet. `@porter help` shows how to start one.

    <!-- porter:{"answer":"status","comment":7,"proof":"p00f"} -->

    ---

    - [`amp`](https://porter.example/tasks/task_0193): queued, number 2 in line
    - [`amp`](https://porter.example/tasks/task_0193): running, 40 %
    - [`amp`](https://porter.example/tasks/task_0193): success, [pull request](https://github.com/acme/shop/pull/43)
    - [`amp`](https://porter.example/tasks/task_0193): failed, `@porter retry` tries again
    - [`amp`](https://porter.example/tasks/task_0193): timed out, `@porter retry` tries again

    <!-- porter:{"answer":"status","comment":7,"proof":"p00f"} -->

    ---

    Stopped: [`amp`](https://porter.example/tasks/task_0193) and [`opencode`](https://porter.example/tasks/task_0193). `@porter retry` begins again.

    <!-- porter:{"answer":"stop","comment":7,"proof":"p00f"} -->

    ---

    Nothing is running on this issue, so there is nothing to stop.

    <!-- porter:{"answer":"stop","comment":7,"proof":"p00f"} -->

    ---

    Trying again: [attempt 2](https://porter.example/tasks/task_0193) is queued.

    <!-- porter:{"answer":"retry","comment":7,"proof":"p00f"} -->

    ---

    There is no task on this issue to try again. `@porter help` shows how to start one.

    <!-- porter:{"answer":"retry","comment":7,"proof":"p00f"} -->

    ---

    [The task](https://porter.example/tasks/task_0193) has not ended yet, so there is nothing to try again. `@porter stop` ends it.

    <!-- porter:{"answer":"retry","comment":7,"proof":"p00f"} -->

    ---

    The last task succeeded with [its pull request](https://github.com/acme/shop/pull/43), so there is nothing to try again. For more work, write a new `@porter` comment that says what is missing.

    <!-- porter:{"answer":"retry","comment":7,"proof":"p00f"} -->

    ---

    The last task succeeded, so there is nothing to try again. For more work, write a new `@porter` comment that says what is missing.

    <!-- porter:{"answer":"retry","comment":7,"proof":"p00f"} -->
    "#);
}

#[test]
fn refusals_and_answers_are_unchanged_after_serialization() {
    for reason in refusals() {
        let json = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), reason, "{json}");
        assert!(has_answer_marker(&refusal(&reason, &ANSWERING), CommentId::new(7), "p00f"));
        assert!(!has_answer_marker(&refusal(&reason, &ANSWERING), CommentId::new(8), "p00f"));
    }
    for reply in answers() {
        let json = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), reply, "{json}");
        assert!(has_answer_marker(&answer(&reply, &ANSWERING), CommentId::new(7), "p00f"));
    }
}

#[test]
fn the_reason_of_a_refusal_is_the_same_on_github_and_in_the_api() {
    for reason in refusals() {
        // A link on GitHub corresponds to a separate action in the API.
        let comment = refusal(&reason, &ANSWERING)
            .replace("[it is running](https://porter.example/tasks/task_0193)", "it is running");
        assert!(comment.starts_with(&format!("⚠️ {}", reason.why())), "{comment}\n{}", reason.why());
    }
}
