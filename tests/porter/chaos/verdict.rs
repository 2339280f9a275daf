//! The conditions that must hold at the end of every run.

use std::collections::BTreeMap;

use db::Db;
use sqlx::Row;
use standin::GithubState;

use super::machines::{Conduct, may_push};
use super::stage::Stage;

/// An issue with a mention, and the behaviour of its worker.
#[derive(Clone, Debug)]
pub struct Request {
    pub repository: String,
    pub issue: u64,
    pub conduct: Conduct,
}

const TERMINAL: [&str; 3] = ["porter:success", "porter:failed", "porter:timed_out"];
const PORTER: &str = "porter[bot]";

/// Returns whether the issue has the label of a terminal status.
pub fn has_ended(kit: &GithubState, asked: &Request) -> bool {
    kit.labels(&asked.repository, asked.issue).iter().any(|label| TERMINAL.contains(&label.as_str()))
}

/// Returns the violated conditions, one line each.
pub async fn complaints(stage: &Stage, asked: &[Request]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut wanted_pulls: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for asked in asked {
        let place = format!("{}#{} ({:?})", asked.repository, asked.issue, asked.conduct);
        let mut complain = |what: String| complaints.push(format!("{place}: {what}"));
        let comments = stage.github.comments(&asked.repository, asked.issue);
        let own: Vec<_> = comments.iter().filter(|comment| comment.author == PORTER).collect();
        if own.len() != 1 {
            let bodies: Vec<_> = own.iter().map(|comment| &comment.body).collect();
            complain(format!("expected one status comment, seen {}: {bodies:?}", own.len()));
        }
        let Some(body) = own.first().map(|comment| comment.body.as_str()) else { continue };
        let marker = marker(body);
        let status = marker["status"].as_str().unwrap_or_default().to_owned();
        let expected = if asked.conduct.succeeds() { "success" } else { "failed" };
        if status != expected {
            complain(format!("expected {expected} in the comment, seen {body:?}"));
        }
        if status != "success" && !body.contains("What next?") {
            complain(format!("expected an explanation, seen {body:?}"));
        }
        let mut labels = stage.github.labels(&asked.repository, asked.issue);
        labels.sort();
        let mut wanted = ["help wanted", "porter:agent:mock", "porter:priority:normal", "porter:task"]
            .map(str::to_owned)
            .to_vec();
        wanted.push(format!("porter:{status}"));
        wanted.sort();
        if labels != wanted {
            complain(format!("expected the labels {wanted:?}, seen {labels:?}"));
        }
        let mention = comments.iter().find(|comment| comment.author != PORTER);
        let eyes =
            mention.map_or(0, |comment| comment.reactions.iter().filter(|r| r.content == "eyes").count());
        if eyes != 1 {
            complain(format!("expected one reaction, seen {eyes}"));
        }
        if status == "success" {
            let head = format!("porter/{}", marker["taskId"].as_str().unwrap_or_default());
            wanted_pulls.entry(&asked.repository).or_default().push(head);
        }
    }
    for repository in &stage.repositories {
        let mut heads: Vec<_> =
            stage.github.pull_requests(repository).into_iter().map(|pull| pull.head).collect();
        let mut wanted = wanted_pulls.remove(repository.as_str()).unwrap_or_default();
        heads.sort();
        wanted.sort();
        if heads != wanted {
            let extra: Vec<_> = heads.iter().filter(|head| !wanted.contains(head)).collect();
            let missing: Vec<_> = wanted.iter().filter(|head| !heads.contains(head)).collect();
            complaints.push(format!(
                "{repository}: expected {} pull requests, seen {}; unexpected: {extra:?}, missing: {missing:?}",
                wanted.len(),
                heads.len()
            ));
        }
    }
    for machine in stage.fly.living() {
        complaints.push(format!("the machine {} was left behind, {}", machine.name, machine.state));
    }
    complaints.extend(live_tokens(stage).await);
    complaints
        .extend(stage.github.violations().into_iter().map(|call| format!("against GitHub's rules: {call}")));
    complaints.extend(stage.fly.violations().into_iter().map(|call| format!("against Fly's rules: {call}")));
    complaints
}

/// Returns the workers' tokens that are still valid.
async fn live_tokens(stage: &Stage) -> Vec<String> {
    let http = tls::client().no_proxy().build().expect("a client");
    let mut live = Vec::new();
    for (repository, token) in stage.machines.tokens() {
        let url = format!("{}/{repository}.git", stage.github.web_url());
        if may_push(&http, &url, &token).await != Some(false) {
            live.push(format!("a token for {repository} is still valid after its task"));
        }
    }
    live
}

/// Returns the jobs and tokens that are left in the database once Porter has stopped, and the tasks by status.
pub async fn remains(stage: &Stage) -> (Vec<String>, BTreeMap<String, i64>) {
    let db = Db::open(&stage.database()).await.expect("the database");
    let mut connection = db.writer().await.expect("a connection");
    let mut left = Vec::new();
    let jobs =
        sqlx::query("SELECT key, tries, run_at, last_error FROM jobs").fetch_all(&mut *connection).await;
    for job in jobs.expect("the jobs") {
        let (key, tries, error): (String, i64, Option<String>) = (job.get(0), job.get(1), job.get(3));
        left.push(format!("the job {key} is still pending after {tries} tries: {error:?}"));
    }
    let tokens = sqlx::query("SELECT task_id FROM attempt_tokens").fetch_all(&mut *connection).await;
    left.extend(
        tokens
            .expect("the tokens")
            .iter()
            .map(|row| format!("a token of {} is still stored", row.get::<String, _>(0))),
    );
    let counts =
        sqlx::query("SELECT status, count(*) FROM tasks GROUP BY status").fetch_all(&mut *connection).await;
    let counts = counts.expect("the tasks").iter().map(|row| (row.get(0), row.get(1))).collect();
    drop(connection);
    db.close().await;
    (left, counts)
}

/// Parses the marker of one of Porter's comments.
pub fn marker(body: &str) -> serde_json::Value {
    let last = body.trim_end().lines().next_back().unwrap_or_default();
    let json =
        last.strip_prefix("<!-- porter:").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or_default();
    serde_json::from_str(json).unwrap_or_default()
}
