//! A strict model of Fly's Machines API, as an HTTP server on loopback.
//!
//! Strict: every request is held against Fly's own description (`tests/fixtures/fly/machines-openapi.json`):
//! an unknown path, query parameter or field, or a value of the wrong type, is answered with 400 and kept in
//! [`FakeFly::violations`]. Tokens, app names and machine names are checked the way Fly does.
//!
//! Tests read the world ([`FakeFly::machines`], [`FakeFly::requests`]), change it ([`FakeFly::exited`]) and
//! break it ([`FakeFly::next`], [`FakeFly::storm`]). [`FakeFly::on`] tells a test what happens to machines,
//! so that it can run a real worker with the environment of one.

#![allow(dead_code, reason = "each test binary uses its own part")]

mod faults;
mod schema;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::Url;

use faults::Faults;
pub use faults::{Call, Fault};
use state::{Answer, Apps};
pub use state::{Happening, Machine};

/// One request, as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, …
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// Names and values, decoded.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The JSON body; null when there was none.
    pub body: Value,
}

type Hook = Arc<dyn Fn(Happening) + Send + Sync>;

#[derive(Default)]
struct Shared {
    state: Apps,
    faults: Faults,
    requests: Vec<Recorded>,
    violations: Vec<String>,
    hook: Option<Hook>,
}

/// The server. Clones speak to the same one; it ends with the last of them.
#[derive(Clone)]
pub struct FakeFly {
    url: Url,
    shared: Arc<Mutex<Shared>>,
    _server: Arc<Server>,
}

struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FakeFly {
    /// A Fly without any app.
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let url = Url::parse(&url).expect("a URL");
        Self { url, shared, _server: Arc::new(Server(server.abort_handle())) }
    }

    /// What `FLY_API_BASE_URL` is to be.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Adds an app that `token` may manage. The token is good for the apps it was added with.
    pub fn add_app(&self, name: &str, org: &str, token: &str) {
        self.lock().state.add_app(name, org, token);
    }

    /// A token that Fly knows but that may manage none of the apps.
    pub fn add_token(&self, org: &str, token: &str) {
        self.lock().state.add_token(org, token);
    }

    /// The next `times` calls of this kind meet `fault`.
    pub fn next(&self, times: usize, call: Call, fault: Fault) {
        self.lock().faults.next(times, call, fault);
    }

    /// From now on, `percent` of all calls meet one of `faults`; the same `seed` gives the same weather.
    pub fn chaos_run(&self, seed: u64, percent: u64, faults: &[Fault]) {
        self.lock().faults.chaos_run(seed, percent, faults);
    }

    /// Machine names need not be unique any more (Fly does not document that they must).
    pub fn allow_equal_names(&self) {
        self.lock().state.equal_names = true;
    }

    /// A new machine is left out of the next `lists` lists.
    pub fn lag(&self, lists: usize) {
        self.lock().state.lag = lists;
    }

    /// Destroyed machines are still shown, as `destroyed`.
    pub fn remember_destroyed(&self) {
        self.lock().state.remember_destroyed = true;
    }

    /// Makes a machine without the API, as a person with `fly machine run` would.
    pub fn make_machine(&self, app: &str, name: &str) -> String {
        self.lock().state.make(app, &json!({"name": name, "config": {"image": "busybox"}}))
    }

    /// Calls `hook` for everything that happens to a machine. With a hook, a machine that is stopped goes on
    /// until [`FakeFly::exited`]; without one, it ends at once.
    pub fn on(&self, hook: impl Fn(Happening) + Send + Sync + 'static) {
        let mut shared = self.lock();
        shared.state.stops_at_once = false;
        shared.hook = Some(Arc::new(hook));
    }

    /// The machine's program has ended: it is destroyed if it was made with `auto_destroy`, else stopped.
    pub fn exited(&self, id: &str) {
        self.lock().state.exited(id);
    }

    /// Puts a machine into this state.
    pub fn set_state(&self, id: &str, state: &str) {
        self.lock().state.set_state(id, state);
    }

    /// The machines of all apps, oldest first, destroyed ones included.
    pub fn machines(&self) -> Vec<Machine> {
        self.lock().state.machines.clone()
    }

    /// The machines that were not destroyed, oldest first.
    pub fn living(&self) -> Vec<Machine> {
        self.machines().into_iter().filter(|machine| machine.state != "destroyed").collect()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    /// How many requests of this kind came.
    pub fn count(&self, call: Call) -> usize {
        self.requests()
            .iter()
            .filter(|request| Call::of(&request.method, &request.path) == Some(call))
            .count()
    }

    /// What was asked against Fly's description; a test should end with none.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no test panicked with the lock")
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 16 * 1024 * 1024).await.expect("a whole body");
    let mut recorded = Recorded {
        query: url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect(),
        authorization: text(&parts.headers, header::AUTHORIZATION),
        body: Value::Null,
        path: parts.uri.path().to_owned(),
        method: parts.method,
    };
    let content_type = text(&parts.headers, header::CONTENT_TYPE);
    let mut problems = Vec::new();
    if !bytes.is_empty() {
        if content_type.as_deref() != Some("application/json") {
            problems.push(format!("a body of type {content_type:?}"));
        }
        match serde_json::from_slice(&bytes) {
            Ok(body) => recorded.body = body,
            Err(error) => problems.push(format!("a body that is not JSON: {error}")),
        }
    }
    problems.extend(schema::problems(&recorded));

    let (answer, happenings, fault, hook) = {
        let mut shared = shared.lock().expect("no test panicked with the lock");
        let fault = shared.faults.draw(&recorded);
        shared.requests.push(recorded.clone());
        let place = format!("{} {}", recorded.method, recorded.path);
        shared.violations.extend(problems.iter().map(|problem| format!("{place}: {problem}")));
        let answer = match &fault {
            Some(fault) if !fault.after_effect() => fault.answer(),
            _ if !problems.is_empty() => Some(Answer::error(StatusCode::BAD_REQUEST, &problems.join("; "))),
            _ => Some(shared.state.handle(&recorded)),
        };
        let happenings = std::mem::take(&mut shared.state.happenings);
        (answer, happenings, fault, shared.hook.clone())
    };
    if let Some(hook) = hook {
        happenings.into_iter().for_each(|happening| hook(happening));
    }
    if fault == Some(Fault::SilenceAfterEffect) {
        std::future::pending::<()>().await;
    }
    let answer = match fault {
        Some(fault) if fault.after_effect() => fault.answer(),
        _ => answer,
    };
    match answer {
        Some(answer) => answer.into_response(),
        // Ends the connection's task without a word: the caller sees it closed.
        None => std::panic::resume_unwind(Box::new("the connection is cut")),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
