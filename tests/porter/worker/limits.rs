//! Agents that leave too much: a deep folder, a full disk, a repository that hangs.

use domain::report::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::world::{BRANCH, GOOD_END, Mode, World};

fn changed(world: &World) -> String {
    world.on_server(&["diff", "--name-only", "main", BRANCH])
}

/// A commit whose file hangs whoever reads it: a pipe that nobody writes to stands for the object.
const HANGING: &str = "echo y >> README.md; git commit -qam y; id=$(git rev-parse HEAD:README.md); rest=${id#??}; start=${id%$rest}; \
    rm -f .git/objects/$start/$rest; mkdir -p $OPEN/objects/$start; mkfifo $OPEN/objects/$start/$rest; \
    echo $OPEN/objects >> .git/objects/info/alternates";

#[tokio::test]
async fn a_repository_that_hangs_costs_a_share_of_the_time_and_its_files_are_published() {
    for mode in Mode::available() {
        let world = World::new().await;
        world.claude(&format!("{HANGING}\n{GOOD_END}"));
        let mut worker = world.worker(mode, "claude", "x");
        let (report, _) = world.run(worker.env("PORTER_PUBLISH_TIMEOUT_SECONDS", "20")).await;
        assert_eq!(
            (report.status, &report.error),
            (Outcome::Success, &None),
            "{mode:?}: {:#?}",
            world.lines()
        );
        assert_eq!(changed(&world), "README.md");
    }
}

#[tokio::test]
async fn a_stop_is_heard_while_the_work_is_collected_and_the_work_is_published() {
    let world = World::new().await;
    world.claude(&format!("{HANGING}\n{GOOD_END}"));
    let worker = world.worker(Mode::SameUser, "claude", "x").spawn().unwrap();
    world.until("the collecting", || world.lines().contains(&"Collecting the changes".to_owned())).await;
    kill(Pid::from_raw(i32::try_from(worker.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let (report, _) = world.finish(worker).await;
    assert_eq!(
        (report.status, report.failure_reason.as_deref()),
        (Outcome::Failed, Some("machine_shut_down"))
    );
    assert_eq!(changed(&world), "README.md");
}

#[tokio::test]
async fn a_folder_of_any_depth_is_no_obstacle_and_is_removed_after_the_report() {
    for mode in Mode::available() {
        let world = World::new().await;
        let deep = "part=$(yes d | head -n 1900 | tr '\\n' /); i=0; while [ $i -lt 10 ]; do mkdir -p $part; cd -P $part; i=$((i+1)); done";
        world.claude(&format!("echo y >> README.md; ({deep}) 2> $OPEN/log\n{GOOD_END}"));
        let (report, code) = world.run(&mut world.worker(mode, "claude", "x")).await;
        assert_eq!((report.status, code), (Outcome::Success, 0), "{mode:?}: {:?}", report.error);
        assert_eq!(changed(&world), "README.md");
        let left = std::fs::read_dir(world.folder.path().join("workspace")).unwrap().count();
        assert_eq!(left, 0, "{mode:?}: folders were left in the workspace");
    }
}

/// A small disk; unmounted when it is dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// None where this user may not mount one.
    fn mount(path: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m,mode=755", "tmpfs"]).arg(&path);
        let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn on_a_full_disk_the_rest_is_published_and_the_reason_is_told() {
    let world = World::new().await;
    let Some(disk) = SmallDisk::mount(world.folder.path().join("small")) else { return };
    world.claude(&format!(
        "echo y >> README.md; head -c 40000000 /dev/urandom > fill 2> $OPEN/log\n{GOOD_END}"
    ));
    let mut worker = world.worker(Mode::Nobody, "claude", "x");
    let (report, _) = world.run(worker.env("PORTER_WORKSPACE", &disk.0)).await;
    assert_eq!((report.status, &report.error), (Outcome::Success, &None), "{:#?}", world.lines());
    assert_eq!(changed(&world), "README.md");
    let texts: Vec<&str> = report.remarks.iter().map(|remark| remark.text.as_str()).collect();
    assert_eq!(texts, ["fill was left out: the disk is full."]);
}

#[tokio::test]
async fn what_the_agents_user_cannot_read_is_named() {
    if !Mode::available().contains(&Mode::Nobody) {
        return;
    }
    let world = World::new().await;
    let script =
        "echo a > locked; chmod 000 locked; mkdir shut; touch shut/x; chmod 000 shut; echo y >> README.md";
    world.claude(&format!("{script}\n{GOOD_END}"));
    let (report, _) = world.run(&mut world.worker(Mode::Nobody, "claude", "x")).await;
    assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
    assert_eq!(changed(&world), "README.md");
    let text = report.remarks.iter().map(|remark| remark.text.as_str()).collect::<Vec<_>>().join(" ");
    assert!(text.contains("locked") && text.contains("shut/") && text.contains("cannot be read"), "{text}");
}
