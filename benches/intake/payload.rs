//! The deliveries: one recorded `issue_comment` payload whose ids are replaced in place for every delivery, with a
//! new signature.

use std::cell::Cell;
use std::ops::Range;

use anyhow::ensure;
use domain::clock::Clock;
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

/// The webhook secret.
pub const SECRET: &str = "the bench's webhook secret";
/// The number of people, all signed in, and the id of the first.
pub const PEOPLE: u64 = 100;
pub const FIRST_PERSON: u64 = 8_200_000;
const REPOSITORIES: u64 = 200;
const INSTALLATIONS: u64 = 20;

/// Returns the login of a person.
pub fn login(person: u64) -> String {
    format!("person-{person}")
}

/// The kind of comments that are sent.
#[derive(Clone, Copy)]
pub enum Profile {
    /// Comments that create a task.
    Mention,
    /// Comments without a mention.
    Chatter,
}

/// The ids in the recorded payload that every delivery replaces; they have as many digits as their replacements.
const COMMENT: &str = "8100000000";
const PERSON: &str = "8200000";
const OWNER: &str = "8300000";
const REPOSITORY: &str = "840000000";
const INSTALLATION: &str = "8500000";
const ISSUE: &str = "810001";

/// One profile's deliveries.
pub struct Payload {
    /// Head and body of the recorded request, from which every delivery is copied.
    request: Vec<u8>,
    guid: Range<usize>,
    signature: Range<usize>,
    body: usize,
    places: [Vec<Range<usize>>; 6],
    secret: SecretString,
    first_comment: u64,
    sent: Cell<u64>,
}

impl Payload {
    pub fn new(profile: Profile) -> anyhow::Result<Self> {
        let mut payload: Value = serde_json::from_str(include_str!("issue_comment.json"))?;
        let first_comment = match profile {
            Profile::Mention => 1_000_000_000,
            Profile::Chatter => 5_000_000_000,
        };
        if let Profile::Chatter = profile {
            let text = payload["comment"]["body"].as_str().unwrap_or_default();
            payload["comment"]["body"] = text.replace("@porter mock please", "Thanks @porter, please").into();
        }
        let body = payload.to_string();
        let (guid, signature) = ("0".repeat(36), "0".repeat(64));
        let head = format!(
            "POST /api/webhooks/github HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: GitHub-Hookshot/044aadd\r\n\
             Accept: */*\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             X-GitHub-Hook-ID: 470000001\r\nX-GitHub-Event: issue_comment\r\n\
             X-GitHub-Hook-Installation-Target-Type: integration\r\n\
             X-GitHub-Delivery: {guid}\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n",
            body.len()
        );
        let request = head.clone() + &body;
        let places = [COMMENT, PERSON, OWNER, REPOSITORY, INSTALLATION, ISSUE].map(|number| {
            let found = body.match_indices(number);
            found.map(|(at, _)| head.len() + at..head.len() + at + number.len()).collect::<Vec<_>>()
        });
        ensure!(places.iter().all(|found| !found.is_empty()), "the recorded payload lacks a number");
        let place = |text: &str| {
            let at = head.find(text).unwrap_or_default();
            at..at + text.len()
        };
        Ok(Self {
            guid: place(&guid),
            signature: place(&signature),
            body: head.len(),
            request: request.into_bytes(),
            places,
            secret: SecretString::from(SECRET),
            first_comment,
            sent: Cell::new(0),
        })
    }

    /// Returns the size of the body in bytes.
    pub fn size(&self) -> usize {
        self.request.len() - self.body
    }

    /// Writes the next delivery into `request` as an HTTP request.
    pub fn next(&self, request: &mut Vec<u8>) {
        let n = self.sent.replace(self.sent.get() + 1);
        let repository = n % REPOSITORIES;
        let installation = repository % INSTALLATIONS;
        let numbers = [
            self.first_comment + n,
            FIRST_PERSON + n % PEOPLE,
            8_300_000 + installation,
            840_000_000 + repository,
            8_500_000 + installation,
            100_000 + n / REPOSITORIES,
        ];
        request.clone_from(&self.request);
        for (number, places) in numbers.into_iter().zip(&self.places) {
            let digits = number.to_string();
            for place in places {
                request[place.clone()].copy_from_slice(digits.as_bytes());
            }
        }
        time_based_guid(n).hyphenated().encode_lower(&mut request[self.guid.clone()]);
        let signature = crypto::webhook::sign(&self.secret, &request[self.body..]);
        request[self.signature.clone()].copy_from_slice(&signature.as_bytes()["sha256=".len()..]);
    }
}

/// Creates a time-based UUID (version 1), which GitHub uses for deliveries according to the examples in its
/// documentation (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers>). Ids of the
/// same minute are close together in an index.
fn time_based_guid(n: u64) -> Uuid {
    let since_1970 = Clock::system().now().timestamp_micros() as u64 * 10;
    // Counted from 1582 in units of 100 ns; ids within one unit differ in their clock sequence.
    let ticks = since_1970 + 0x01B2_1DD2_1381_4000;
    let sequence = (n as u16).to_be_bytes();
    Uuid::from_fields(
        ticks as u32,
        (ticks >> 32) as u16,
        (ticks >> 48) as u16 & 0x0FFF | 0x1000,
        &[sequence[0] & 0x3F | 0x80, sequence[1], 0x4C, 0x93, 0x67, 0xDC, 0x09, 0x58],
    )
}
