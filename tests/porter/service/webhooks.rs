//! Validation by `POST /api/webhooks/github` before the payload is interpreted (main-spec §5): signatures, sizes and
//! formats.

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::json;
use standin::Signature;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testkit::{ADA, Answer, Plan, Testkit};

const HOOK: &str = "/api/webhooks/github";
const MEGABYTE: usize = 1024 * 1024;

fn signed(kit: &Testkit, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    use secrecy::ExposeSecret;
    let secret = kit.github.app().webhook_secret;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.expose_secret().as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn hook(kit: &Testkit, signature: &str) -> RequestBuilder {
    kit.request(Method::POST, HOOK)
        .header("x-github-event", "issue_comment")
        .header("x-github-delivery", "guid-1")
        .header("x-hub-signature-256", signature)
}

/// Returns a body without a known length.
fn chunked(size: usize) -> Body {
    // A mapped body has no known length.
    Body::wrap(Full::new(Bytes::from(vec![b' '; size])).map_frame(|frame| frame))
}

async fn mention_as(kit: &Testkit, signature: Signature) -> (Option<u16>, serde_json::Value) {
    let body = json!({ "action": "created" }).to_string();
    let delivery = kit.github.deliver_raw("issue_comment", body, signature, None).await.unwrap();
    (delivery.status, delivery.answer["error"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_with_pong() {
    let kit = Plan::silent().start().await;
    let delivery = kit.github.ping().await.unwrap();
    assert_eq!((delivery.status, delivery.answer), (Some(200), json!({ "status": "pong" })));
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_deliveries_signed_by_github_are_accepted() {
    let kit = Plan::silent().start().await;
    let right = signed(&kit, json!({ "action": "created" }).to_string().as_bytes());
    let forged = [
        Signature::Missing,
        Signature::Header(String::new()),
        Signature::Header("sha256=".to_owned()),
        Signature::Header(right[..right.len() - 1].to_owned()),
        Signature::Header(format!("{right}0")),
        Signature::Header(right.replace("sha256=", "sha1=")),
        Signature::Header(right.trim_start_matches("sha256=").to_owned()),
        Signature::Header(format!("sha256={}", "0".repeat(64))),
        Signature::Header(format!("sha256={}", "g".repeat(64))),
        Signature::Header(signed(&kit, b"another body")),
    ];
    for signature in forged {
        let seen = mention_as(&kit, signature.clone()).await;
        assert_eq!(seen, (Some(401), json!("invalid_signature")), "for {signature:?}");
    }
    let answer = kit.send(hook(&kit, "sha256=00").body("{}")).await;
    answer.expect_error(401, "invalid_signature");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modified_body_fails_verification() {
    let kit = Plan::silent().start().await;
    let signature = signed(&kit, br#"{"action":"created"}"#);
    let answer = kit.send(hook(&kit, &signature).body(r#"{"action":"Created"}"#)).await;
    answer.expect_error(401, "invalid_signature");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_signed_body_is_a_bad_request() {
    let kit = Plan::silent().start().await;
    for body in ["not JSON", "", "[]", "\"text\"", "{\"action\":", "{\"action\":\"created\"}"] {
        let delivery = kit.github.deliver_raw("issue_comment", body, Signature::Valid, None).await.unwrap();
        assert_eq!(
            (delivery.status, &delivery.answer["error"]),
            (Some(400), &json!("invalid_payload")),
            "{body}"
        );
    }
    for (event, body) in [("ping", "not JSON"), ("star", "not JSON"), ("", "{}")] {
        let delivery = kit.github.deliver_raw(event, body, Signature::Valid, None).await.unwrap();
        assert_eq!(delivery.status, Some(400), "{event:?} {body:?}: {}", delivery.answer);
    }
    let without_guid = kit
        .request(Method::POST, HOOK)
        .header("x-github-event", "issue_comment")
        .header("x-hub-signature-256", signed(&kit, b"{}"));
    kit.send(without_guid.body("{}")).await.expect_error(400, "invalid_request");
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_events_are_ignored() {
    let kit = Plan::silent().start().await;
    let delivery = kit.github.deliver_raw("star", "{}", Signature::Valid, None).await.unwrap();
    let seen = (delivery.status, delivery.answer);
    assert_eq!(seen, (Some(202), json!({ "status": "ignored", "reason": "unsupported_event" })));
    let issue = kit.issue().await;
    let delivery = kit.say(issue, ADA, "Nobody is spoken to.").await;
    let seen = (delivery.status, delivery.answer);
    assert_eq!(seen, (Some(202), json!({ "status": "ignored", "reason": "no_mention" })));
    kit.close().await;
}

/// Sends a body of `size` bytes with or without a `Content-Length` header, and expects a response.
async fn send_large(kit: &Testkit, signature: Option<&str>, size: usize, announced: bool) -> Answer {
    let body = if announced { Body::from(vec![b' '; size]) } else { chunked(size) };
    let mut request = kit.request(Method::POST, HOOK).header("x-github-event", "issue_comment").body(body);
    if let Some(signature) = signature {
        request = request.header("x-hub-signature-256", signature);
    }
    kit.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_25_megabytes_is_refused_with_a_response() {
    let kit = Plan::silent().start().await;
    for announced in [true, false] {
        for size in [26 * MEGABYTE, 60 * MEGABYTE] {
            let answer = send_large(&kit, Some("sha256=00"), size, announced).await;
            answer.expect_error(413, "payload_too_large");
        }
        let answer = send_large(&kit, None, 26 * MEGABYTE, announced).await;
        answer.expect_error(401, "invalid_signature");
    }
    kit.close().await;
}

/// Covers clients that send the whole body before they read: they receive no response on a connection that was reset.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_reads_after_sending_receives_the_413() {
    let kit = Plan::silent().start().await;
    for head in ["Transfer-Encoding: chunked", &format!("Content-Length: {}", 40 * MEGABYTE)] {
        let address = kit.url.trim_start_matches("http://").to_owned();
        let mut wire = TcpStream::connect(&address).await.unwrap();
        let is_chunked = head.starts_with("Transfer");
        let request = format!(
            "POST {HOOK} HTTP/1.1\r\nHost: {address}\r\nX-Hub-Signature-256: sha256=00\r\n{head}\r\n\r\n"
        );
        wire.write_all(request.as_bytes()).await.unwrap();
        for _ in 0..40 {
            if is_chunked {
                wire.write_all(b"100000\r\n").await.expect("the connection stays open");
            }
            wire.write_all(&vec![b' '; MEGABYTE]).await.expect("the connection stays open");
            if is_chunked {
                wire.write_all(b"\r\n").await.expect("the connection stays open");
            }
        }
        if is_chunked {
            wire.write_all(b"0\r\n\r\n").await.expect("the connection stays open");
        }
        let mut line = [0; 12];
        wire.read_exact(&mut line).await.expect("an answer");
        assert_eq!(std::str::from_utf8(&line), Ok("HTTP/1.1 413"), "with {head}");
    }
    kit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_exactly_25_megabytes_is_accepted() {
    let kit = Plan::silent().start().await;
    let mut body = br#"{"zen":""#.to_vec();
    body.resize(25 * MEGABYTE - 2, b'z');
    body.extend(b"\"}");
    let request = kit
        .request(Method::POST, HOOK)
        .header("x-github-event", "ping")
        .header("x-hub-signature-256", signed(&kit, &body));
    kit.send(request.body(body)).await.expect(200);
    kit.close().await;
}
