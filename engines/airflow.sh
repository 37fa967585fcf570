#!/bin/sh
# Runs Airflow over dags/, from a virtual environment of its own under .cache/ that it
# sets up where that has not been done (2.2 GB, a minute or two):
#   engines/airflow.sh dags test clipseed_daily 2026-01-02 --conf '{"seeds": ...}'
# `engines/airflow.sh` alone sets up and says so. Airflow's database and logs lie in
# $AIRFLOW_HOME, .cache/airflow_home unless told otherwise.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3.11}
venv=$root/.cache/airflow
lock=$root/engines/airflow.lock
if ! cksum <"$lock" | cmp -s - "$venv/lock.cksum"; then
    echo "Setting up $venv (a minute or two, once) ..." >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    "$root/requirements/install.sh" "$venv" "$lock"
    cksum <"$lock" >"$venv/lock.cksum"
fi
export AIRFLOW_HOME="${AIRFLOW_HOME:-$root/.cache/airflow_home}"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT=300 # The first reading compiles modules.
if [ ! -e "$AIRFLOW_HOME/airflow.db" ]; then
    "$venv/bin/airflow" db migrate >&2
fi
if [ $# = 0 ]; then
    exec "$venv/bin/airflow" version
fi
exec "$venv/bin/airflow" "$@"
