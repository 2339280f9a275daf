//! A strict model of Fly's Machines API, as an HTTP server on loopback.
//!
//! Every request is validated against Fly's own description (`tests/fixtures/fly/machines-openapi.json`): an
//! unknown path, query parameter or field, or a value of the wrong type, causes a 400 response and is recorded
//! in [`FakeFly::violations`]. Tokens, app names and machine names are checked as Fly checks them.
//!
//! Tests inspect the model ([`FakeFly::machines`], [`FakeFly::requests`]), change its state ([`FakeFly::exited`]) and
//! cause failures ([`FakeFly::next`], [`FakeFly::chaos_run`]). [`FakeFly::on`] reports the events of machines,
//! so that a test can run a real worker with the environment of a machine.

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

/// A received request.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, …
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query's decoded names and values.
    pub query: Vec<(String, String)>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The JSON body; null when the body was empty.
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

/// The server. Clones share it, and it stops when the last one is dropped.
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
    /// Starts a model without apps.
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let url = Url::parse(&url).expect("a URL");
        Self { url, shared, _server: Arc::new(Server(server.abort_handle())) }
    }

    /// Returns the value for `FLY_API_BASE_URL`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Adds an app that `token` may manage. A token may manage the apps with which it was added.
    pub fn add_app(&self, name: &str, org: &str, token: &str) {
        self.lock().state.add_app(name, org, token);
    }

    /// Adds a valid token that may manage none of the apps.
    pub fn add_token(&self, org: &str, token: &str) {
        self.lock().state.add_token(org, token);
    }

    /// Makes the next `times` requests of this kind fail with `fault`.
    pub fn next(&self, times: usize, call: Call, fault: Fault) {
        self.lock().faults.next(times, call, fault);
    }

    /// Makes `percent` of all later requests fail with one of `faults`. The same `seed` causes the same sequence
    /// of failures.
    pub fn chaos_run(&self, seed: u64, percent: u64, faults: &[Fault]) {
        self.lock().faults.chaos_run(seed, percent, faults);
    }

    /// Permits equal machine names, because Fly does not document that names are unique.
    pub fn allow_equal_names(&self) {
        self.lock().state.equal_names = true;
    }

    /// Omits a new machine from the next `lists` lists.
    pub fn lag(&self, lists: usize) {
        self.lock().state.lag = lists;
    }

    /// Keeps destroyed machines visible, in the state `destroyed`.
    pub fn remember_destroyed(&self) {
        self.lock().state.remember_destroyed = true;
    }

    /// Creates a machine without the API, as a person with `fly machine run` would.
    pub fn make_machine(&self, app: &str, name: &str) -> String {
        self.lock().state.make(app, &json!({"name": name, "config": {"image": "busybox"}}))
    }

    /// Calls `hook` for every event of a machine. With a hook, a stopped machine runs until [`FakeFly::exited`]
    /// is called; without one, it ends immediately.
    pub fn on(&self, hook: impl Fn(Happening) + Send + Sync + 'static) {
        let mut shared = self.lock();
        shared.state.stops_at_once = false;
        shared.hook = Some(Arc::new(hook));
    }

    /// Ends the machine's program. The machine is destroyed if it was created with `auto_destroy`, otherwise
    /// stopped.
    pub fn exited(&self, id: &str) {
        self.lock().state.exited(id);
    }

    /// Sets the state of a machine.
    pub fn set_state(&self, id: &str, state: &str) {
        self.lock().state.set_state(id, state);
    }

    /// Returns the machines of all apps, oldest first, including destroyed ones.
    pub fn machines(&self) -> Vec<Machine> {
        self.lock().state.machines.clone()
    }

    /// Returns the machines that were not destroyed, oldest first.
    pub fn living(&self) -> Vec<Machine> {
        self.machines().into_iter().filter(|machine| machine.state != "destroyed").collect()
    }

    /// Returns every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    /// Returns the number of requests of this kind.
    pub fn count(&self, call: Call) -> usize {
        self.requests()
            .iter()
            .filter(|request| Call::of(&request.method, &request.path) == Some(call))
            .count()
    }

    /// Returns the violations of Fly's description; the list should be empty at the end of a test.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("the lock is not poisoned")
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 16 * 1024 * 1024).await.expect("a complete body");
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
        let mut shared = shared.lock().expect("the lock is not poisoned");
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
        // Ends the connection's task silently, so that the client sees a closed connection.
        None => std::panic::resume_unwind(Box::new("the connection is cut")),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
