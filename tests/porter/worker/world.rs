//! The world around a worker: repository, callback server, agents.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{post, put};
use base64::Engine as _;
use domain::agent::Registry;
use domain::report::{Completion, Progress};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

pub const GITHUB_TOKEN: &str = "ghs_4242_eyJhbGciOiJSUzI1NiJ9.the-token-of-this-test.c2ln";
pub const CALLBACK_TOKEN: &str = "c0ffee0123456789c0ffee0123456789";
pub const API_KEY: &str = "sk-ant-the-key-of-this-test";
pub const BRANCH: &str = "porter/task_1";

/// What the claude command prints at the end of a good run.
pub const GOOD_END: &str = r#"echo '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"All done.","total_cost_usd":0.5,"usage":{"input_tokens":10,"output_tokens":4}}'"#;

pub struct World {
    pub folder: tempfile::TempDir,
    pub server: Arc<Server>,
    url: String,
}

#[derive(Default)]
pub struct Server {
    repositories: PathBuf,
    pub progress: Mutex<Vec<(Instant, Progress)>>,
    pub completions: Mutex<Vec<Completion>>,
    pub cancel: Mutex<bool>,
    /// What the next final reports are answered with, before 200.
    pub answers: Mutex<VecDeque<u16>>,
    /// What git's next requests are answered with, and how many of them.
    pub git_answer: Mutex<Option<(u16, usize)>>,
    /// The bundles that came: the query and the content.
    pub bundles: Mutex<Vec<(String, Vec<u8>)>>,
}

/// As whom the agent runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    SameUser,
    /// Only root can.
    Nobody,
}

impl Mode {
    pub fn available() -> Vec<Self> {
        if nix::unistd::Uid::effective().is_root() {
            vec![Self::SameUser, Self::Nobody]
        } else {
            vec![Self::SameUser]
        }
    }
}

impl World {
    /// A repository `octo/hello` with a README on `main`.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let repositories = folder.path().join("repositories");
        let seed = folder.path().join("seed");
        for path in [&repositories, &seed, &folder.path().join("bin"), &folder.path().join("open")] {
            std::fs::create_dir(path).unwrap();
        }
        // Where agents may write: marks that something ran, or signs for the test.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path().join("open"), open).unwrap();
        let server = Arc::new(Server { repositories: repositories.clone(), ..Server::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/progress", post(progress))
            .route("/complete", post(complete))
            .route("/bundle", put(bundle))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .fallback(git_http_backend)
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let world = Self { folder, server, url };
        let bare = world.bare();
        world.git(&seed, &["init", "--quiet", "--bare", "--initial-branch=main", bare.to_str().unwrap()]);
        world.git(&bare, &["config", "http.receivepack", "true"]);
        world.git(&seed, &["init", "--quiet", "--initial-branch=main"]);
        for (name, text) in [("README.md", "# Hello\n"), (".gitignore", "*.log\n"), ("src/lib.txt", "code\n")]
        {
            std::fs::create_dir_all(seed.join(name).parent().unwrap()).unwrap();
            std::fs::write(seed.join(name), text).unwrap();
        }
        world.git(&seed, &["add", "-A"]);
        world.git(&seed, &["commit", "--quiet", "-m", "First"]);
        world.git(&seed, &["commit", "--quiet", "--allow-empty", "-m", "Second"]);
        world.git(&seed, &["push", "--quiet", bare.to_str().unwrap(), "main"]);
        world
    }

    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("repositories/octo/hello.git")
    }

    /// Where a worker can leave a bundle.
    pub fn bundle_url(&self) -> String {
        format!("{}/bundle", self.url)
    }

    /// Installs `script` as the hook that looks at every push.
    pub fn hook(&self, script: &str) {
        let hooks = self.bare().join("hooks");
        std::fs::create_dir_all(&hooks).unwrap();
        let path = hooks.join("pre-receive");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A folder that every user may write to.
    pub fn open(&self) -> PathBuf {
        self.folder.path().join("open")
    }

    /// Installs a `claude` that is this shell script.
    pub fn claude(&self, script: &str) {
        self.agent("claude", script);
    }

    /// Installs an agent's command that is this shell script.
    pub fn agent(&self, command: &str, script: &str) {
        let path = self.folder.path().join("bin").join(command);
        let open = self.open().display().to_string();
        std::fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("$OPEN", &open))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The worker for an agent, ready to run. One that the registry does not have gets another's specification.
    pub fn worker(&self, mode: Mode, agent: &str, prompt: &str) -> Command {
        let agents = Registry::shipped().unwrap();
        let known = agents.find(agent).unwrap_or(&agents.agents()[0]);
        let path = format!(
            "{}:{}",
            self.folder.path().join("bin").display(),
            porter::config::variable("PATH").unwrap()
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_porter"));
        command
            .arg("worker")
            .env_clear()
            .env("PATH", path)
            .env("LANG", "C.UTF-8")
            .env("PORTER_WORKSPACE", self.folder.path().join("workspace"))
            .env("TASK_ID", "task_1")
            .env("REPO_FULL_NAME", "octo/hello")
            .env("REPO_URL", format!("{}/octo/hello.git", self.url))
            .env("ISSUE_NUMBER", "7")
            .env("AGENT", agent)
            .env("AGENT_SPEC", agents.specification(known, None).to_json())
            .env("PROMPT", prompt)
            .env("BRANCH", BRANCH)
            .env("BASE_BRANCH", "main")
            .env("GITHUB_TOKEN", GITHUB_TOKEN)
            .env("CALLBACK_URL", format!("{}/complete", self.url))
            .env("PROGRESS_URL", format!("{}/progress", self.url))
            .env("CALLBACK_TOKEN", CALLBACK_TOKEN)
            .env("TIMEOUT_SECONDS", "60")
            .env("REQUESTER", "Mona <mona@example.com>")
            .env("ANTHROPIC_API_KEY", API_KEY)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match mode {
            Mode::SameUser => {
                command.env("PORTER_AGENT_USER", "no-such-user-here").env("PORTER_ALLOW_SAME_USER", "true")
            }
            Mode::Nobody => command.env("PORTER_AGENT_USER", "nobody"),
        };
        command
    }

    /// Runs a worker to its end: its final report and its exit code.
    pub async fn run(&self, command: &mut Command) -> (Completion, i32) {
        self.finish(command.spawn().unwrap()).await
    }

    pub async fn finish(&self, mut worker: Child) -> (Completion, i32) {
        let status = tokio::time::timeout(Duration::from_secs(90), worker.wait()).await;
        let code = status.expect("the worker did not end within 90 s").unwrap().code().unwrap_or(-1);
        let report = self.server.completions.lock().unwrap().last().cloned();
        (report.expect("no final report came"), code)
    }

    /// Every line that was reported.
    pub fn lines(&self) -> Vec<String> {
        let progress = self.server.progress.lock().unwrap();
        let mut lines: Vec<String> = progress.iter().flat_map(|(_, report)| report.events.clone()).collect();
        lines.extend(
            self.server.completions.lock().unwrap().last().into_iter().flat_map(|r| r.events.clone()),
        );
        lines
    }

    /// Waits until `holds`; fails after a minute, naming `what`.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{what} did not happen; lines: {:#?}",
                self.lines()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What git prints about the repository on the server; nothing when it fails.
    pub fn on_server(&self, arguments: &[&str]) -> String {
        let output = self.command(&self.bare(), arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Commits to `main` what `fill` puts into a working copy of it.
    pub fn commit_to_main(&self, fill: impl FnOnce(&Path)) {
        let seed = self.folder.path().join("seed");
        fill(&seed);
        self.git(&seed, &["add", "--all", "--force"]);
        self.git(&seed, &["commit", "--quiet", "-m", "Seed"]);
        self.git(&seed, &["push", "--quiet", self.bare().to_str().unwrap(), "main"]);
    }

    pub fn git(&self, folder: &Path, arguments: &[&str]) {
        let output = self.command(folder, arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new("git");
        command
            .args(["-c", "user.name=Owner", "-c", "user.email=owner@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .current_dir(folder);
        command
    }
}

async fn progress(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(
        headers.get("x-porter-callback-token").map(axum::http::HeaderValue::as_bytes),
        Some(CALLBACK_TOKEN.as_bytes())
    );
    let report = serde_json::from_slice(&body).unwrap();
    server.progress.lock().unwrap().push((Instant::now(), report));
    let cancel = *server.cancel.lock().unwrap();
    axum::Json(serde_json::json!({ "ok": true, "cancel": cancel })).into_response()
}

async fn complete(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(
        headers.get("x-porter-callback-token").map(axum::http::HeaderValue::as_bytes),
        Some(CALLBACK_TOKEN.as_bytes())
    );
    server.completions.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let answer = server.answers.lock().unwrap().pop_front().unwrap_or(200);
    StatusCode::from_u16(answer).unwrap()
}

async fn bundle(
    State(server): State<Arc<Server>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    assert_eq!(
        headers.get("x-porter-callback-token").map(axum::http::HeaderValue::as_bytes),
        Some(CALLBACK_TOKEN.as_bytes())
    );
    server.bundles.lock().unwrap().push((query.unwrap_or_default(), body.to_vec()));
    StatusCode::OK
}

/// Git's own server side, for those who know the token (as GitHub wants it: user `x-access-token`).
async fn git_http_backend(State(server): State<Arc<Server>>, request: Request) -> Response {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{GITHUB_TOKEN}"));
    let (request, body) = request.into_parts();
    let header = |name: &str| {
        let value = request.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    if header("authorization") != format!("Basic {basic}") {
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"git\"")]).into_response();
    }
    {
        let mut answer = server.git_answer.lock().unwrap();
        if let Some((status, count)) = answer.as_mut().filter(|(_, count)| *count > 0) {
            *count -= 1;
            return StatusCode::from_u16(*status).unwrap().into_response();
        }
    }
    let mut cgi = Command::new("git");
    cgi.arg("http-backend")
        .env("GIT_PROJECT_ROOT", &server.repositories)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REMOTE_USER", "x-access-token")
        .env("PATH_INFO", request.uri.path())
        .env("QUERY_STRING", request.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", request.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut child = cgi.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::spawn(async move { stdin.write_all(&body).await });
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(Body::from(output[end + 4..].to_vec())).unwrap()
}
