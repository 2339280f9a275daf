//! Clone, fetch and push: smart HTTP through git's own `git http-backend`.
//!
//! The token is the password of the user `x-access-token`. Reading requires `contents: read` on the
//! repository, pushing `contents: write`. Bodies are streamed in both directions, with their compression and
//! chunking unchanged.

use std::io;
use std::process::Stdio;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout};

use super::Shared;
use super::auth::{Access, Caller};
use super::git::{self, Git};

/// `GET /{owner}/{repo}.git/info/refs?service=…`
pub(super) async fn info_refs(
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    let push = request.uri().query().is_some_and(|query| query.contains("git-receive-pack"));
    serve(&shared, (&owner, &name), "info/refs", push, request).await
}

/// `POST /{owner}/{repo}.git/git-upload-pack`: a clone or fetch.
pub(super) async fn upload_pack(
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    serve(&shared, (&owner, &name), "git-upload-pack", false, request).await
}

/// `POST /{owner}/{repo}.git/git-receive-pack`: a push.
pub(super) async fn receive_pack(
    State(shared): State<Arc<Shared>>,
    Path((owner, name)): Path<(String, String)>,
    request: Request,
) -> Response {
    serve(&shared, (&owner, &name), "git-receive-pack", true, request).await
}

async fn serve(
    shared: &Shared,
    (owner, name): (&str, &str),
    path: &str,
    push: bool,
    request: Request,
) -> Response {
    let name = name.strip_suffix(".git").unwrap_or(name);
    match admit(shared, (owner, name), push, request.headers()) {
        Ok(git) => match run(&git, path, request).await {
            Ok(response) => response,
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        },
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a request for git is refused.
enum Refusal {
    Unauthorized,
    NotFound,
    Denied(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized => {
                let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")];
                (StatusCode::UNAUTHORIZED, challenge, "Invalid username or token.\n").into_response()
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "Repository not found.\n").into_response(),
            Self::Denied(message) => (StatusCode::FORBIDDEN, message).into_response(),
        }
    }
}

/// The repository, if the caller's token has the permission to read it, or to push to it.
fn admit(shared: &Shared, repository: (&str, &str), push: bool, headers: &HeaderMap) -> Result<Git, Refusal> {
    let token = password(headers).ok_or(Refusal::Unauthorized)?;
    let caller = Caller::from_text(shared, &token).ok_or(Refusal::Unauthorized)?;
    let needed = if push { Access::Write } else { Access::Read };
    let state = shared.state();
    // Without read access the repository is reported as not found.
    let visible = &[("contents", Access::Read), ("metadata", Access::Read)];
    let found = caller.reach(&state, repository, visible).map_err(|_| Refusal::NotFound)?;
    caller.reach(&state, repository, &[("contents", needed)]).map_err(|_| {
        let (owner, name) = repository;
        Refusal::Denied(format!("Permission to {owner}/{name}.git denied to {}.\n", caller.login(&state)))
    })?;
    Ok(found.git.clone())
}

/// The password of `Basic` authentication for the user `x-access-token`.
fn password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    (user == "x-access-token").then(|| password.to_owned())
}

/// Runs the CGI program with this request.
async fn run(git: &Git, path: &str, request: Request) -> io::Result<Response> {
    let (parts, body) = request.into_parts();
    let mut command = git::command();
    command
        .arg("http-backend")
        .stdin(Stdio::piped())
        .env("GIT_PROJECT_ROOT", git.path())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{path}"))
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("REMOTE_USER", "x-access-token")
        .env("REMOTE_ADDR", "127.0.0.1");
    for (name, variable) in [
        (CONTENT_TYPE.as_str(), "CONTENT_TYPE"),
        // Absent in a chunked request; the program then reads until the end of the input.
        (CONTENT_LENGTH.as_str(), "CONTENT_LENGTH"),
        (CONTENT_ENCODING.as_str(), "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = parts.headers.get(name).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    let mut child = command.stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        tokio::spawn(async move {
            let mut chunks = body.into_data_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
        });
    }
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    answer(child, BufReader::new(stdout)).await
}

/// Converts CGI output to a response: headers up to an empty line, then the body.
async fn answer(child: Child, mut stdout: BufReader<ChildStdout>) -> io::Result<Response> {
    let mut response = Response::builder();
    loop {
        let mut line = String::new();
        if stdout.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some(("Status", status)) => {
                response = response.status(status.split(' ').next().unwrap_or("500"));
            }
            Some((name, value)) => response = response.header(name, value),
            None => {}
        }
    }
    // The stream owns the child process, so that the process ends when the caller disconnects.
    let chunks = stream::unfold((child, stdout), |(mut child, mut stdout)| async move {
        let mut chunk = vec![0; 64 * 1024];
        match stdout.read(&mut chunk).await {
            Ok(0) => {
                child.wait().await.ok();
                None
            }
            Ok(length) => {
                chunk.truncate(length);
                Some((Ok(chunk), (child, stdout)))
            }
            Err(error) => Some((Err(error), (child, stdout))),
        }
    });
    response.body(Body::from_stream(chunks)).map_err(io::Error::other)
}
