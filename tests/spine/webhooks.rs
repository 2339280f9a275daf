//! What `POST /api/webhooks/github` answers (contract §5).

use crate::world::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_with_pong() {
    let world = Plan::silent().start().await;
    let delivery = world.github.ping().await.unwrap();
    assert_eq!((delivery.status, delivery.answer.to_string().as_str()), (Some(200), r#"{"status":"pong"}"#));
    let issue = world.issue().await;
    let delivery = world.say(issue, ADA, "hello").await;
    assert_eq!(delivery.answer["status"], "ignored");
    world.close().await;
}
