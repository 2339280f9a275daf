#!/bin/sh
# What a machine runs: one attempt at one task, as root; the worker itself hands the agent to the user `agent`.
# `exec`, so that the machine's stop signal reaches the worker and its exit code is the machine's.
exec porter worker
