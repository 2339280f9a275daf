//! `GET /api/tasks/:id/events`: the live stream of a task's events (main-spec §6).

use std::time::Duration;

use domain::task::{Task, TaskId};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::testkit::{ADA, Plan, TEST_TIMEOUT, Testkit};

/// An open event stream.
struct Stream {
    response: Response,
    text: String,
}

/// An event: its id, kind and data.
type Event = (u64, String, Value);

impl Stream {
    async fn open(kit: &Testkit, task: &TaskId, last: Option<&str>) -> Self {
        let mut request = kit.as_person(Method::GET, ADA, &format!("/api/tasks/{task}/events")).await;
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, text: String::new() }
    }

    /// Returns the next event, or `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let Some(data) = field("data:") else { continue };
                let id = field("id:").expect("an id").parse().expect("a number");
                let data = serde_json::from_str(data).expect("JSON");
                return Some((id, field("event:").expect("a kind").to_owned(), data));
            }
            let chunk = tokio::time::timeout(TEST_TIMEOUT, self.response.chunk()).await.expect("an event");
            match chunk.expect("an intact stream") {
                Some(bytes) => self.text.push_str(std::str::from_utf8(&bytes).expect("text")),
                None => return None,
            }
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn statuses(events: &[Event]) -> Vec<&str> {
    let changes = events.iter().filter(|(_, kind, _)| kind == "status");
    changes.map(|(_, _, data)| data["status"].as_str().expect("a status")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_receives_past_events_and_then_live_events_until_the_end() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    let mut stream = Stream::open(&kit, &id, None).await;
    let mut told = vec![stream.next().await.unwrap(), stream.next().await.unwrap()];
    assert_eq!(statuses(&told), ["queued", "running"]);
    let body = json!({
        "task_id": id, "attempt": 1, "progress": 40, "message": "Half way", "events": ["first\nline", "second"],
    });
    kit.call_back("progress", &kit.token(&id, 1), &body).await.expect(200);
    for (kind, name, value) in [
        ("output", "text", json!("first\nline")),
        ("output", "text", json!("second")),
        ("progress", "message", json!("Half way")),
    ] {
        let event = stream.next().await.unwrap();
        assert_eq!((event.1.as_str(), &event.2[name]), (kind, &value));
        told.push(event);
    }
    kit.succeed(&id).await;
    told.extend(stream.rest().await);
    assert_eq!(statuses(&told), ["queued", "running", "success"]);
    let numbers: Vec<u64> = told.iter().map(|(number, ..)| *number).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    assert!(told.iter().all(|(_, _, data)| data["attempt"] == 1 && data["at"].is_string()), "{told:#?}");

    // Resumes from the start, from the middle, and from the end.
    assert_eq!(Stream::open(&kit, &id, None).await.rest().await, told);
    let middle = numbers[2].to_string();
    assert_eq!(Stream::open(&kit, &id, Some(&middle)).await.rest().await, told[3..]);
    let end = numbers.last().unwrap().to_string();
    let path = format!("/api/tasks/{id}/events");
    let last = kit.as_person(Method::GET, ADA, &path).await.header("last-event-id", &end);
    assert_eq!(kit.send(last).await.expect(204).text, "");
    let nonsense = kit.as_person(Method::GET, ADA, &path).await.header("last-event-id", "x");
    kit.send(nonsense).await.expect_error(400, "invalid_request");
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_shutdown_and_can_be_resumed() {
    let mut kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    kit.drained().await;
    let mut stream = Stream::open(&kit, &id, None).await;
    stream.next().await.unwrap();
    let (last, ..) = stream.next().await.unwrap();
    let took = kit.stop_porter().await;
    assert!(took < Duration::from_secs(10), "the stream delayed the shutdown by {took:?}");
    assert_eq!(stream.rest().await, []);
    kit.start_porter().await;
    let stream = Stream::open(&kit, &id, Some(&last.to_string())).await;
    kit.fail(&id).await;
    assert_eq!(statuses(&stream.rest().await), ["failed"]);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lines_in_one_report_are_all_sent() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    for batch in 0..3 {
        let lines: Vec<String> = (0..300).map(|number| format!("line {batch}.{number}")).collect();
        let body = json!({ "task_id": id, "attempt": 1, "events": lines });
        kit.call_back("progress", &kit.token(&id, 1), &body).await.expect(200);
    }
    kit.fail(&id).await;
    let told = Stream::open(&kit, &id, None).await.rest().await;
    assert_eq!(told.iter().filter(|(_, kind, _)| kind == "output").count(), 900);
    assert_eq!(statuses(&told), ["queued", "running", "failed"]);
    kit.status_comment(issue, &id);
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_of_excessive_output_are_kept_and_shown() {
    let kit = Plan::silent().start().await;
    let (issue, Task { id, .. }) = kit.at_work().await;
    for batch in 0..10 {
        let lines: Vec<String> = (0..500).map(|number| format!("line {batch}.{number}.")).collect();
        let body = json!({ "task_id": id, "attempt": 1, "events": lines });
        kit.call_back("progress", &kit.token(&id, 1), &body).await.expect(200);
    }
    kit.fail(&id).await;
    let told = Stream::open(&kit, &id, None).await.rest().await;
    let lines: Vec<&str> = told.iter().filter_map(|(_, _, data)| data["text"].as_str()).collect();
    assert!(lines.len() <= 4000, "{} lines are kept", lines.len());
    assert_eq!(lines.last(), Some(&"line 9.499."));
    assert_eq!(statuses(&told), ["queued", "running", "failed"]);
    let page = kit.get(ADA, &format!("/tasks/{id}")).await.expect(200);
    assert!(
        page.text.contains("line 9.499.") && !page.text.contains("line 1.0."),
        "the page does not show the last lines"
    );
    kit.status_comment(issue, &id);
    kit.close().await;
}
