#!/usr/bin/env bash
# A worker program for the local runner and for `porter demo --worker worker-image/run-in-image.sh`: runs the worker
# in the image that `try.sh` has built, as a machine would, with this machine's network. Arguments are ignored: the
# image's entrypoint knows what to run.
#
# In:   the worker's environment (TASK_ID, REPO_URL, GITHUB_TOKEN, …, the agent's keys), as the worker itself would
#       get it. What describes this machine rather than the job is left out (`of_this_machine`); PROMPT_FILE is
#       shown to the container at the same path.
# Does: a container of its own from the image, with an empty /workspace, removed at the end. SIGTERM and SIGINT go to
#       the worker, and to nothing else, so that it can push and report; if this script is killed, all of it is.
# Exit: the worker's code.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=worker-image/store.sh
source "$root/worker-image/store.sh"

# Where this machine keeps things, which user it is, and the settings that the local runner makes for a worker
# without an image: the image has its own.
of_this_machine='^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|PWD|OLDPWD|SHLVL|_|BUILDAH_ISOLATION|PORTER_WORKSPACE|PORTER_AGENT_USER|PORTER_ALLOW_SAME_USER)$'

# The job's environment as shell commands. They reach the container through a pipe: neither the command line, which
# any process may read, nor a file ever carries a secret.
job() {
    local entry
    while IFS= read -r -d '' entry; do
        if [[ ${entry%%=*} =~ ^[A-Za-z_][A-Za-z0-9_]*$ && ! ${entry%%=*} =~ $of_this_machine ]]; then
            printf 'export %s=%q\n' "${entry%%=*}" "${entry#*=}"
        fi
    done < <(env --null)
}

# The first process below PID with the image as its root that is not `buildah-chroot-exec` itself: the worker.
# shellcheck disable=SC2317 # `stop` calls it
worker_below() {
    local pid=$1 program
    while pid=$(pgrep --oldest --parent "$pid"); do
        IFS= read -r -d '' program <"/proc/$pid/cmdline" || return 1
        if [[ $program != buildah* && ! /proc/$pid/root -ef / ]]; then
            echo "$pid"
            return 0 # without the 0, a trap returns what was there before it
        fi
    done
    return 1
}

# shellcheck disable=SC2317 # the trap calls it
# Hands a signal on. Before the worker is there nothing is worth keeping.
stop() {
    local worker
    if [[ -z ${!:-} ]]; then
        exit 143
    elif worker=$(worker_below "$!"); then
        kill -TERM "$worker"
    else
        kill -KILL "$!"
    fi
}

[[ -e $in_use ]] || { echo "there is no image yet: worker-image/try.sh" >&2 && exit 1; }
exec 9>"$in_use"
flock --shared 9
trap stop TERM INT
trap 'store rm "worker-$$" >/dev/null' EXIT
store from --pull-never --name "worker-$$" "$worker_image" >/dev/null 9>&-

mounts=()
if [[ -n ${PROMPT_FILE:-} ]]; then
    mounts=(--volume "$PROMPT_FILE:$PROMPT_FILE:ro")
fi

# A process namespace of its own, as on a machine: the worker sees only its own processes, and none outlives it. A
# session of its own keeps away what is sent to this script's process group, because buildah would die of it at once
# and take the worker along.
# shellcheck disable=SC2016 # for the shell in the container
job | setsid setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc \
    buildah "${store[@]}" run "${mounts[@]}" "worker-$$" -- \
    bash -c 'eval "$(cat)"; exec /usr/local/bin/entrypoint.sh </dev/null' 9>&- &

# A signal interrupts `wait`; only once the worker is gone does it answer with the worker's code.
while kill -0 "$!" 2>/dev/null; do
    wait "$!" || true
done
wait "$!"
