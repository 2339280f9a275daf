//! Machines on this computer, for development and the demo: the worker is a child process.
//!
//! A machine is a folder `<state>/<name>/` and outlives the server, `kill -9` included:
//!
//! | file | says |
//! |---|---|
//! | `machine.json` | whose it is; there from the first moment, as the folder is put in place by a rename |
//! | `alive.lock` | held (`flock`) by the worker, as its standard input: a machine is alive exactly as long as this lock is held, which no crash and no reused process number can fake |
//! | `pid` | the worker's number, written by the new process itself just before it becomes the worker: without it, the worker was never begun |
//! | `worker.log` | what the worker printed |
//! | `files/`, `home/`, `workspace/` | the prompt, the worker's home, its checkout |
//!
//! Every verb holds the lock of the whole state folder while it works, so verbs never overlap, in one process
//! or in several. The environment, which has the secrets, is handed to the process and written nowhere.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::name::machine_name;
use super::{Error, Holdings, LaunchSpec, Machine, MachineProvider, MachineState, Runner, Scope, processes};
use domain::task::TaskId;

/// Notes its own number, then becomes the worker (`$2`). A shell's own variables are not passed on.
const START: &str = r#"set -e; echo $$ > "$1"; unset PWD OLDPWD SHLVL; exec "$2" worker"#;
/// How often, and how many times, to look whether a process has done what it was told.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const MAX_LOOKS: u32 = 500;

/// Starts workers as child processes, each in its own process group.
#[derive(Clone)]
pub struct LocalRunner {
    root: PathBuf,
    program: PathBuf,
    search_path: String,
}

/// `machine.json`. Holds no secret.
#[derive(Serialize, Deserialize)]
struct Label {
    task: TaskId,
    attempt: u32,
}

impl LocalRunner {
    /// Machines as folders of `root` (made if missing), each running `program worker`; `search_path` is the
    /// workers' `PATH`.
    ///
    /// # Errors
    /// When `root` cannot be made, or a path cannot be made absolute.
    pub fn new(root: &Path, program: &Path, search_path: &str) -> io::Result<Self> {
        make_private(root)?;
        Ok(Self {
            root: root.canonicalize()?,
            program: std::path::absolute(program)?,
            search_path: search_path.to_owned(),
        })
    }

    /// Runs `verb` on a thread that may wait, while nobody else touches the state folder.
    fn alone<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Error>> {
        let runner = self.clone();
        let work = move || {
            let door = open_lock(&runner.root.join(".lock"))?;
            door.lock()?;
            verb(&runner)
        };
        Box::pin(async move {
            let result = tokio::task::spawn_blocking(work).await;
            result.map_err(io::Error::other).flatten().map_err(unavailable)
        })
    }

    fn launch_now(&self, spec: LaunchSpec) -> io::Result<Machine> {
        let id = machine_name(&spec.task, spec.attempt);
        let folder = self.root.join(&id);
        if !folder.exists() {
            self.make(&folder, &Label { task: spec.task.clone(), attempt: spec.attempt })?;
        }
        let machine = |state| Machine { id, task: spec.task.clone(), attempt: spec.attempt, state };
        for _ in 0..MAX_LOOKS {
            let (lock, begun) = (free_lock(&folder)?, noted_pid(&folder)?.is_some());
            match lock {
                Some(lock) if begun => {
                    lock.unlock()?;
                    return Ok(machine(MachineState::Gone));
                }
                Some(lock) => {
                    self.start(&folder, lock, &spec)?;
                    return Ok(machine(MachineState::Running));
                }
                None if begun => return Ok(machine(MachineState::Running)),
                // Started by a server that was killed a moment ago; it will note its number or give up.
                None => thread::sleep(LOOK_INTERVAL),
            }
        }
        Err(io::Error::other("a process holds the machine's lock without being its worker"))
    }

    /// Puts a machine's folder in place, whole or not at all.
    fn make(&self, folder: &Path, label: &Label) -> io::Result<()> {
        let new = self.root.join(".new");
        remove(&new)?;
        for part in ["", "files", "home", "workspace"] {
            make_private(&new.join(part))?;
        }
        fs::write(new.join("machine.json"), serde_json::to_vec(label)?)?;
        File::create(new.join("alive.lock"))?;
        fs::rename(new, folder)
    }

    fn start(&self, folder: &Path, lock: File, spec: &LaunchSpec) -> io::Result<()> {
        let mut env = spec.env.clone();
        for (number, (guest_path, content)) in spec.files.iter().enumerate() {
            let file = folder.join("files").join(number.to_string());
            fs::write(&file, content)?;
            // The worker is told where the file really is.
            for value in env.values_mut().filter(|value| *value == guest_path) {
                *value = file.display().to_string();
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(folder.join("worker.log"))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", START, "porter"])
            .arg(folder.join("pid"))
            .arg(&self.program)
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.search_path)
            .env("HOME", folder.join("home"))
            .env("LANG", "C.UTF-8")
            .envs(env)
            .env("PORTER_ALLOW_SAME_USER", "true")
            .env("PORTER_WORKSPACE", folder.join("workspace"))
            .stdin(Stdio::from(lock))
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let mut child = command.spawn()?;
        // The command keeps our copy of the lock: while it lives, the machine would seem to.
        drop(command);
        // Only to reap it; whether the machine lives is the lock's to say.
        tokio::spawn(async move { child.wait().await });
        Ok(())
    }

    fn look(&self, id: &str) -> io::Result<Option<Machine>> {
        let Some(folder) = self.folder(id) else { return Ok(None) };
        let label: Label = match fs::read(folder.join("machine.json")) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // A folder whose worker was never begun counts as gone, too: only a launch can change that.
        let state = if is_alive(&folder)? { MachineState::Running } else { MachineState::Gone };
        Ok(Some(Machine { id: id.to_owned(), task: label.task, attempt: label.attempt, state }))
    }

    fn list_now(&self) -> io::Result<Vec<Machine>> {
        let mut machines = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            if let Some(id) = entry?.file_name().to_str()
                && let Some(machine) = self.look(id)?
            {
                machines.push(machine);
            }
        }
        Ok(machines)
    }

    fn stop_now(&self, id: &str) -> io::Result<()> {
        let Some(folder) = self.folder(id) else { return Ok(()) };
        for _ in 0..MAX_LOOKS {
            if !folder.exists() || !is_alive(&folder)? {
                return Ok(());
            }
            // Without a number, the new process is about to note it.
            if let Some(pid) = noted_pid(&folder)? {
                if holds_lock(pid, &folder)? {
                    processes::terminate(pid);
                }
                return Ok(());
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("its process cannot be found"))
    }

    fn destroy_now(&self, id: &str) -> io::Result<()> {
        let Some(folder) = self.folder(id).filter(|folder| folder.exists()) else { return Ok(()) };
        for _ in 0..MAX_LOOKS {
            let alive = is_alive(&folder)?;
            let pid = match noted_pid(&folder)? {
                Some(pid) if alive && holds_lock(pid, &folder)? => Some(pid),
                _ => None,
            };
            if processes::end_all(pid, &folder) == 0 && !alive {
                // Renamed first: a folder half removed must not look like one whose worker was never begun.
                let gone = self.root.join(".gone");
                remove(&gone)?;
                fs::rename(folder, &gone)?;
                return remove(&gone);
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Err(io::Error::other("its processes do not end"))
    }

    /// The folder of a machine with this id; nothing when no machine can have it.
    fn folder(&self, id: &str) -> Option<PathBuf> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (!id.is_empty() && id.chars().all(plain)).then(|| self.root.join(id))
    }
}

impl Runner for LocalRunner {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Machine, Error>> {
        self.alone(|runner| runner.launch_now(spec))
    }

    fn find<'a>(&'a self, task: &'a TaskId, attempt: u32) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        let id = machine_name(task, attempt);
        self.alone(move |runner| runner.look(&id))
    }

    fn find_by_id<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Machine>, Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.look(&id))
    }

    fn stop<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.stop_now(&id))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let id = id.to_owned();
        self.alone(move |runner| runner.destroy_now(&id))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Machine>, Error>> {
        self.alone(LocalRunner::list_now)
    }
}

impl MachineProvider for LocalRunner {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn missing(&self, _: &Holdings<'_>) -> Vec<String> {
        Vec::new()
    }

    /// Everybody's machines are on this computer.
    fn scope(&self, _: &Holdings<'_>, _: Option<&str>) -> Result<Scope, Error> {
        Ok(Scope { runner: Arc::new(self.clone()), place: None, credential: None })
    }
}

/// The machine's lock, taken; nothing while its worker holds it.
fn free_lock(folder: &Path) -> io::Result<Option<File>> {
    let lock = open_lock(&folder.join("alive.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether the machine's worker holds its lock.
fn is_alive(folder: &Path) -> io::Result<bool> {
    match free_lock(folder)? {
        // Not only closed: a process being started elsewhere in the server may have a copy for a moment.
        Some(lock) => lock.unlock().map(|()| false),
        None => Ok(true),
    }
}

/// The number that the machine's process noted, once it has.
fn noted_pid(folder: &Path) -> io::Result<Option<i32>> {
    match fs::read_to_string(folder.join("pid")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(text?.trim().parse().ok().filter(|pid| *pid > 1)),
    }
}

/// Whether that process still is the worker (its number may be another's by now).
fn holds_lock(pid: i32, folder: &Path) -> io::Result<bool> {
    Ok(processes::reads_from(pid, &File::open(folder.join("alive.lock"))?))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn unavailable(error: io::Error) -> Error {
    Error::Unavailable {
        message: "The local machine could not be started, found or ended.".to_owned(),
        source: Some(error.into()),
    }
}
