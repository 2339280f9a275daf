//! Repositories prepared against the worker. Every trap, when it runs anywhere, leaves a mark that tells who
//! ran it and with what environment.

use domain::report::Outcome;
use futures_util::{StreamExt as _, stream};

use super::world::{BRANCH, CALLBACK_TOKEN, GITHUB_TOKEN, GOOD_END, Mode, World};

/// Makes `$TRAP`: a program that leaves a mark, and otherwise passes its input on.
const MAKE_TRAP: &str = "cat > $OPEN/trap <<'TRAP'\n#!/bin/sh\n{ id; env; cat /proc/$PPID/environ; } >> $OPEN/mark 2>&1\ncat\nTRAP\n\
    chmod 755 $OPEN/trap; TRAP=$OPEN/trap";

/// Runs an agent that does `script`; gives the world afterwards, with the branch pushed.
async fn after(mode: Mode, script: &str) -> World {
    let world = World::new().await;
    world.claude(&format!("{MAKE_TRAP}\n{script}\n{GOOD_END}"));
    let (report, code) = world.run(&mut world.worker(mode, "claude", "## Task\nx")).await;
    let lines = world.lines();
    assert_eq!(
        (report.status, code),
        (Outcome::Success, 0),
        "{script} in {mode:?}: {:?}\n{lines:#?}",
        report.error
    );
    let pushed = world.on_server(&["rev-parse", "--verify", "--quiet", BRANCH]);
    assert_eq!(report.commit_hash.unwrap_or_default(), pushed, "{script}");
    assert!(!pushed.is_empty(), "{script} in {mode:?} pushed nothing\n{lines:#?}");
    let mark = world.open().join("mark");
    assert!(!mark.exists(), "{script} in {mode:?} ran the trap:\n{}", std::fs::read_to_string(mark).unwrap());
    world.on_server(&["fsck", "--strict"]);
    world
}

fn show(world: &World, path: &str) -> String {
    world.on_server(&["show", &format!("{BRANCH}:{path}")])
}

#[tokio::test]
async fn nothing_in_the_agents_git_configuration_runs() {
    let traps = "for hook in pre-commit commit-msg post-commit pre-push post-index-change reference-transaction; do\n\
        mkdir -p .git/hooks hooks; cp $TRAP .git/hooks/$hook; cp $TRAP hooks/$hook; done\n\
        echo '* filter=evil diff=evil merge=evil' > .gitattributes; mkdir -p .git/info; cp .gitattributes .git/info/attributes\n\
        for key in core.fsmonitor core.sshCommand core.editor core.pager core.askPass core.gitProxy core.alternateRefsCommand \
            diff.external gpg.program credential.helper uploadpack.packObjectsHook filter.evil.clean filter.evil.smudge \
            filter.evil.process diff.evil.command diff.evil.textconv merge.evil.driver remote.origin.receivepack \
            remote.origin.uploadpack trailer.x.command sequence.editor; do git config $key $TRAP; done\n\
        git config core.hooksPath $PWD/hooks; git config commit.gpgSign true; git config push.gpgSign true\n\
        git config alias.commit-tree \"!$TRAP\"; git config alias.push \"!$TRAP\"\n\
        git config url.ext::$TRAP.insteadOf http; git config remote.pushDefault evil; git config core.worktree /etc\n\
        git config http.proxy http://127.0.0.1:9; git config include.path $OPEN/more; echo '[core]' > $OPEN/more\n\
        rm -f $OPEN/mark; echo changed > README.md";
    for mode in Mode::available() {
        let world = after(mode, traps).await;
        assert_eq!(show(&world, "README.md"), "changed");
    }
}

#[tokio::test]
async fn the_git_folder_may_be_anything() {
    let scripts = [
        "rm -rf .git",
        "rm -rf .git; echo 'gitdir: /etc' > .git",
        "rm -rf .git; echo garbage > .git",
        "mv .git $OPEN/moved; ln -s $OPEN/moved .git",
        "rm -rf .git; ln -s / .git",
        "rm -rf .git; mkfifo .git",
        "echo garbage > .git/config",
        "echo garbage > .git/index; echo garbage > .git/HEAD",
        "echo /etc > .git/objects/info/alternates; rm -rf .git/shallow",
        "git checkout -q --detach; git branch -q -D porter/task_1",
        "git update-ref -d HEAD",
        "git checkout -q --orphan other; git add -A; git -c user.name=x -c user.email=x commit -qm Rewritten",
        "git replace --graft HEAD; git -c user.name=x -c user.email=x commit -q --allow-empty -m More",
        "rm .git/config; mkfifo .git/config",
        "mkfifo $OPEN/pipe; rm .git/config; ln -s $OPEN/pipe .git/config",
        "rm .gitignore .git/index; mkfifo .gitignore .gitattributes .git/index src/.gitignore",
    ];
    let runs =
        scripts.into_iter().flat_map(|script| Mode::available().into_iter().map(move |mode| (script, mode)));
    let all = stream::iter(runs).map(|(script, mode)| async move {
        let world = after(mode, &format!("{script}\necho changed > README.md")).await;
        assert_eq!(show(&world, "README.md"), "changed", "{script}");
        assert_eq!(show(&world, "src/lib.txt"), "code", "{script}");
        let base = world.on_server(&["merge-base", "main", BRANCH]);
        assert_eq!(base, world.on_server(&["rev-parse", "main"]), "{script}: the branch left its base");
    });
    all.buffer_unordered(8).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn links_are_recorded_and_never_followed() {
    for mode in Mode::available() {
        let script = "ln -s /etc/passwd link; rm -rf src; ln -s /etc src; ln -s ../../.. up; mkfifo pipe; rm README.md; mkfifo README.md";
        let world = after(mode, script).await;
        let tree = world.on_server(&["ls-tree", "-r", "--format=%(objectmode) %(path)", BRANCH]);
        assert_eq!(tree, "100644 .gitignore\n120000 link\n120000 src\n120000 up");
        assert_eq!(show(&world, "link"), "/etc/passwd");
    }
}

#[tokio::test]
async fn a_repository_within_the_repository_runs_nothing() {
    let script = "mkdir -p vendor/lib 'odd [name]'; for dir in vendor/lib 'odd [name]'; do cd \"$dir\"; git init -q; \
        git config core.fsmonitor $TRAP; echo '* filter=evil' > .gitattributes; git config filter.evil.clean $TRAP; \
        echo inner > inner.txt; cp $TRAP .git/hooks/pre-commit 2>/dev/null; cd - >/dev/null; done\n\
        cd vendor/lib; git config core.fsmonitor false; git -c filter.evil.clean=cat add -A; \
        git -c filter.evil.clean=cat -c user.name=x -c user.email=x commit -qm Inner --no-verify; git config core.fsmonitor $TRAP; cd ../..\n\
        mkdir .GIT 'src/.Git'; touch .GIT/config src/.Git/config; rm -f $OPEN/mark";
    for mode in Mode::available() {
        let world = after(mode, script).await;
        // One without a commit is a folder like others; one with commits cannot be part of this repository.
        assert_eq!(show(&world, "odd [name]/inner.txt"), "inner");
        assert!(
            world.lines().iter().any(|line| line.starts_with("vendor/lib was left out")),
            "{:?}",
            world.lines()
        );
        let tree = world.on_server(&["ls-tree", "-r", "--name-only", BRANCH]);
        assert!(!tree.to_lowercase().contains(".git/") && !tree.contains("160000"), "{tree}");
    }
}

#[tokio::test]
async fn a_submodule_stays_at_the_commit_it_was_at() {
    let commit = "0123456789012345678901234567890123456789";
    let script = format!(
        "printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = https://example.com/sub\\n' > .gitmodules; git add .gitmodules; \
         git update-index --add --cacheinfo 160000,{commit},sub; \
         git -c user.name=x -c user.email=x commit -qm 'Add a submodule'; mkdir -p sub; cd sub; git init -q; \
         git config core.fsmonitor $TRAP; echo inner > inner.txt; cd ..; rm -f $OPEN/mark; echo changed > README.md"
    );
    for mode in Mode::available() {
        let world = after(mode, &script).await;
        assert_eq!(world.on_server(&["rev-parse", &format!("{BRANCH}:sub")]), commit);
        assert_eq!(show(&world, "README.md"), "changed");
    }
}

#[tokio::test]
async fn a_file_that_github_would_refuse_is_left_out_and_named() {
    let world = after(Mode::SameUser, "truncate -s 105M big.bin; touch small.bin").await;
    let tree = world.on_server(&["ls-tree", "-r", "--name-only", BRANCH]);
    assert!(tree.contains("small.bin") && !tree.contains("big.bin"), "{tree}");
    assert!(world.lines().iter().any(|line| line.contains("big.bin was left out")), "{:?}", world.lines());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_does_not_spoil_the_rest() {
    for mode in Mode::available() {
        let world = after(mode, "echo a > locked; chmod 000 locked; mkdir shut; touch shut/x; chmod 000 shut; echo changed > README.md").await;
        assert_eq!(show(&world, "README.md"), "changed");
    }
}

#[tokio::test]
async fn the_agents_reach_holds_no_token() {
    // Everything below the attempt's folder, and the environment of every process it may look at.
    let script = "for file in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $file; done > $OPEN/seen 2>/dev/null\n\
        grep -rs . .. >> $OPEN/seen; ps -eo args >> $OPEN/seen 2>/dev/null; touch x";
    for mode in Mode::available() {
        // As root, one user can look at everything: that is why it is only for development.
        if mode == Mode::SameUser && nix::unistd::Uid::effective().is_root() {
            continue;
        }
        let world = after(mode, script).await;
        let seen = String::from_utf8_lossy(&std::fs::read(world.open().join("seen")).unwrap()).into_owned();
        assert!(seen.contains("ANTHROPIC_API_KEY="), "the agent could not even see itself");
        for secret in [GITHUB_TOKEN, CALLBACK_TOKEN] {
            assert!(!seen.contains(secret), "the agent saw {secret} in {mode:?}");
        }
    }
}

#[tokio::test]
async fn programs_the_agent_puts_in_the_way_are_not_used() {
    for mode in Mode::available() {
        let world = World::new().await;
        let bin = world.folder.path().join("bin");
        std::fs::set_permissions(&bin, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        world.claude(&format!(
            "{MAKE_TRAP}\nfor name in git find rm sh git-remote-http; do ln -s $TRAP {}/$name; done; echo changed > README.md\n{GOOD_END}",
            bin.display()
        ));
        let (report, _) = world.run(&mut world.worker(mode, "claude", "x")).await;
        assert_eq!(report.status, Outcome::Success, "{:?}", report.error);
        assert_eq!(show(&world, "README.md"), "changed");
        let mark = std::fs::read_to_string(world.open().join("mark")).unwrap_or_default();
        assert!(!mark.contains(GITHUB_TOKEN) && !mark.contains(CALLBACK_TOKEN), "{mode:?}: {mark}");
    }
}
