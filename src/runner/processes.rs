//! The processes of a local machine: which to ask to end, and how to verify that none is left.
//!
//! The worker leads one process group and its agent leads another, so ending the worker's group is not enough. On
//! Linux `/proc` shows the other processes of the machine: the worker's descendants, and those with their working
//! directory in the machine's folder, which is the only trace of an agent whose worker is dead. On other systems only
//! the worker's group is ended, and the worker's SIGTERM handler ends the agent.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgrp, getpid};

/// Returns whether `pid` has `file` as its standard input. This detects a process id that was reused after its
/// owner's death. Without `/proc`, the process id is assumed to be right.
pub(super) fn reads_from(pid: i32, file: &File) -> bool {
    if !Path::new("/proc/self/fd").exists() {
        return true;
    }
    match (fs::metadata(format!("/proc/{pid}/fd/0")), file.metadata()) {
        (Ok(theirs), Ok(ours)) => (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()),
        _ => false,
    }
}

/// Sends SIGTERM to one process. Succeeds if it has ended.
pub(super) fn terminate(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
}

/// Kills the worker, its group, its descendants and every process that works in `folder`. Returns how many were
/// found; the caller repeats it until the result is zero.
pub(super) fn end_all(worker: Option<i32>, folder: &Path) -> usize {
    if let Some(pid) = worker {
        // A stopped worker cannot start processes during the search for its descendants.
        kill(Pid::from_raw(pid), Signal::SIGSTOP).ok();
    }
    let doomed = belonging(worker, folder);
    for process in &doomed {
        if process.group == process.pid && process.group != getpgrp().as_raw() {
            killpg(Pid::from_raw(process.group), Signal::SIGKILL).ok();
        }
        kill(Pid::from_raw(process.pid), Signal::SIGKILL).ok();
    }
    if let Some(pid) = worker {
        killpg(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    doomed.len()
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
}

fn belonging(worker: Option<i32>, folder: &Path) -> Vec<Process> {
    let (all, mut members) = (living(), BTreeSet::from_iter(worker));
    members.extend(all.iter().filter(|process| works_in(process.pid, folder)).map(|process| process.pid));
    loop {
        let before = members.len();
        for process in &all {
            let in_group = worker == Some(process.group);
            if in_group || members.contains(&process.parent) {
                members.insert(process.pid);
            }
        }
        if members.len() == before {
            break;
        }
    }
    // The calling process may have its own working directory in the folder.
    members.remove(&getpid().as_raw());
    all.into_iter().filter(|process| members.contains(&process.pid)).collect()
}

fn works_in(pid: i32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

/// Returns every process that has not ended; empty without `/proc`.
fn living() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Parses `pid (name) state parent group …` (proc(5)). The name may contain spaces and parentheses. Returns `None`
/// for a process that has ended and waits to be reaped.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    Some(Process { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_any_name_is_parsed() {
        let process = parse_stat(7, "7 (a) b (c)) S 3 5 5 0 -1").expect("a process");
        assert_eq!((process.pid, process.parent, process.group), (7, 3, 5));
    }

    #[test]
    fn a_zombie_process_is_not_counted() {
        assert!(parse_stat(7, "7 (sh) Z 3 5 5 0 -1").is_none());
    }

    #[test]
    fn a_process_without_the_lock_is_not_the_worker() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = File::create(folder.path().join("lock")).expect("a file");
        assert!(!reads_from(getpid().as_raw(), &lock), "this test does not read from {lock:?}");
    }
}
