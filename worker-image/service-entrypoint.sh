#!/bin/sh
# Runs `porter "$@"` as the user `porter`. A freshly attached volume belongs to root, and so does what an
# administrator made in a root console: handed over first. Started as another user already
# (`docker run --user`), there is nothing to hand over.
set -eu
if [ "$(id -u)" -eq 0 ]; then
    chown -R porter:porter /data
    exec setpriv --reuid porter --regid porter --clear-groups porter "$@"
fi
exec porter "$@"
