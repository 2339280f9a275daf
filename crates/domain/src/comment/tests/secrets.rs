//! Tests that no published text contains a secret of an attempt, whatever the agent's output.

use proptest::prelude::*;
use pulldown_cmark::{Event, Parser};

use super::pull_requests::PULL;
use super::*;
use crate::redact::Redactor;
use crate::text::visible;

const SECRET: &str = "ghs_12345_eyJhbGciOi+JIUzI1NiJ9/x.y==";

/// Returns the text that a browser displays for this Markdown, without hidden parts.
fn rendered(markdown: &str) -> String {
    let mut shown = String::new();
    for event in Parser::new(markdown) {
        match event {
            Event::Text(text) | Event::Code(text) | Event::InlineHtml(text) | Event::Html(text) => {
                shown.push_str(&text);
            }
            Event::SoftBreak | Event::HardBreak | Event::End(_) => shown.push('\n'),
            _ => {}
        }
    }
    visible(&shown)
}

proptest! {
    /// Follows an agent's text: the worker cleans and shortens it; the server cleans it again, writes the
    /// Markdown, and redacts the result.
    #[test]
    fn no_published_text_contains_a_secret(
        pieces in proptest::collection::vec(
            r"(\x{200b}|\x{7}|\x{1b}\[0m|\x{1b}|\\|\*\*|`|_|<!--|-->|&#8203;|&shy;|\n|> | |\[|\]\(x\)|\p{Cf}|\p{Cc}|\PC)?",
            SECRET.len(),
        ),
        entity in any::<bool>(),
        before in r"(<!--|`{1,3}|\n|\PC){0,10}",
        cut in 0..200_usize,
    ) {
        let redactor = Redactor::new([SECRET]);
        let mut text = before;
        for (c, piece) in SECRET.chars().zip(&pieces) {
            if entity { text.push_str(&format!("&#{};", u32::from(c))) } else { text.push(c) }
            text.push_str(piece);
        }
        let reported = redactor.clean(&text);
        let stored = redactor.clean(&reported[..reported.floor_char_boundary(cut.max(60))]);
        let task = with_attempt(failed(FailureStage::Agent, &stored), |attempt| Attempt {
            summary: Some(stored.clone()),
            activity: Some(stored.clone()),
            ..attempt
        });
        for body in [shown(&task), pull_body(&task, &PULL)] {
            let emitted = redactor.redact(&body);
            for seen in [emitted.clone(), visible(&emitted), rendered(&emitted)] {
                prop_assert!(!seen.contains(SECRET), "the secret is contained in {:?}", emitted);
            }
        }
    }
}
