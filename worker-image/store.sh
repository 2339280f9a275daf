# shellcheck shell=bash
# The image store of `try.sh` and `run-in-image.sh`, sourced by both: a store of its own inside target/, so that
# nothing is left in the machine's and `cargo clean` removes it. Buildah picks the storage driver (overlay where the
# kernel has it). Isolation `chroot` needs root, but no container runtime, no cgroups and no bridge network.
#
# In:  root          the repository
# Out: worker_image  the name of the image that try.sh leaves behind
#      store         buildah's options for that store;  store ARGS…  buildah with them
#      in_use        a file, locked (flock): exclusively by try.sh, which begins by removing all containers, and
#                    shared by each worker that runs

# shellcheck disable=SC2034 # worker_image and in_use are for the scripts that source this file
worker_image=localhost/porter-worker
store=(--root "${root:?}/target/worker-image/storage" --runroot "$root/target/worker-image/run")
in_use=$root/target/worker-image/in-use
export BUILDAH_ISOLATION=chroot
export TMPDIR=$root/target/worker-image/tmp

store() {
    buildah "${store[@]}" "$@"
}
