//! The worker's actions, performed by the test: the commits and reports that a silent machine does not send.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ids::UserId;
use domain::task::{Phase, Task, TaskId};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use porter::runner::{LaunchSpec, Machine, MachineState, Runner};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use standin::File;

use super::{Answer, REPO, TEST_TIMEOUT, Testkit};

impl Testkit {
    /// Returns the callback token of an attempt.
    pub fn token(&self, task: &TaskId, attempt: u32) -> String {
        self.porter().callback_token(task, attempt).expose_secret().to_owned()
    }

    /// Pushes one commit to the task's branch; returns its hash.
    pub async fn push(&self, task: &TaskId) -> String {
        let files = [File::text("greet.sh", "echo Hello, world!\n")];
        self.github.commit(REPO, &task.branch(), &files, "Greet the world").await.expect("a commit")
    }

    /// Sends a report with this token.
    pub async fn call_back(&self, what: &str, token: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, &format!("/api/callbacks/{what}"));
        self.send(request.header("x-porter-callback-token", token).json(body)).await
    }

    /// Reports success with the pushed `commit`.
    pub async fn report_success(&self, task: &Task, commit: &str) -> Answer {
        let body = json!({
            "task_id": task.id, "attempt": task.attempt.number, "status": "success", "summary": "It greets.",
            "commit_hash": commit, "branch_name": task.id.branch(),
        });
        self.call_back("complete", &self.token(&task.id, task.attempt.number), &body).await
    }

    /// Reports that the agent failed.
    pub async fn report_failure(&self, task: &Task) -> Answer {
        let body = json!({
            "task_id": task.id, "attempt": task.attempt.number, "status": "failed", "error": "I give up.",
            "failure_stage": "agent",
        });
        self.call_back("complete", &self.token(&task.id, task.attempt.number), &body).await
    }

    /// Completes a task: waits for its machine, pushes and reports success.
    pub async fn succeed(&self, id: &TaskId) -> Task {
        let task = self.working(id).await;
        let commit = self.push(id).await;
        self.report_success(&task, &commit).await.expect(200);
        self.ended(id).await
    }

    /// Sends a progress report for every working machine, so that the clock can be advanced.
    pub async fn let_machines_be_heard(&self) {
        let mut connection = self.porter().store().read().await.expect("a connection");
        let running = db::tasks::list_running(&mut connection).await.expect("tasks");
        drop(connection);
        for task in running.into_iter().filter(|task| task.phase == Some(Phase::Working)) {
            let body = json!({ "task_id": task.id, "attempt": task.attempt.number });
            self.call_back("progress", &self.token(&task.id, task.attempt.number), &body).await;
        }
    }

    /// Completes a task whose jobs need several retries.
    pub async fn succeed_however_long(&self, id: &TaskId) -> Task {
        let works = |task: &Task| task.phase == Some(Phase::Working);
        let task = self.task_in_time(id, "its machine works", works).await;
        let commit = self.push(id).await;
        self.report_success(&task, &commit).await.expect(200);
        self.task_in_time(id, "it has ended", |task| task.status.is_terminal()).await;
        self.drained().await;
        self.task(id).await
    }

    /// Reports success as soon as the task works, then waits until no job is pending.
    pub async fn report_once_working(&self, id: &TaskId) {
        let task = self.working(id).await;
        let commit = self.push(id).await;
        self.report_success(&task, &commit).await.expect(200);
        self.backlog_when("no job is pending", |all| all.pending == 0).await;
    }

    /// Waits for a task's machine and reports a failure.
    pub async fn fail(&self, id: &TaskId) -> Task {
        let task = self.working(id).await;
        self.report_failure(&task).await.expect(200);
        self.ended(id).await
    }

    /// Returns the existing machines.
    pub async fn machines(&self) -> Vec<Machine> {
        self.runner().await.list().await.expect("machines")
    }

    /// Waits until the task's worker has exited.
    pub async fn machine_gone(&self, task: &TaskId) {
        let began = Instant::now();
        let lives = |machine: &Machine| machine.task == *task && machine.state != MachineState::Gone;
        while self.machines().await.iter().any(lives) {
            assert!(began.elapsed() < TEST_TIMEOUT, "timed out waiting until the worker of {task} exits");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Launches a machine that belongs to no attempt.
    pub async fn launch_stray(&self, task: &TaskId, attempt: u32) {
        let spec = LaunchSpec {
            task: task.clone(),
            attempt,
            image: String::new(),
            cpus: 1,
            memory_mb: 256,
            region: None,
            env: BTreeMap::new(),
            files: Vec::new(),
        };
        self.runner().await.launch(spec).await.expect("a machine");
    }

    async fn runner(&self) -> Arc<dyn Runner> {
        self.porter().place_of_person(UserId::new(0)).await.expect("a keyring").expect("a place").runner
    }

    /// Kills a machine's worker and its agent, as when the host fails.
    pub async fn kill_machine(&self, task: &TaskId) {
        let machine = self.task(task).await.attempt.machine_id.expect("a machine");
        let folder = self.folder.path().join("porter.db.machines").join(machine);
        let pid = std::fs::read_to_string(folder.join("pid")).expect("the worker runs");
        let pid = Pid::from_raw(pid.trim().parse().expect("a number"));
        let agents = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        killpg(pid, Signal::SIGKILL).expect("the worker was there");
        for agent in agents.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            // The agent may have ended with the worker.
            killpg(Pid::from_raw(agent), Signal::SIGKILL).ok();
        }
    }
}
