//! Tests of the local runner with real processes. A shell script acts as the worker, and a copy of this test
//! binary acts as the server that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use domain::assignment::PROMPT_FILE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use porter::config::variable;
use porter::runner::local::LocalRunner;
use porter::runner::{LaunchSpec, MachineState, Runner};
use tempfile::TempDir;

use super::conformance::Place;
use super::{eventually, spec, task};

/// A test's own state folder.
pub struct Here {
    folder: TempDir,
}

impl Here {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("machines")
    }

    fn machine(&self, id: &str) -> PathBuf {
        self.root().join(id)
    }

    fn number(&self, id: &str, file: &str) -> i32 {
        let text = fs::read_to_string(self.machine(id).join(file)).expect("a file with a number");
        text.trim().parse().expect("a number")
    }

    /// Waits until the worker of this machine has started its agent.
    async fn ready(&self, id: &str) {
        eventually("the worker runs", || async { self.machine(id).join("ready").exists() }).await;
    }
}

impl Place for Here {
    fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(runner(&self.root()))
    }

    fn fitted(&self, spec: LaunchSpec) -> LaunchSpec {
        fitted(&self.root(), spec)
    }

    fn begun(&self) -> usize {
        fs::read_to_string(starts(&self.root())).unwrap_or_default().lines().count()
    }
}

impl Drop for Here {
    /// Ends the remaining processes, also when the test fails.
    fn drop(&mut self) {
        let runner = self.runner();
        let destroy_all = async move {
            for machine in runner.list().await.expect("a list") {
                runner.destroy(&machine.id).await.expect("destroyed");
            }
        };
        // A separate runtime, because the test's runtime may be shutting down.
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ended = std::thread::spawn(move || runtime().block_on(destroy_all)).join();
        assert!(ended.is_ok() || std::thread::panicking(), "machines remain in {}", self.root().display());
    }
}

fn runner(root: &Path) -> LocalRunner {
    let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/local/worker.sh");
    LocalRunner::new(root, &worker, "/usr/local/bin:/usr/bin:/bin").expect("a runner")
}

fn fitted(root: &Path, mut spec: LaunchSpec) -> LaunchSpec {
    spec.env.insert("STARTS".to_owned(), starts(root).display().to_string());
    spec
}

/// Returns the file in which workers record their start.
fn starts(root: &Path) -> PathBuf {
    root.with_file_name("starts")
}

/// A process that is killed with `kill -9` when its test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("reaped");
    }
}

/// Returns whether the process exists and is not a zombie.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

fn with_env(mut spec: LaunchSpec, name: &str, value: &str) -> LaunchSpec {
    spec.env.insert(name.to_owned(), value.to_owned());
    spec
}

#[tokio::test]
async fn the_worker_receives_only_the_assignment() {
    let here = Here::new();
    let id = here.runner().launch(here.fitted(spec("a", 1))).await.expect("a machine").id;
    here.ready(&id).await;
    let environ = fs::read(format!("/proc/{}/environ", here.number(&id, "pid")))
        .expect("the process has an environment");
    let environ = String::from_utf8(environ).expect("the file contains UTF-8");
    let names: BTreeSet<&str> =
        environ.split('\0').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
    let expected =
        ["HOME", "LANG", "PATH", "PORTER_ALLOW_SAME_USER", "PORTER_WORKSPACE", "STARTS", "TASK_ID"];
    assert_eq!(names, BTreeSet::from(expected));
    let started = fs::read_to_string(starts(&here.root())).expect("the worker recorded its start");
    assert_eq!(started.trim(), format!("{} worker", here.number(&id, "pid")));
}

#[tokio::test]
async fn the_prompt_file_is_at_the_path_given_to_the_worker() {
    let here = Here::new();
    let mut spec = with_env(here.fitted(spec("a", 1)), "PROMPT_FILE", PROMPT_FILE);
    spec.files.push((PROMPT_FILE.to_owned(), "Fix it, é.".to_owned()));
    let id = here.runner().launch(spec).await.expect("a machine").id;
    here.ready(&id).await;
    let seen = fs::read_to_string(here.machine(&id).join("prompt-seen")).expect("the worker read it");
    assert_eq!(seen, "Fix it, é.");
}

#[tokio::test]
async fn no_secret_is_written_and_other_users_have_no_access() {
    use std::os::unix::fs::PermissionsExt;
    let here = Here::new();
    let spec = with_env(here.fitted(spec("a", 1)), "GITHUB_TOKEN", "ghs_very-secret");
    let id = here.runner().launch(spec).await.expect("a machine").id;
    here.ready(&id).await;
    let mut folders = vec![here.root()];
    while let Some(folder) = folders.pop() {
        let mode = fs::metadata(&folder).expect("a folder").permissions().mode();
        assert_eq!(mode & 0o077, 0, "other users have access to {}", folder.display());
        for entry in fs::read_dir(&folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let text = fs::read_to_string(entry.path()).expect("the file contains UTF-8");
                assert!(!text.contains("very-secret"), "{}", entry.path().display());
            }
        }
    }
}

#[tokio::test]
async fn stopping_gives_the_worker_time_to_end_its_agent() {
    let here = Here::new();
    let runner = here.runner();
    let id = runner.launch(here.fitted(spec("a", 1))).await.expect("a machine").id;
    here.ready(&id).await;
    let agent = here.number(&id, "agent-pid");
    assert!(lives(agent));
    runner.stop(&id).await.expect("stopped");
    eventually("the worker has ended", || async {
        runner.find_by_id(&id).await.expect("an answer").expect("the folder").state == MachineState::Gone
    })
    .await;
    assert!(here.machine(&id).join("stopped").exists(), "the worker handled SIGTERM");
    eventually("the agent has ended", || async { !lives(agent) }).await;
}

#[tokio::test]
async fn destroying_ends_a_worker_that_ignores_signals_and_its_agent() {
    let here = Here::new();
    let runner = here.runner();
    let spec = with_env(here.fitted(spec("a", 1)), "AGENT", "deaf");
    let id = runner.launch(spec).await.expect("a machine").id;
    here.ready(&id).await;
    let (worker, agent) = (here.number(&id, "pid"), here.number(&id, "agent-pid"));
    runner.stop(&id).await.expect("the stop request succeeds");
    assert!(lives(worker) && lives(agent), "the worker and the agent ignore the signal");
    runner.destroy(&id).await.expect("destroyed");
    assert!(!lives(worker) && !lives(agent), "worker {}, agent {}", lives(worker), lives(agent));
    assert!(!here.machine(&id).exists());
}

#[tokio::test]
async fn destroying_ends_an_agent_whose_worker_is_dead() {
    let here = Here::new();
    let runner = here.runner();
    let id = runner.launch(here.fitted(spec("a", 1))).await.expect("a machine").id;
    here.ready(&id).await;
    let (worker, agent) = (here.number(&id, "pid"), here.number(&id, "agent-pid"));
    kill(Pid::from_raw(worker), Signal::SIGKILL).expect("killed");
    eventually("the machine does not exist", || async {
        runner.find_by_id(&id).await.expect("an answer").expect("the folder").state == MachineState::Gone
    })
    .await;
    assert!(lives(agent), "the agent still runs before the machine is destroyed");
    runner.destroy(&id).await.expect("destroyed");
    assert!(!lives(agent));
}

#[tokio::test]
async fn an_attempt_that_has_ended_is_not_run_again() {
    let here = Here::new();
    let runner = here.runner();
    let spec = with_env(here.fitted(spec("a", 1)), "AGENT", "ends-at-once");
    let id = runner.launch(spec.clone()).await.expect("a machine").id;
    eventually("the worker has ended", || async {
        here.begun() == 1
            && runner.find_by_id(&id).await.expect("an answer").expect("the folder").state
                == MachineState::Gone
    })
    .await;
    let again = runner.launch(spec).await.expect("the machine");
    assert_eq!((again.id, again.state), (id, MachineState::Gone));
    assert_eq!(here.begun(), 1);
}

#[tokio::test]
async fn the_next_launch_starts_a_worker_that_was_not_started() {
    let here = Here::new();
    let runner = here.runner();
    // The state after a crash between the creation of the folder and the start of the process, with the remains
    // of two other crashes.
    let folder = here.machine("porter-a-1");
    for part in ["files", "home", "workspace"] {
        fs::create_dir_all(folder.join(part)).expect("a folder");
    }
    fs::write(folder.join("machine.json"), r#"{"task":"task_a","attempt":1}"#).expect("a file");
    fs::write(folder.join("alive.lock"), "").expect("a file");
    fs::create_dir_all(here.root().join(".new/files")).expect("a folder");
    fs::create_dir_all(here.root().join(".gone/files")).expect("a folder");

    let found = runner.find(&task("a"), 1).await.expect("an answer").expect("the folder");
    assert_eq!(found.state, MachineState::Gone);
    let machine = runner.launch(here.fitted(spec("a", 1))).await.expect("a machine");
    assert_eq!((machine.id.as_str(), machine.state), ("porter-a-1", MachineState::Running));
    here.ready("porter-a-1").await;
    assert_eq!(here.begun(), 1);
    runner
        .launch(here.fitted(spec("b", 1)))
        .await
        .expect("the remains of other crashes do not prevent a launch");
}

#[tokio::test]
async fn a_process_that_reuses_a_pid_is_not_ended() {
    let here = Here::new();
    let runner = here.runner();
    let id = runner.launch(here.fitted(spec("a", 1))).await.expect("a machine").id;
    here.ready(&id).await;
    let worker = here.number(&id, "pid");
    let mut bystander = Ended(Command::new("sleep").arg("600").spawn().expect("a process"));
    fs::write(here.machine(&id).join("pid"), bystander.0.id().to_string()).expect("a file");
    runner.stop(&id).await.expect("stopping without a worker succeeds");
    runner.destroy(&id).await.expect("destroyed");
    assert!(bystander.0.try_wait().expect("an answer").is_none(), "the bystander was ended");
    assert!(!lives(worker), "the worker is also found by its folder");
}

/// The server of the two tests below; does nothing when it runs on its own.
#[tokio::test]
#[ignore = "run by the tests below, in a process that they kill"]
async fn a_server_that_launches_and_then_waits() {
    let Some(root) = variable("PORTER_TEST_ROOT").map(PathBuf::from) else { return };
    runner(&root).launch(fitted(&root, spec("a", 1))).await.expect("a machine");
    println!("launched");
    std::future::pending::<()>().await;
}

fn server(root: &Path) -> Ended {
    let server = Command::new(std::env::current_exe().expect("the test binary has a path"))
        .args(["--exact", "runner::local::a_server_that_launches_and_then_waits", "--ignored", "--nocapture"])
        .env("PORTER_TEST_ROOT", root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    Ended(server.expect("a process"))
}

#[tokio::test]
async fn a_worker_outlives_kill_9_of_its_server() {
    let here = Here::new();
    let mut server = server(&here.root());
    let mut said = String::new();
    let mut out = server.0.stdout.take().expect("the server's output is readable");
    while !said.contains("launched") {
        let mut bytes = [0; 256];
        let count = out.read(&mut bytes).expect("the server's output is readable");
        assert!(count > 0, "the server ended early: {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    here.ready("porter-a-1").await;
    drop(server);

    let runner = here.runner();
    let found = runner.find(&task("a"), 1).await.expect("an answer").expect("the machine");
    assert_eq!(found.state, MachineState::Running);
    let adopted = runner.launch(here.fitted(spec("a", 1))).await.expect("the machine");
    assert_eq!((adopted, here.begun()), (found.clone(), 1));
    let (worker, agent) = (here.number(&found.id, "pid"), here.number(&found.id, "agent-pid"));
    runner.destroy(&found.id).await.expect("destroyed");
    assert!(!lives(worker) && !lives(agent));
}

#[tokio::test]
async fn one_worker_is_started_whenever_the_server_is_killed() {
    for millis in (0..60).step_by(3) {
        let here = Here::new();
        let server = server(&here.root());
        std::thread::sleep(Duration::from_millis(millis));
        drop(server);
        let runner = here.runner();
        let machine = runner.launch(here.fitted(spec("a", 1))).await.expect("a machine");
        assert_eq!(machine.state, MachineState::Running, "killed after {millis} ms");
        here.ready(&machine.id).await;
        assert_eq!(here.begun(), 1, "killed after {millis} ms");
        runner.destroy(&machine.id).await.expect("destroyed");
    }
}
