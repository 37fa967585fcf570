#!/bin/sh
# Makes a virtual environment hold what a lock names, and nothing else:
#   requirements/install.sh VENV LOCK
# Nothing is resolved: locks are complete. (pip before 23.3 would look an extra's
# package up in its newest version, and fail as soon as that is not the locked one.)
# uv, itself locked, takes 20 s where pip takes 90; pip serves where uv cannot, as with
# an index that only pip's configuration names.
set -eu
venv=$1 lock=$2
by_pip() {
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile \
        --no-deps --require-hashes -r "$1"
}
[ -x "$venv/bin/uv" ] || by_pip "$(dirname "$0")/uv.lock" || true
if [ -x "$venv/bin/uv" ] && "$venv/bin/uv" pip sync -q --system-certs \
    --python "$venv/bin/python" --require-hashes "$lock"; then
    exit
fi
echo "uv could not install $lock; trying pip ..." >&2
by_pip "$lock"
