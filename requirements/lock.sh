#!/bin/sh
# Writes the locks of this folder from pyproject.toml, and that of engines/airflow.in:
#   requirements/lock.sh              keeps the versions that are locked, where they fit
#   requirements/lock.sh --upgrade    takes the newest that fit
# dev.lock holds everything; the others take their versions from it.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
export UV_CUSTOM_COMPILE_COMMAND=requirements/lock.sh
compile() {
    uv pip compile -q --system-certs --python-version 3.11 --generate-hashes \
        --no-annotate "$@"
}
dev=requirements/dev.lock
compile pyproject.toml --extra dev -o "$dev" "$@"
for extra in mine serve train; do
    compile pyproject.toml --extra "$extra" -c "$dev" -o "requirements/$extra.lock"
done
compile pyproject.toml -c "$dev" -o requirements/read.lock
echo uv | compile - -c "$dev" -o requirements/uv.lock

# What workers with an accelerator need besides mine.lock (see Dockerfile).
accelerator() { # NAME REQUIREMENT...
    name=$1
    shift
    held=$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements/mine.lock)
    # shellcheck disable=SC2086  # the words of $held are arguments
    printf '%s\n' "$@" | compile - -c "$dev" $held -o "requirements/$name.lock"
}
version() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$dev"; }
accelerator cuda "tensorflow[and-cuda]==$(version tensorflow)" \
    "jax[cuda12]==$(version jax)"
accelerator tpu "jax[tpu]==$(version jax)"

compile engines/airflow.in -o engines/airflow.lock "$@"
