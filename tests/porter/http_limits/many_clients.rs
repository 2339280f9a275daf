//! Many concurrent clients.

use std::time::Duration;

use reqwest::Method;

use crate::testkit::{ADA, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_open_event_streams_do_not_delay_the_shutdown() {
    let mut kit = Plan::silent().start().await;
    let issue = kit.issue().await;
    let id = kit.ask(issue, ADA, "@porter mock go").await;
    kit.working(&id).await;
    let mut followers = Vec::new();
    for _ in 0..200 {
        let request = kit.as_person(Method::GET, ADA, &format!("/api/tasks/{id}/events")).await;
        let mut stream = request.send().await.expect("a stream");
        assert_eq!(stream.status(), 200);
        stream.chunk().await.expect("a chunk").expect("what has happened so far");
        followers.push(stream);
    }
    let took = kit.stop_porter().await;
    assert!(took < Duration::from_secs(10), "expected a shutdown within 10 s, seen {took:?}");
    for mut follower in followers {
        while follower.chunk().await.expect("a whole stream").is_some() {}
    }
    kit.start_porter().await;
    kit.post(ADA, &format!("/api/tasks/{id}/stop"), &serde_json::Value::Null).await.expect(202);
    kit.ended(&id).await;
    kit.status_comment(issue, &id);
    kit.close().await;
}
