#!/bin/bash
# Runs a command on a node of its own of a Ray, as Ray wants its driver on one, without processors:
#
#   in_ray.sh HOST:PORT COMMAND ...
#
# The node is taken out in order: one that just vanishes is told to whoever drives Ray next as a crash.
set -uo pipefail

address=$1
shift
if [[ ! ${WORKER_CPUS:-1} =~ ^[1-9][0-9]*$ ]]; then # such workers begin again and again, and say why in their logs alone
    echo "WORKER_CPUS=$WORKER_CPUS is no number of cores, as 4 is: mend it in .env, then docker compose up --detach" >&2
    exit 2
fi
if ! said=$(env --unset=HISTOTUNE_STORAGE --unset=PGPASSWORD \
    ray start --address="$address" --num-cpus=0 --num-gpus=0 --object-store-memory=200000000 2>&1); then
    reason=$(grep . <<<"$said" | tail -n 1)
    echo "Ray at $address cannot be joined: ${reason%%. *}" >&2
    exit 1
fi

set -m # a group of its own: a Ctrl-C in the terminal reaches the command once, by what follows
"$@" &
command=$!
for signal in INT TERM HUP; do
    # shellcheck disable=SC2064 # the signal's name is meant now
    trap "kill -$signal $command" "$signal"
done
code=0
while kill -0 "$command" 2>/dev/null; do # a signal ends the waiting, not yet the command
    wait "$command"
    code=$?
done
ray stop >/dev/null 2>&1
exit "$code"
