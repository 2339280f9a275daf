//! The worker's part, played by the test: what a silent machine would push and say.

use porter::demo::standin::File;
use porter::domain::task::{Task, TaskId};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Answer, REPO, World};

impl World {
    /// The callback token of an attempt.
    pub fn token(&self, task: &TaskId, attempt: u32) -> String {
        self.porter().keys.callback_token(task, attempt).expose_secret().to_owned()
    }

    /// Pushes one commit to the task's branch; gives its id.
    pub async fn push(&self, task: &TaskId) -> String {
        let files = [File::text("greet.sh", "echo Hello, world!\n")];
        self.github.commit(REPO, &task.branch(), &files, "Greet the world").await.expect("a commit")
    }

    /// Sends a report with this token.
    pub async fn call_back(&self, what: &str, token: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/api/callbacks/{what}"));
        self.send(request.header("x-porter-callback-token", token).json(body)).await
    }

    /// Reports that the agent is done and has pushed `commit`.
    pub async fn report_success(&self, task: &Task, commit: &str) -> Answer {
        let body = json!({
            "task_id": task.id, "attempt": task.attempt, "status": "success", "summary": "It greets.",
            "commit_hash": commit, "branch_name": task.id.branch(),
        });
        self.call_back("complete", &self.token(&task.id, task.attempt), &body).await
    }

    /// Reports that the agent has given up.
    pub async fn report_failure(&self, task: &Task) -> Answer {
        let body = json!({
            "task_id": task.id, "attempt": task.attempt, "status": "failed", "error": "I give up.",
            "failure_stage": "agent",
        });
        self.call_back("complete", &self.token(&task.id, task.attempt), &body).await
    }

    /// Lets a working task succeed.
    pub async fn succeed(&self, id: &TaskId) -> Task {
        let task = self.working(id).await;
        let commit = self.push(id).await;
        self.report_success(&task, &commit).await.expect(200);
        self.ended(id).await
    }

    /// Lets a working task fail.
    pub async fn fail(&self, id: &TaskId) -> Task {
        let task = self.working(id).await;
        self.report_failure(&task).await.expect(200);
        self.ended(id).await
    }
}
