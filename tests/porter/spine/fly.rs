//! Machines on Fly (contract §7): what they are told, and that there is one of them, whatever Fly answers.

use chrono::TimeDelta;
use domain::report::FailureStage;
use domain::task::{Status, Task};
use porter::tasks::watch;
use serde_json::json;

use crate::fake_fly::{Call, FakeFly, Fault, Machine};
use crate::world::people::comment_of;
use crate::world::{ADA, BOB, Plan, REPO, World};

const TOKEN: &str = "fm2_the-token-that-everybody-shares";
const ADAS_TOKEN: &str = "fm2_the-token-that-is-adas-own";

async fn world(fly: &FakeFly) -> World {
    fly.add_app("porter-agents", "acme-org", TOKEN);
    Plan::fly(fly)
        .with("PORTER_SHARED_FLY_TOKEN", TOKEN)
        .with("PORTER_SHARED_FLY_APP", "porter-agents")
        .with("PORTER_SHARED_ANTHROPIC_API_KEY", "sk-ant-the-shared-key")
        .start()
        .await
}

/// The one machine that was ever made.
fn only_machine(fly: &FakeFly) -> Machine {
    let machines = fly.machines();
    assert_eq!(machines.len(), 1, "expected one machine, seen {machines:#?}");
    machines.into_iter().next().expect("one")
}

async fn close(world: World, fly: &FakeFly) {
    assert_eq!(fly.violations(), Vec::<String>::new());
    assert_eq!(fly.living().iter().map(|machine| &machine.name).collect::<Vec<_>>(), Vec::<&String>::new());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_told_everything_it_needs_and_is_gone_afterwards() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter claude --model=opus Be quick.").await;
    let task = world.working(&id).await;
    let machine = only_machine(&fly);
    assert_eq!(task.machine_id.as_deref(), Some(machine.id.as_str()));
    let config = &machine.config;
    assert_eq!((&config["auto_destroy"], &config["restart"]["policy"]), (&json!(true), &json!("no")));
    assert_eq!(config["guest"], json!({ "cpu_kind": "shared", "cpus": 2, "memory_mb": 2048 }));
    assert_eq!(config["metadata"]["porter_task"], id.as_str());
    assert_eq!(config["metadata"]["porter_attempt"], "1");
    let env = machine.env();
    for (name, value) in [
        ("TASK_ID", id.as_str()),
        ("REPO_FULL_NAME", REPO),
        ("REPO_URL", &format!("{}/{REPO}.git", world.github.web_url())),
        ("ISSUE_NUMBER", &issue.to_string()),
        ("AGENT", "claude-code"),
        ("MODEL", "opus"),
        ("BRANCH", &id.branch()),
        ("BASE_BRANCH", "main"),
        ("CALLBACK_URL", &format!("{}/api/callbacks/complete", world.url)),
        ("PROGRESS_URL", &format!("{}/api/callbacks/progress", world.url)),
        ("CALLBACK_TOKEN", &world.token(&id, 1)),
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
    assert!(foreign.iter().all(|secret| !all.contains(secret)), "nothing but what it needs");

    assert_eq!(world.succeed(&id).await.status, Status::Success);
    world.only_pull();
    world.status_comment(issue, &id);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_answer_makes_no_second_machine() {
    for fault in [
        Fault::StatusAfterEffect(502),
        Fault::StatusAfterEffect(408),
        Fault::CutAfterEffect,
        Fault::Status(503),
        Fault::RateLimited(1),
    ] {
        let fly = FakeFly::start().await;
        let world = world(&fly).await;
        fly.next(1, Call::Create, fault.clone());
        let issue = world.issue().await;
        let id = world.ask(issue, ADA, "@porter mock").await;
        let task = world.succeed_however_long(&id).await;
        assert_eq!(task.status, Status::Success, "{fault:?}: {task:#?}");
        only_machine(&fly);
        world.status_comment(issue, &id);
        close(world, &fly).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_lacks_for_fly_is_named_and_their_own_token_goes_first() {
    let fly = FakeFly::start().await;
    fly.add_app("adas-app", "ada-org", ADAS_TOKEN);
    let world = Plan::fly(&fly).start().await;
    let issue = world.issue().await;
    let delivery = world.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_credentials" }));
    let answer = world.answer_to(issue, comment_of(&delivery)).await;
    assert!(answer.contains("Fly token") && answer.contains("Fly app name"), "{answer}");

    world.set(ADA, &json!({ "flyAppName": "adas-app" })).await;
    world.store_key(ADA, "fly", "FLY_API_TOKEN", ADAS_TOKEN).await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    world.working(&id).await;
    assert_eq!(only_machine(&fly).app, "adas-app");
    world.succeed(&id).await;
    world.status_comment(issue, &id);

    // Bob has none of his own, and Ada's are not for him.
    let delivery = world.say(issue, BOB, "@porter mock").await;
    assert_eq!(delivery.answer["reason"], "missing_credentials");
    world.answer_to(issue, comment_of(&delivery)).await;
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_token_opens_no_app_that_a_person_names() {
    let fly = FakeFly::start().await;
    let shared = world(&fly).await;
    fly.add_app("another-app", "acme-org", TOKEN);
    shared.set(ADA, &json!({ "flyAppName": "another-app" })).await;
    let issue = shared.issue().await;
    let id = shared.ask(issue, ADA, "@porter mock").await;
    shared.working(&id).await;
    assert_eq!(only_machine(&fly).app, "porter-agents");
    shared.succeed(&id).await;
    shared.status_comment(issue, &id);
    close(shared, &fly).await;

    // Without a shared app there is nothing that the token is for.
    let world = Plan::fly(&fly).with("PORTER_SHARED_FLY_TOKEN", TOKEN).start().await;
    world.set(ADA, &json!({ "flyAppName": "another-app" })).await;
    let issue = world.issue().await;
    let delivery = world.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer["reason"], "missing_credentials");
    let answer = world.answer_to(issue, comment_of(&delivery)).await;
    assert!(answer.contains("Fly token") && !answer.contains("Fly app name"), "{answer}");
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_fly_does_not_take_is_explained() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    world.set(ADA, &json!({ "flyAppName": "porter-agents" })).await;
    world.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_a-token-that-nobody-knows").await;
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    let task = world.task_in_time(&id, "it has ended", |task| task.status.is_terminal()).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    // The clean-up looks for a machine with the same token; with a good one it comes to its end.
    world.store_key(ADA, "fly", "FLY_API_TOKEN", TOKEN).await;
    world.drained().await;
    let comment = world.status_comment(issue, &id);
    assert!(comment.body.contains("machine could not be started"), "{}", comment.body);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_fly_has_destroyed_does_not_take_the_pushed_work_along() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    let (issue, Task { id, .. }) = world.at_work().await;
    let commit = world.push(&id).await;
    fly.exited(&only_machine(&fly).id);
    world.clock.advance(TimeDelta::seconds(46));
    watch::look(world.porter()).await.unwrap();
    let task = world.ended(&id).await;
    assert_eq!((task.status, task.commit_sha), (Status::Success, Some(commit)));
    world.only_pull();
    world.status_comment(issue, &id);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_task_stops_its_machine_before_it_is_destroyed() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    let (issue, Task { id, .. }) = world.at_work().await;
    world.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    world.ended(&id).await;
    assert_eq!((fly.count(Call::Stop), fly.living().len()), (1, 0));
    world.status_comment(issue, &id);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_prompt_goes_as_a_file() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    let issue = world.github.open_issue(REPO, "bob", "A long story", &"word ".repeat(12_000)).await.unwrap();
    let id = world.ask(issue, ADA, &format!("@porter mock {}", "more ".repeat(10_000))).await;
    world.working(&id).await;
    let machine = only_machine(&fly);
    let env = machine.env();
    assert!(!env.contains_key("PROMPT"));
    let prompt = &machine.files()[&env["PROMPT_FILE"]];
    assert!(prompt.len() > 96 * 1024 && prompt.contains("A long story"), "{} bytes", prompt.len());
    world.fail(&id).await;
    world.status_comment(issue, &id);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_looked_for_where_it_was_made_whatever_app_is_chosen_since() {
    let fly = FakeFly::start().await;
    for app in ["adas-app", "adas-other-app"] {
        fly.add_app(app, "ada-org", ADAS_TOKEN);
    }
    let world = Plan::fly(&fly).start().await;
    world.set(ADA, &json!({ "flyAppName": "adas-app" })).await;
    world.store_key(ADA, "fly", "FLY_API_TOKEN", ADAS_TOKEN).await;
    let (issue, Task { id, .. }) = world.at_work().await;
    world.set(ADA, &json!({ "flyAppName": "adas-other-app" })).await;
    world.clock.advance(TimeDelta::seconds(46));
    watch::look(world.porter()).await.unwrap();
    let task = world.task(&id).await;
    assert_eq!(task.status, Status::Running, "its machine lives: {task:#?}");
    world.post(ADA, &format!("/api/tasks/{id}/stop"), &json!({})).await.expect(202);
    world.ended(&id).await;
    world.status_comment(issue, &id);
    // None is left living, which every test here ends by looking at.
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_persons_bad_token_does_not_hide_the_machines_of_others() {
    let fly = FakeFly::start().await;
    let world = world(&fly).await;
    let (adas_issue, Task { id: adas, .. }) = world.at_work().await;
    let bobs_issue = world.issue().await;
    let bobs = world.ask(bobs_issue, BOB, "@porter mock").await;
    let machine = world.working(&bobs).await.machine_id.expect("a machine");
    world.store_key(ADA, "fly", "FLY_API_TOKEN", "fm2_a-token-that-nobody-knows").await;
    fly.exited(&machine);
    world.clock.advance(TimeDelta::seconds(46));
    watch::look(world.porter()).await.unwrap();
    assert_eq!(world.task(&adas).await.status, Status::Running);
    let task = world.ended(&bobs).await;
    assert_eq!((task.status, task.failure_stage), (Status::Failed, Some(FailureStage::Callback)));
    world.store_key(ADA, "fly", "FLY_API_TOKEN", TOKEN).await;
    world.fail(&adas).await;
    world.status_comment(adas_issue, &adas);
    world.status_comment(bobs_issue, &bobs);
    close(world, &fly).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_an_earlier_try_made_keeps_the_token_it_holds() {
    let fly = FakeFly::start().await;
    let mut world = world(&fly).await;
    let (tell, mut made) = tokio::sync::mpsc::unbounded_channel();
    fly.on(move |happening| {
        tell.send(happening).ok();
    });
    fly.next(1, Call::Create, Fault::SilenceAfterEffect);
    let issue = world.issue().await;
    let id = world.ask(issue, ADA, "@porter mock").await;
    made.recv().await.expect("a machine is made");
    world.kill_porter().await;
    world.clock.advance(TimeDelta::minutes(20));
    world.start_porter().await;
    let task = world.working(&id).await;
    assert_eq!(task.machine_id, Some(only_machine(&fly).id));
    let tokens = world.github.issued_tokens().into_iter();
    let mut workers = tokens.filter(|token| !token.permissions.contains_key("issues"));
    assert_eq!(workers.next().map(|token| token.is_live), Some(true), "it is to push with it");
    assert_eq!(workers.next().map(|token| token.is_live), None, "and nobody holds another");
    world.succeed(&id).await;
    world.only_pull();
    world.status_comment(issue, &id);
    close(world, &fly).await;
}
