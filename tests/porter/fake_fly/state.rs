//! The apps, tokens and machines of the fake, and the effects of each request.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::Recorded;

/// A machine, with its requested configuration and its current state.
#[derive(Clone, Debug)]
pub struct Machine {
    pub id: String,
    pub app: String,
    pub name: String,
    pub region: String,
    /// `created`, `started`, `stopping`, `stopped`, `destroyed`, …
    pub state: String,
    /// The `config` of the request.
    pub config: Value,
    hidden: usize,
}

impl Machine {
    /// Returns the environment of the machine's program.
    pub fn env(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.config["env"].clone()).unwrap_or_default()
    }

    /// Returns the machine's files: path and content.
    pub fn files(&self) -> BTreeMap<String, String> {
        let file = |file: &Value| {
            let content = BASE64.decode(file["raw_value"].as_str()?).ok()?;
            Some((file["guest_path"].as_str()?.to_owned(), String::from_utf8(content).ok()?))
        };
        self.config["files"].as_array().into_iter().flatten().filter_map(file).collect()
    }

    fn answer(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "state": self.state, "region": self.region,
            "instance_id": format!("01{}", self.id), "private_ip": "fdaa::3", "host_status": "ok",
            "config": self.config, "events": [], "created_at": "2026-11-21T09:00:00Z",
        })
    }
}

/// An event of a machine.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The machine was created and runs.
    Created(Machine),
    /// This signal was sent to the machine's program.
    Signalled { id: String, signal: String },
    /// The machine was destroyed by force.
    Destroyed { id: String },
}

pub(super) struct Apps {
    /// Each app's name and organization.
    apps: BTreeMap<String, String>,
    /// Each token, its organization, and the apps that it may manage.
    tokens: BTreeMap<String, (String, Vec<String>)>,
    pub machines: Vec<Machine>,
    pub happenings: Vec<Happening>,
    pub equal_names: bool,
    pub remember_destroyed: bool,
    pub stops_at_once: bool,
    pub lag: usize,
}

impl Default for Apps {
    fn default() -> Self {
        Self {
            apps: BTreeMap::new(),
            tokens: BTreeMap::new(),
            machines: Vec::new(),
            happenings: Vec::new(),
            equal_names: false,
            remember_destroyed: false,
            stops_at_once: true,
            lag: 0,
        }
    }
}

/// The response to a request.
pub(super) struct Answer {
    status: StatusCode,
    retry_after: Option<u64>,
    body: Value,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, retry_after: None, body }
    }

    pub(super) fn error(status: StatusCode, words: &str) -> Self {
        Self::error_of(status, "unknown", words)
    }

    pub(super) fn error_of(status: StatusCode, kind: &str, words: &str) -> Self {
        Self { status, retry_after: None, body: json!({"error": words, "status": kind}) }
    }

    pub(super) fn rate_limited(seconds: u64) -> Self {
        let answer = Self::error(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded");
        Self { retry_after: Some(seconds), ..answer }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::builder()
            .status(self.status)
            .header(header::CONTENT_TYPE, "application/json")
            .header("fly-request-id", "01FAKE");
        if let Some(seconds) = self.retry_after {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        response.body(Body::from(self.body.to_string())).expect("a response")
    }
}

impl Apps {
    pub(super) fn add_app(&mut self, name: &str, org: &str, token: &str) {
        self.apps.insert(name.to_owned(), org.to_owned());
        self.add_token(org, token);
        self.tokens.entry(token.to_owned()).or_default().1.push(name.to_owned());
    }

    pub(super) fn add_token(&mut self, org: &str, token: &str) {
        self.tokens.entry(token.to_owned()).or_insert_with(|| (org.to_owned(), Vec::new()));
    }

    pub(super) fn make(&mut self, app: &str, body: &Value) -> String {
        // Fly's ids have 14 hexadecimal digits.
        let id = format!("{:014x}", 0x9080_5c00_0000_u64 + self.machines.len() as u64);
        let machine = Machine {
            name: body["name"].as_str().map_or_else(|| format!("quiet-{id}"), str::to_owned),
            region: body["region"].as_str().unwrap_or("fra").to_owned(),
            id: id.clone(),
            app: app.to_owned(),
            state: "started".to_owned(),
            config: body["config"].clone(),
            hidden: self.lag,
        };
        self.happenings.push(Happening::Created(machine.clone()));
        self.machines.push(machine);
        id
    }

    pub(super) fn exited(&mut self, id: &str) {
        if let Some(machine) = self.machines.iter_mut().find(|machine| machine.id == id) {
            let auto_destroy = machine.config["auto_destroy"] == true;
            machine.state = if auto_destroy { "destroyed" } else { "stopped" }.to_owned();
        }
    }

    pub(super) fn set_state(&mut self, id: &str, state: &str) {
        let machine = self.machines.iter_mut().find(|machine| machine.id == id).expect("a machine");
        state.clone_into(&mut machine.state);
    }

    pub(super) fn handle(&mut self, request: &Recorded) -> Answer {
        let Some(token) = request.authorization.as_deref().and_then(token) else {
            return Answer::error(StatusCode::UNAUTHORIZED, "no or malformed authorization");
        };
        let Some((org, apps)) = self.tokens.get(token).cloned() else {
            return Answer::error(StatusCode::UNAUTHORIZED, "unauthorized");
        };
        let segments: Vec<&str> = request.path.split('/').skip(2).collect();
        if segments == ["tokens", "current"] {
            return Answer::ok(json!({"tokens": [{"org_slug": org, "apps": apps, "token_id": "t1"}]}));
        }
        if segments == ["apps"] {
            return self.create_app(&request.body, token);
        }
        let Some(app) = segments.get(1).copied().filter(|app| self.apps.contains_key(*app)) else {
            return Answer::error(StatusCode::NOT_FOUND, "app not found");
        };
        if !apps.iter().any(|allowed| allowed == app) {
            return Answer::error(StatusCode::FORBIDDEN, "forbidden");
        }
        match (request.method.as_str(), &segments[2..]) {
            ("GET", []) => Answer::ok(
                json!({"name": app, "id": app, "organization": {"slug": self.apps[app], "name": org}}),
            ),
            ("POST", ["machines"]) => self.create(app, &request.body),
            ("GET", ["machines"]) => self.list(app, &request.query),
            (method, ["machines", id, rest @ ..]) => {
                let shown = self.remember_destroyed;
                let Some(place) = self.machines.iter().position(|machine| {
                    machine.app == app && machine.id == *id && (shown || machine.state != "destroyed")
                }) else {
                    return Answer::error(StatusCode::NOT_FOUND, "machine not found");
                };
                match (method, rest) {
                    ("GET", []) => Answer::ok(self.machines[place].answer()),
                    ("POST", ["stop"]) => self.stop(place, &request.body),
                    ("DELETE", []) => self.destroy(place, &request.query),
                    _ => Answer::error(StatusCode::NOT_FOUND, "the fake does not model this"),
                }
            }
            _ => Answer::error(StatusCode::NOT_FOUND, "the fake does not model this"),
        }
    }

    fn create_app(&mut self, body: &Value, token: &str) -> Answer {
        let (Some(name), Some(org)) = (body["name"].as_str(), body["org_slug"].as_str()) else {
            return Answer::error(StatusCode::BAD_REQUEST, "name and org_slug are required");
        };
        if self.apps.contains_key(name) {
            let words = "Validation failed: Name has already been taken";
            return Answer::error_of(StatusCode::UNPROCESSABLE_ENTITY, "name_taken", words);
        }
        self.add_app(name, org, token);
        Answer { status: StatusCode::CREATED, ..Answer::ok(json!({"id": name, "created_at": 1_795_252_800})) }
    }

    fn create(&mut self, app: &str, body: &Value) -> Answer {
        if let Some(problem) = unusable(body) {
            return Answer::error(StatusCode::UNPROCESSABLE_ENTITY, &problem);
        }
        let taken = self.machines.iter().any(|machine| {
            machine.app == app && machine.state != "destroyed" && body["name"] == *machine.name
        });
        if taken && !self.equal_names {
            let words = format!("already_exists: unique machine name violation, {} exists", body["name"]);
            return Answer::error_of(StatusCode::CONFLICT, "name_taken", &words);
        }
        let id = self.make(app, body);
        let mut answer = self.machines.last().map(Machine::answer).unwrap_or_default();
        assert_eq!(answer["id"], *id);
        answer["state"] = json!("created");
        Answer::ok(answer)
    }

    fn list(&mut self, app: &str, query: &[(String, String)]) -> Answer {
        let mut list = Vec::new();
        for machine in self.machines.iter_mut().filter(|machine| machine.app == app) {
            if machine.hidden > 0 {
                machine.hidden -= 1;
                continue;
            }
            let fits = query.iter().all(|(name, value)| {
                name.strip_prefix("metadata.").is_none_or(|key| machine.config["metadata"][key] == **value)
            });
            if fits && (self.remember_destroyed || machine.state != "destroyed") {
                list.push(machine.answer());
            }
        }
        Answer::ok(if list.is_empty() { Value::Null } else { list.into() })
    }

    fn stop(&mut self, place: usize, body: &Value) -> Answer {
        let machine = &mut self.machines[place];
        if machine.state == "destroyed" {
            let words = "failed_precondition: unable to stop machine from current state: 'destroyed'";
            return Answer::error(StatusCode::BAD_REQUEST, words);
        }
        let signal = body["signal"].as_str().unwrap_or("SIGINT").to_owned();
        let id = machine.id.clone();
        "stopping".clone_into(&mut machine.state);
        self.happenings.push(Happening::Signalled { id: id.clone(), signal });
        if self.stops_at_once {
            self.exited(&id);
        }
        Answer::ok(json!({"ok": true}))
    }

    fn destroy(&mut self, place: usize, query: &[(String, String)]) -> Answer {
        let machine = &mut self.machines[place];
        let force = query.iter().any(|(name, value)| name == "force" && value == "true");
        if machine.state == "destroyed" || (machine.state != "stopped" && !force) {
            let words = format!("failed_precondition: unable to destroy machine, it is {}", machine.state);
            return Answer::error(StatusCode::PRECONDITION_FAILED, &words);
        }
        "destroyed".clone_into(&mut machine.state);
        self.happenings.push(Happening::Destroyed { id: machine.id.clone() });
        Answer::ok(json!({"ok": true}))
    }
}

/// Returns the token, if it was sent with the scheme for its type.
fn token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let macaroon = token.starts_with("fm1r_") || token.starts_with("fm2_");
    (scheme == if macaroon { "FlyV1" } else { "Bearer" }).then_some(token)
}

/// Returns the reason why Fly would reject this configuration. The rules come from Fly's documentation, because
/// its API description does not contain them.
fn unusable(body: &Value) -> Option<String> {
    let (name, config) = (body["name"].as_str().unwrap_or("quiet"), &body["config"]);
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(label)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        return Some(format!("invalid machine name {name}"));
    }
    if config["image"].as_str().is_none_or(|image| image.is_empty() || image.contains(char::is_whitespace)) {
        return Some("config.image is missing or malformed".to_owned());
    }
    let (cpus, memory) =
        (config["guest"]["cpus"].as_u64().unwrap_or(1), config["guest"]["memory_mb"].as_u64());
    if !matches!(cpus, 1 | 2 | 4 | 8) || memory.is_some_and(|memory| memory == 0 || memory % 256 != 0) {
        return Some(format!("invalid guest {}", config["guest"]));
    }
    for file in config["files"].as_array().into_iter().flatten() {
        let absolute = file["guest_path"].as_str().is_some_and(|path| path.starts_with('/'));
        let content = file["raw_value"].as_str().is_some_and(|text| BASE64.decode(text).is_ok());
        if !absolute || !content {
            return Some(format!("invalid file {}", file["guest_path"]));
        }
    }
    None
}
