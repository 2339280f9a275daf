//! Runs the service with a kind of machines that its configuration does not know. Only the provider determines the
//! requirements, the places of machines and the explanations of refusals.

use std::sync::Arc;

use domain::report::FailureStage;
use domain::task::Status;
use serde_json::json;

use crate::runner::memory::{KEY, Memory};
use crate::testkit::people::comment_of;
use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_names_its_requirements_and_finds_machines_in_their_place() {
    let memory = Memory::default();
    let kit = Plan::machines(Arc::new(memory.clone())).start().await;
    let issue = kit.issue().await;
    let delivery = kit.say(issue, ADA, "@porter mock").await;
    assert_eq!(delivery.answer, json!({ "status": "rejected", "reason": "missing_credentials" }));
    let answer = kit.answer_to(issue, comment_of(&delivery)).await;
    assert!(answer.contains("key of the racks"), "{answer}");

    kit.store_key(ADA, "memory", KEY, "the-key-that-opens-every-rack").await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let task = kit.working(&id).await;
    let made = memory.machines();
    assert_eq!(made.len(), 1, "expected one machine, found {made:?}");
    assert_eq!((made[0].0.as_str(), Some(&made[0].1.id)), ("first", task.attempt.machine_id.as_ref()));
    let env = &memory.environments()[0];
    assert_eq!(env.get("TASK_ID").map(String::as_str), Some(id.as_str()));
    assert!(!env.contains_key(KEY), "the agent received the machines' credential");

    // The attempt's machine stays in its place when she changes her settings.
    kit.set(ADA, &json!({ "rack": "second" })).await;
    assert_eq!(kit.succeed(&id).await.status, Status::Success);
    kit.drained().await;
    assert_eq!(memory.machines(), []);
    kit.only_pull();
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_a_provider_is_shown_with_its_explanation() {
    let memory = Memory::default();
    let kit = Plan::machines(Arc::new(memory.clone())).start().await;
    kit.store_key(ADA, "memory", KEY, "the-key-that-opens-every-rack").await;
    memory.refuse("The racks are closed until Monday.");
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock").await;
    let task = kit.ended(&id).await;
    assert_eq!((task.status, task.attempt.failure_stage), (Status::Failed, Some(FailureStage::Launch)));
    assert_eq!(task.attempt.error_message.as_deref(), Some("The racks are closed until Monday."));
    kit.status_comment(issue, &id);
    kit.close().await;
}
