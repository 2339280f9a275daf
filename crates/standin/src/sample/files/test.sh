#!/bin/sh
# Runs greet.sh in every case it must handle; exits 1 when one of them fails.
cd "$(dirname "$0")" || exit 1
failed=0

# expect EXPECTED [ARGUMENT...]
expect() {
    expected=$1
    shift
    seen=$(sh ./greet.sh "$@")
    if [ "$seen" = "$expected" ]; then
        printf 'ok      greet.sh %s\n' "$*"
    else
        printf 'FAILED  greet.sh %s\n        expected: %s\n        seen:     %s\n' "$*" "$expected" "$seen"
        failed=1
    fi
}

expect 'Hello, Ada!' Ada
expect 'Hello, Grace Hopper!' 'Grace Hopper'
expect 'Hello, world!'
expect 'Hello, world!' ''

exit "$failed"
