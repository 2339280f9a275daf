//! What counts as the agent's work: what its own git would have committed, and nothing that it did not change.

use domain::report::{Completion, FailureStage, Outcome};

use super::world::{BRANCH, GOOD_END, Mode, World};

/// The agent's identity is configured; this is for repositories with another home.
const AS_SOMEBODY: &str = "-c user.name=x -c user.email=x@example.com";

/// A world whose base branch is what `seed`, a shell script, makes of the working copy of it.
async fn seeded(seed: &str) -> World {
    let world = World::new().await;
    let script = format!(
        "set -e\nexport GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null\n\
         git config user.name Owner; git config user.email owner@example.com\n{seed}\n\
         git push -q '{}' HEAD:main",
        world.bare().display()
    );
    let seed = world.folder.path().join("seed");
    let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(seed).output().unwrap();
    assert!(output.status.success(), "the seed failed: {}", String::from_utf8_lossy(&output.stderr));
    world
}

/// What an agent that runs `script` leads to.
async fn run(world: &World, script: &str) -> Completion {
    world.claude(&format!("{script}\n{GOOD_END}"));
    world.run(&mut world.worker(Mode::SameUser, "claude", "## Task\nx")).await.0
}

/// The changed paths of the pushed branch, with their kind of change.
fn changed(world: &World) -> String {
    world
        .on_server(&["diff", "--name-status", "--no-renames", "main", BRANCH])
        .replace('\t', " ")
        .replace('\n', ", ")
}

fn show(world: &World, path: &str) -> String {
    world.on_server(&["show", &format!("{BRANCH}:{path}")])
}

/// The remark with this code, as text; fails when there is none.
fn remark(report: &Completion, code: &str) -> String {
    let found = report.remarks.iter().find(|remark| remark.code == code);
    found.unwrap_or_else(|| panic!("expected a remark {code:?}, seen: {:#?}", report.remarks)).text.clone()
}

/// Runs `script` on what `seed` made, expects success and these changes.
async fn expect(seed: &str, script: &str, changes: &str) -> (World, Completion) {
    let world = seeded(seed).await;
    let report = run(&world, script).await;
    let lines = world.lines();
    assert_eq!(report.status, Outcome::Success, "{script}: {:?}\n{lines:#?}", report.error);
    assert_eq!(changed(&world), changes, "{script}\n{lines:#?}\n{:#?}", report.remarks);
    (world, report)
}

const COMMIT_ALL: &str = "git add -A; git commit -qm Seed";

#[tokio::test]
async fn a_sparse_checkout_deletes_nothing() {
    let seed =
        format!("for d in a b c; do mkdir $d; for f in 1 2 3; do echo $f > $d/f$f; done; done; {COMMIT_ALL}");
    for script in [
        "git sparse-checkout set a; echo fix >> a/f1",
        "git sparse-checkout set --cone --sparse-index a; echo fix >> a/f1",
        "git sparse-checkout set --no-cone /a; echo fix >> a/f1",
        "git sparse-checkout set a; echo fix >> a/f1; git commit -qam x",
        "git update-index --split-index; git sparse-checkout set a; echo fix >> a/f1",
    ] {
        expect(&seed, script, "M a/f1").await;
    }
    let script = "git sparse-checkout set a; mkdir b; echo new > b/f1; echo new > b/f9";
    expect(&seed, script, "M b/f1, A b/f9").await;
}

#[tokio::test]
async fn files_that_git_is_told_to_pass_over_are_left_out() {
    let seed = format!("echo shared > cfg.ini; {COMMIT_ALL}");
    for script in [
        "git update-index --assume-unchanged cfg.ini; echo local > cfg.ini; echo y >> README.md",
        "git update-index --skip-worktree cfg.ini; echo local > cfg.ini; echo y >> README.md",
        "git update-index --skip-worktree cfg.ini; rm cfg.ini; echo y >> README.md",
        "test -f .git/info/exclude && echo scratch/ >> .git/info/exclude; mkdir scratch; echo s > scratch/n; echo y >> README.md",
        "mkdir -p ~/.config/git; echo scratch/ > ~/.config/git/ignore; mkdir scratch; echo s > scratch/n; echo y >> README.md",
        "echo scratch/ > ~/ignored; git config --global core.excludesFile '~/ignored'; mkdir scratch; echo s > scratch/n; echo y >> README.md",
        "git config core.fileMode false; chmod 755 cfg.ini; echo y >> README.md",
    ] {
        expect(&seed, script, "M README.md").await;
    }
}

#[tokio::test]
async fn files_that_git_is_told_to_take_are_taken() {
    for (script, changes) in [
        ("echo x > keep.log; git add -f keep.log", "A keep.log"),
        ("echo x > keep.log; git add -f keep.log; echo y >> keep.log", "A keep.log"),
        ("echo x > keep.log; git add -f -N keep.log", "A keep.log"),
        ("echo x > new.txt; git add -N new.txt", "A new.txt"),
        ("chmod 755 README.md", "M README.md"),
        ("git mv README.md READ.md", "A READ.md, D README.md"),
    ] {
        expect(":", script, changes).await;
    }
}

#[tokio::test]
async fn a_file_that_nobody_changed_is_not_published() {
    let crlf = "printf 'a\\r\\nb\\r\\n' > win.txt; git add -A; git commit -qm One; echo '*.txt text' > .gitattributes; \
        git add .gitattributes; git commit -qm Two";
    let touch = "touch win.txt; echo y >> README.md";
    for script in [
        "echo y >> README.md",
        touch,
        "cp win.txt w; rm win.txt; mv w win.txt; echo y >> README.md",
        "git stash -q 2>/dev/null; echo y >> README.md",
        "echo y >> README.md; git add README.md; git commit -qm x; touch win.txt",
        // As the agents do it, moments after the checkout.
        "echo y >> README.md; git add -A; git commit -qm x",
    ] {
        expect(crlf, script, "M README.md").await;
    }
    let (world, _) = expect(crlf, "printf 'a\\r\\nB\\r\\n' > win.txt", "M win.txt").await;
    assert_eq!(show(&world, "win.txt"), "a\nB");
    expect(crlf, "git add --renormalize .", "M win.txt").await;

    let world = seeded(crlf).await;
    let report = run(&world, "touch win.txt").await;
    assert_eq!((report.status, report.commit_hash), (Outcome::Success, None));

    // Attributes that the agent adds concern what it writes, not what was there.
    let crlf = "printf 'a\\r\\nb\\r\\n' > win.txt; git add -A; git commit -qm One";
    expect(crlf, "echo '*.txt text' > .gitattributes; touch win.txt", "A .gitattributes").await;
}

#[tokio::test]
async fn a_filter_that_only_the_agent_has_changes_nothing() {
    let seed = format!("echo '*.x filter=f' > .gitattributes; echo abc > a.x; {COMMIT_ALL}");
    let script = "git config filter.f.smudge 'tr a-z A-Z'; git config filter.f.clean 'tr A-Z a-z'; \
        rm a.x; git checkout -q a.x; touch -d '5 seconds ago' a.x; git status -s; echo y >> README.md";
    expect(&seed, script, "M README.md").await;
}

#[tokio::test]
async fn a_file_that_git_cannot_store_is_left_out_and_named() {
    let seed = "echo '*.rc text working-tree-encoding=UTF-16' > .gitattributes; git add -A; git commit -qm One; \
        printf 'IDD 1\\n' | iconv -f UTF-8 -t UTF-16 > a.rc; git add a.rc; git commit -qm Two";
    let (_, report) = expect(seed, "echo IDD_NEW 7 > a.rc; echo y >> README.md", "M README.md").await;
    assert!(remark(&report, "not_storable").starts_with("a.rc was left out"), "{:?}", report.remarks);
}

#[tokio::test]
async fn an_odd_name_is_left_out_and_named() {
    let script = "mkdir -p \"$(printf '.g\\342\\200\\214it')\"; echo x > \"$(printf '.g\\342\\200\\214it')/config\"; echo y >> README.md";
    let (_, report) = expect(":", script, "M README.md").await;
    let text = remark(&report, "odd_name");
    assert!(text.starts_with(".git/config was left out"), "no invisible character in {text:?}");
}

#[tokio::test]
async fn a_git_lfs_pointer_is_never_replaced_by_content() {
    let pointer = "version https://git-lfs.github.com/spec/v1\\noid sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\\nsize 6\\n";
    let seed = format!(
        "echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes; printf '{pointer}' > model.bin; {COMMIT_ALL}"
    );
    for (script, named) in [
        ("echo a new model > model.bin; echo y >> README.md", "model.bin"),
        ("echo a new model > model.bin; echo y >> README.md; git add -A; git commit -qm x", "model.bin"),
        ("echo new > other.bin; echo y >> README.md", "other.bin"),
    ] {
        let (world, report) = expect(&seed, script, "M README.md").await;
        assert!(remark(&report, "lfs").starts_with(&format!("{named} was left out")), "{:?}", report.remarks);
        let history = world.on_server(&["log", "--format=%H", &format!("main..{BRANCH}"), "--", "*.bin"]);
        assert_eq!(history, "", "the content is in the history");
    }
    // What the pointer stands for was only downloaded; and a pointer may move.
    let (_, report) = expect(&seed, "echo hello > model.bin; echo y >> README.md", "M README.md").await;
    assert_eq!(report.remarks, []);
    expect(&seed, "git mv model.bin moved.bin", "D model.bin, A moved.bin").await;
}

#[tokio::test]
async fn what_is_odd_in_the_base_already_stops_nothing() {
    let seed = format!(
        "printf '[submodule \"lib\"]\\n\\tpath = lib\\n\\turl = https://github.com:acme/lib.git\\n' > .gitmodules; {COMMIT_ALL}"
    );
    expect(&seed, "echo y >> README.md", "M README.md").await;
    expect(&seed, "echo y >> README.md; git commit -qam x", "M README.md").await;
    expect(&seed, "echo '# x' >> .gitmodules", "M .gitmodules").await;
}

/// Makes `$SUB`, a repository to be used as a submodule, and allows its address.
const SUBMODULE: &str = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=protocol.file.allow GIT_CONFIG_VALUE_0=always; SUB=$OPEN/sub.git; \
    if [ ! -d $SUB ]; then git init -q $OPEN/sub-files; cd $OPEN/sub-files; echo s > s; git add s; \
    git -c user.name=x -c user.email=x commit -qm Sub; cd - > /dev/null; git clone -q --bare $OPEN/sub-files $SUB; fi";

async fn with_submodule() -> World {
    let world = World::new().await;
    let open = world.open().display().to_string();
    let script = format!(
        "set -e; export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null\n{}\n\
         git submodule --quiet add file://$SUB libs/sub; git -c user.name=x -c user.email=x commit -qm Sub; git push -q '{}' HEAD:main",
        SUBMODULE.replace("$OPEN", &open),
        world.bare().display()
    );
    let seed = world.folder.path().join("seed");
    let output = std::process::Command::new("sh").args(["-c", &script]).current_dir(seed).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world
}

#[tokio::test]
async fn submodules_can_be_removed_moved_added_replaced_and_advanced() {
    let tree = |world: &World| {
        let listing = world.on_server(&["ls-tree", "-r", "--format=%(objectmode) %(path)", BRANCH]);
        listing
            .lines()
            .filter(|line| line.contains("lib") || line.contains("vendor"))
            .filter(|line| !line.contains("src/"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (script, expected) in [
        ("git rm -qf libs/sub", ""),
        ("rm -rf libs/sub; git rm -q --cached libs/sub; rm .gitmodules", ""),
        ("git rm -qf libs/sub; git commit -qm x", ""),
        ("git mv libs/sub libs/moved", "160000 libs/moved"),
        ("git submodule --quiet add file://$SUB vendor/s", "160000 libs/sub, 160000 vendor/s"),
        (
            "git submodule --quiet add file://$SUB vendor/s; git commit -qm x",
            "160000 libs/sub, 160000 vendor/s",
        ),
        ("rm -rf libs/sub; mkdir -p libs/sub; echo plain > libs/sub/f", "100644 libs/sub/f"),
        ("git submodule --quiet update --init; echo y >> README.md", "160000 libs/sub"),
    ] {
        let world = with_submodule().await;
        let report = run(&world, &format!("{SUBMODULE}\n{script}")).await;
        assert_eq!(report.status, Outcome::Success, "{script}: {:?}", report.error);
        assert_eq!(tree(&world), expected, "{script}: {:?}\n{:#?}", report.remarks, world.lines());
    }
}

#[tokio::test]
async fn a_submodule_advances_only_to_a_commit_that_its_server_has() {
    let advance = "git submodule --quiet update --init; cd libs/sub; git -c user.name=x -c user.email=x commit -q --allow-empty -m More";
    for (script, moves) in [
        (format!("{advance}; cd ../..; echo y >> README.md"), false),
        (format!("{advance}; git push -q origin HEAD:more; cd ../.."), true),
    ] {
        let world = with_submodule().await;
        let report = run(&world, &format!("{SUBMODULE}\n{script}")).await;
        assert_eq!(report.status, Outcome::Success, "{script}: {:?}", report.error);
        let same = world.on_server(&["rev-parse", &format!("{BRANCH}:libs/sub")])
            == world.on_server(&["rev-parse", "main:libs/sub"]);
        assert_eq!(same, !moves, "{script}");
        if !moves {
            assert!(remark(&report, "submodule_commit").starts_with("libs/sub stays at its commit"));
        }
    }
}

#[tokio::test]
async fn a_repository_within_the_repository_is_left_out_and_named() {
    let clone = "git init -q inner; cd inner; echo i > i; git add i; git commit -qm Inner; cd ..";
    for script in [
        format!("{clone}; echo y >> README.md"),
        format!("{clone}; echo y >> README.md; git add -A 2>/dev/null; git commit -qm x"),
        "git worktree add -q -b w .claude/worktrees/one; echo y >> README.md".to_owned(),
        "git worktree add -q -b w .claude/worktrees/one; echo y >> README.md; git add -A 2>/dev/null; git commit -qm x".to_owned(),
    ] {
        let (_, report) = expect(":", &script, "M README.md").await;
        let text = remark(&report, "nested_repository");
        assert!(text.starts_with("inner was left out") || text.starts_with(".claude/worktrees/one was left out"), "{text}");
    }
    let ignored = format!("echo inner > .gitignore; {clone}");
    let (_, report) = expect(":", &ignored, "M .gitignore").await;
    assert_eq!(report.remarks, []);
}

#[tokio::test]
async fn work_that_is_not_checked_out_is_published_when_there_is_no_other() {
    for (script, place) in [
        (
            "git checkout -qb fix/1; echo 2 >> README.md; git commit -qam x; git checkout -q -",
            "the branch fix/1",
        ),
        ("echo 2 >> README.md; git stash -q", "the stash"),
        ("echo 2 >> README.md; git add -A; git stash -q --include-untracked", "the stash"),
        (
            "git worktree add -q -b w .claude/worktrees/one; echo fix >> .claude/worktrees/one/README.md",
            "the worktree .claude/worktrees/one",
        ),
        (
            "git worktree add -q -b w .claude/worktrees/one; echo fix >> .claude/worktrees/one/README.md; git add -A 2>/dev/null; git commit -qm x",
            "the worktree .claude/worktrees/one",
        ),
        ("git worktree add -q -b w $OPEN/wt; cd $OPEN/wt; echo fix >> README.md; git commit -qam x", "/wt"),
    ] {
        let (_, report) = expect(":", script, "M README.md").await;
        assert!(remark(&report, "work_elsewhere").contains(place), "{script}: {:?}", report.remarks);
    }
    let (_, report) = expect(":", "echo n > new; git stash -q --include-untracked", "A new").await;
    assert!(remark(&report, "work_elsewhere").contains("the stash"));
}

#[tokio::test]
async fn work_that_is_not_checked_out_is_named_beside_other_work() {
    let script = "git checkout -qb fix/1; echo 2 >> src/lib.txt; git commit -qam x; git checkout -q -; echo s > s; git stash -qu; echo y >> README.md";
    let (_, report) = expect(":", script, "M README.md").await;
    let text = remark(&report, "work_elsewhere");
    assert!(text.contains("the branch fix/1") && text.contains("the stash"), "{text}");

    // A branch that is part of the work is none of it.
    let script = "git checkout -qb fix/1; echo y >> README.md; git commit -qam x";
    let (_, report) = expect(":", script, "M README.md").await;
    assert_eq!(report.remarks, []);
}

#[tokio::test]
async fn an_unfinished_operation_is_no_success_and_names_its_files() {
    let two = "git checkout -qb other; echo theirs > README.md; git commit -qam Theirs; git checkout -q -; echo mine > README.md; git commit -qam Mine";
    let named = "Files with conflicts: README.md.";
    for (script, operation, files) in [
        (format!("{two}; git merge other"), "merge", named),
        (format!("{two}; git merge other; git add -A"), "merge", named),
        (format!("{two}; git merge other; git add -A; git commit -qm Merged"), "merge", named),
        (format!("{two}; git rebase other"), "rebase", named),
        (format!("{two}; git rebase other; git add -A; GIT_EDITOR=true git rebase --continue"), "merge", named),
        (format!("{two}; git cherry-pick other"), "cherry-pick", named),
        (format!("{two}; git revert HEAD~1 --no-edit; git revert --no-edit other"), "revert", named),
        ("echo a > README.md; git stash -q; echo b > README.md; git commit -qam b; git stash pop".to_owned(), "merge", named),
        ("echo a > README.md; git stash -q; echo b > README.md; git commit -qam b; git stash pop; git add -A; git commit -qm x; git stash drop -q".to_owned(), "merge", named),
        ("echo y >> README.md; git commit -qam y; git bisect start -q".to_owned(), "bisect", ""),
    ] {
        let world = World::new().await;
        let report = run(&world, &format!("{script} > $OPEN/log 2>&1")).await;
        assert_eq!(
            (report.status, report.failure_stage, report.failure_reason.as_deref()),
            (Outcome::Failed, Some(FailureStage::Agent), Some("unfinished_merge")),
            "{script}: {:?}\n{:#?}",
            report.error,
            world.lines()
        );
        let error = report.error.unwrap();
        assert!(error.contains(&format!("unfinished {operation}")) && error.contains(files), "{script}: {error}");
        assert_eq!(report.commit_hash.unwrap_or_default(), world.on_server(&["rev-parse", BRANCH]), "{script}");
        assert!(!world.on_server(&["rev-parse", "--verify", "--quiet", BRANCH]).is_empty(), "{script}");
    }
}

#[tokio::test]
async fn a_finished_merge_and_a_text_about_conflicts_are_success() {
    let markers = "printf '<<<<<<< HEAD\\na\\n=======\\nb\\n>>>>>>> other\\n'";
    expect(":", &format!("{markers} > docs.md"), "A docs.md").await;
    let seed = format!("{markers} > docs.md; {COMMIT_ALL}");
    let merge = "git checkout -qb other; echo t > t; git add t; git commit -qm T; git checkout -q -; echo m > m; git add m; git commit -qm M; \
        git merge -q -m Merged other; echo more >> docs.md";
    expect(&seed, merge, "M docs.md, A m, A t").await;
}

#[tokio::test]
async fn installed_dependencies_are_left_out_and_named() {
    let venv = "mkdir -p venv/lib; seq 300 | while read i; do echo $i > venv/lib/$i.py; done; touch venv/pyvenv.cfg; echo y >> README.md";
    let modules = "mkdir -p web/node_modules/x/node_modules/y; echo 1 > web/node_modules/x/node_modules/y/i.js; echo y >> README.md";
    for (script, folder) in [
        (venv.to_owned(), "venv"),
        (modules.to_owned(), "web/node_modules"),
        (format!("{venv}; git add -A; git commit -qm x"), "venv"),
        (format!("{modules}; git add -A"), "web/node_modules"),
    ] {
        let (world, report) = expect(":", &script, "M README.md").await;
        assert!(
            remark(&report, "dependencies").starts_with(&format!("{folder} was left out")),
            "{:?}",
            report.remarks
        );
        let log = world.on_server(&["log", "--format=%H", &format!("main..{BRANCH}"), "--", folder]);
        assert_eq!(log, "", "{folder} is in the history");
    }
    // Those of the repository itself are part of it, as is one that is added in spite of the ignore rules.
    let seed = format!("mkdir -p node_modules/x; echo 1 > node_modules/x/i.js; {COMMIT_ALL}");
    expect(
        &seed,
        "echo 2 > node_modules/x/i.js; echo 3 > node_modules/x/j.js",
        "M node_modules/x/i.js, A node_modules/x/j.js",
    )
    .await;
    let seed = format!("echo node_modules > .gitignore; {COMMIT_ALL}");
    let (_, report) = expect(&seed, modules, "M README.md").await;
    assert_eq!(report.remarks, []);
    expect(
        &seed,
        "mkdir node_modules; echo 1 > node_modules/i.js; git add -f node_modules",
        "A node_modules/i.js",
    )
    .await;
}

#[tokio::test]
async fn a_large_file_is_left_out_wherever_it_is() {
    for script in [
        "truncate -s 105M data.bin; echo two >> README.md",
        "truncate -s 105M data.bin; echo two >> README.md; git add -A; git commit -qm wip",
    ] {
        let (world, report) = expect(":", script, "M README.md").await;
        assert_eq!(remark(&report, "too_large"), "data.bin was left out: GitHub takes no file over 100 MiB.");
        let log = world.on_server(&["log", "--format=%H", &format!("main..{BRANCH}"), "--", "data.bin"]);
        assert_eq!(log, "");
    }
}

#[tokio::test]
async fn nothing_of_this_depends_on_whose_process_the_agent_is() {
    for mode in Mode::available() {
        let world = seeded(&format!("mkdir a b; echo 1 > a/f; echo 1 > b/f; {COMMIT_ALL}")).await;
        world.claude(&format!(
            "git sparse-checkout set a; echo 2 > a/f; git init -q inner; cd inner; echo i > i; git add i; git {AS_SOMEBODY} commit -qm I; cd ..; touch README.md\n{GOOD_END}"
        ));
        let (report, _) = world.run(&mut world.worker(mode, "claude", "x")).await;
        assert_eq!(report.status, Outcome::Success, "{mode:?}: {:?}", report.error);
        assert_eq!(changed(&world), "M a/f", "{mode:?}: {:#?}", world.lines());
        assert!(remark(&report, "nested_repository").starts_with("inner"), "{mode:?}");
    }
}
