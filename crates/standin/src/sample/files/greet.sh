#!/bin/sh
# Greets the person named by the first argument.
printf 'Hello, %s!\n' "$1"
