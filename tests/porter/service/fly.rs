//! Machines on Fly (main-spec §7): their configuration, and that each attempt has one, whatever Fly answers.

use chrono::TimeDelta;
use domain::report::FailureStage;
use domain::task::{Status, Task};
use porter::tasks::watch;
use serde_json::json;

use crate::fake_fly::{Call, FakeFly, Fault, Machine};
use crate::testkit::people::comment_of;
use crate::testkit::{ADA, BOB, Plan, REPO, Testkit};

const TOKEN: &str = "fm2_the-token-that-everybody-shares";
const ADAS_TOKEN: &str = "fm2_the-token-that-is-adas-own";

async fn kit(fly: &FakeFly) -> Testkit {
    fly.add_app("porter-agents", "acme-org", TOKEN);
    Plan::fly(fly)
        .with("PORTER_SHARED_FLY_TOKEN", TOKEN)
        .with("PORTER_SHARED_FLY_APP", "porter-agents")
        .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-the-shared-key")
        .start()
        .await
}

/// Returns the only machine that was created.
fn only_machine(fly: &FakeFly) -> Machine {
    let machines = fly.machines();
    assert_eq!(machines.len(), 1, "expected one machine, found {machines:#?}");
    machines.into_iter().next().expect("one")
}

async fn close(kit: Testkit, fly: &FakeFly) {
    assert_eq!(fly.violations(), Vec::<String>::new());
    assert_eq!(fly.living().iter().map(|machine| &machine.name).collect::<Vec<_>>(), Vec::<&String>::new());
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_receives_its_configuration_and_is_destroyed_afterwards() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter claude --model=opus Be quick.").await;
    let task = kit.working(&id).await;
    let machine = only_machine(&fly);
    assert_eq!(task.attempt.machine_id.as_deref(), Some(machine.id.as_str()));
    let config = &machine.config;
    assert_eq!((&config["auto_destroy"], &config["restart"]["policy"]), (&json!(true), &json!("no")));
    assert_eq!(config["guest"], json!({ "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 }));
    assert_eq!(config["metadata"]["porter_task"], id.as_str());
    assert_eq!(config["metadata"]["porter_attempt"], "1");
    let env = machine.env();
    for (name, value) in [
        ("TASK_ID", id.as_str()),
        ("REPO_FULL_NAME", REPO),
        ("REPO_URL", &format!("{}/{REPO}.git", kit.github.web_url())),
        ("ISSUE_NUMBER", &issue.to_string()),
        ("AGENT", "claude-code"),
        ("MODEL", "opus"),
        ("BRANCH", &id.branch()),
        ("BASE_BRANCH", "main"),
        ("CALLBACK_URL", &format!("{}/api/callbacks/complete", kit.url)),
        ("PROGRESS_URL", &format!("{}/api/callbacks/progress", kit.url)),
        ("CALLBACK_TOKEN", &kit.token(&id, 1)),
        ("TIMEOUT_SECONDS", "600"),
        ("ANTHROPIC_API_KEY", "sk-ant-the-shared-key"),
    ] {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    let prompt = &env["PROMPT"];
    let sections: Vec<&str> = prompt.lines().filter(|line| line.starts_with("## ")).collect();
    let expected = [
        "## Task",
        "## Description",
        "## Repository Context",
        "## Instructions",
        "## Additional instructions",
    ];
    assert_eq!(sections, expected, "{prompt}");
    assert!(prompt.contains("The greeting has a hole") && prompt.contains("Be quick."), "{prompt}");
    let foreign = [TOKEN, "WEBHOOK_SECRET", "PORTER_SECRET"];
    let all = format!("{env:?}");
    assert!(
        foreign.iter().all(|secret| !all.contains(secret)),
        "the machine received a secret that it does not need"
    );

    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.only_pull();
    kit.status_comment(issue, &id);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_answer_creates_no_second_machine() {
    for fault in [
        Fault::StatusAfterEffect(502),
        Fault::StatusAfterEffect(408),
        Fault::CutAfterEffect,
        Fault::Status(503),
        Fault::RateLimited(1),
    ] {
        let fly = FakeFly::start().await;
        let kit = kit(&fly).await;
        fly.next(1, Call::Create, fault.clone());
        let issue = kit.issue().await;
        let id = kit.ask(issue, ADA, "@porter mock").await;
        let task = kit.succeed_however_long(&id).await;
        assert_eq!(task.status, Status::Success, "{fault:?}: {task:#?}");
        only_machine(&fly);
        kit.status_comment(issue, &id);
        close(kit, &fly).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_fly_settings_are_named_and_a_personal_token_takes_precedence() {
    let fly = FakeFly::start().await;
    fly.add_app("adas-app", "ada-org", ADAS_TOKEN);
    let kit = Plan::fly(&fly).start().await;
    let issue = kit.issue().await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_credentials" }));
    let answer = kit.answer_to(issue, comment_of(&delivery)).await;
    assert!(answer.contains("Fly token") && answer.contains("Fly app name"), "{answer}");

    kit.set(ADA, &json!({ "flyAppName": "adas-app" })).await;
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", ADAS_TOKEN).await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    kit.working(&id).await;
    assert_eq!(only_machine(&fly).app, "adas-app");
    kit.succeed(&id).await;
    kit.status_comment(issue, &id);

    // Bob has no token, and Ada's must not be used for him.
    let delivery = kit.say(issue, BOB, "@porter mock").await;
    assert_eq!(delivery.answer["reason"], "missing_credentials");
    kit.answer_to(issue, comment_of(&delivery)).await;
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_token_is_used_only_with_the_shared_app() {
    let fly = FakeFly::start().await;
    let shared = kit(&fly).await;
    fly.add_app("another-app", "acme-org", TOKEN);
    shared.set(ADA, &json!({ "flyAppName": "another-app" })).await;
    let issue = shared.issue().await;
    let id = shared.ask(issue, ADA, "@porter mock").await;
    shared.working(&id).await;
    assert_eq!(only_machine(&fly).app, "porter-agents");
    shared.succeed(&id).await;
    shared.status_comment(issue, &id);
    close(shared, &fly).await;

    // Without a shared app, the shared token is not used.
    let kit = Plan::fly(&fly).with("PORTER_SHARED_FLY_TOKEN", TOKEN).start().await;
    kit.set(ADA, &json!({ "flyAppName": "another-app" })).await;
    let issue = kit.issue().await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer["reason"], "missing_credentials");
    let answer = kit.answer_to(issue, comment_of(&delivery)).await;
    assert!(answer.contains("Fly token") && !answer.contains("Fly app name"), "{answer}");
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_fly_rejects_is_explained() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    kit.set(ADA, &json!({ "flyAppName": "porter-agents" })).await;
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_a-token-that-nobody-knows").await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let task = kit.task_in_time(&id, "it has ended", |task| task.status.is_terminal()).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    // The clean-up searches for a machine with the same token; with a valid one it finishes.
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", TOKEN).await;
    kit.drained().await;
    let comment = kit.status_comment(issue, &id);
    assert!(comment.body.contains("machine could not be started"), "{}", comment.body);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_work_is_published_after_fly_destroyed_the_machine() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let commit = kit.push(&id).await;
    fly.exited(&only_machine(&fly).id);
    kit.clock.advance(TimeDelta::seconds(46));
    watch::look(kit.porter()).await.unwrap();
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.commit_sha), (Status::Success, Some(commit)));
    kit.only_pull();
    kit.status_comment(issue, &id);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_task_stops_its_machine_before_it_is_destroyed() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    kit.ended(&id).await;
    assert_eq!((fly.count(Call::Stop), fly.living().len()), (1, 0));
    kit.status_comment(issue, &id);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_prompt_is_sent_as_a_file() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let issue = kit.github.open_issue(REPO, "bob", "A long story", &"word ".repeat(12_000)).await.unwrap();
    let id = kit.ask(issue, ADA, &format!("@porter mock {}", "more ".repeat(10_000))).await;
    kit.working(&id).await;
    let machine = only_machine(&fly);
    let env = machine.env();
    assert!(!env.contains_key("PROMPT"));
    let prompt = &machine.files()[&env["PROMPT_FILE"]];
    assert!(prompt.len() > 96 * 1024 && prompt.contains("A long story"), "{} bytes", prompt.len());
    kit.fail(&id).await;
    kit.status_comment(issue, &id);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_found_in_its_app_after_the_setting_changed() {
    let fly = FakeFly::start().await;
    for app in ["adas-app", "adas-other-app"] {
        fly.add_app(app, "ada-org", ADAS_TOKEN);
    }
    let kit = Plan::fly(&fly).start().await;
    kit.set(ADA, &json!({ "flyAppName": "adas-app" })).await;
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", ADAS_TOKEN).await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.set(ADA, &json!({ "flyAppName": "adas-other-app" })).await;
    kit.clock.advance(TimeDelta::seconds(46));
    watch::look(kit.porter()).await.unwrap();
    let task = kit.task(&id).await;
    assert_eq!(task.status, Status::Running, "its machine is alive: {task:#?}");
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    kit.ended(&id).await;
    kit.status_comment(issue, &id);
    // Closing the kit verifies that no machine is left.
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_does_not_hide_the_machines_of_others() {
    let fly = FakeFly::start().await;
    let kit = kit(&fly).await;
    let (adas_issue, Task { id: adas, .. }) = kit.at_work().await;
    let bobs_issue = kit.issue().await;
    let bobs = kit.ask(bobs_issue, BOB, "@porter mock").await;
    let machine = kit.working(&bobs).await.attempt.machine_id.expect("a machine");
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_a-token-that-nobody-knows").await;
    fly.exited(&machine);
    kit.clock.advance(TimeDelta::seconds(46));
    watch::look(kit.porter()).await.unwrap();
    assert_eq!(kit.task(&adas).await.status, Status::Running);
    let task = kit.ended(&bobs).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Callback)));
    kit.store_key(ADA, "fly", "FLY_API_TOKEN", TOKEN).await;
    kit.fail(&adas).await;
    kit.status_comment(adas_issue, &adas);
    kit.status_comment(bobs_issue, &bobs);
    close(kit, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_an_earlier_try_keeps_its_token() {
    let fly = FakeFly::start().await;
    let mut kit = kit(&fly).await;
    let (tell, mut made) = tokio::sync::mpsc::unbounded_channel();
    fly.on(move |happening| {
        tell.send(happening).ok();
    });
    fly.next(1, Call::Create, Fault::SilenceAfterEffect);
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    made.recv().await.expect("a machine");
    kit.kill_porter().await;
    kit.clock.advance(TimeDelta::minutes(20));
    kit.start_porter().await;
    let task = kit.working(&id).await;
    assert_eq!(task.attempt.machine_id, Some(only_machine(&fly).id));
    let tokens = kit.github.issued_tokens().into_iter();
    let mut workers = tokens.filter(|token| !token.permissions.contains_key("issues"));
    assert_eq!(workers.next().map(|token| token.is_live), Some(true), "the machine's token was revoked");
    assert_eq!(workers.next().map(|token| token.is_live), None, "a second token was created");
    kit.succeed(&id).await;
    kit.only_pull();
    kit.status_comment(issue, &id);
    close(kit, &fly).await;
}
