#!/bin/sh
# Golden cases of another seed: written by tests/support/make_cases.py, served by PROGRAM.
# Usage: other_seeds.sh SOURCE_DIR BUILD_DIR PROGRAM SEED; exit status 77 where no Python has numpy.
set -eu
source_dir=$1 build_dir=$2 program=$3 seed=$4
cases=$build_dir/golden-seeds/$program-$seed
for python in "${OCLORA_PYTHON:-}" "${OCLORA_HOME:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/oclora}/venv/bin/python" \
    python3; do
    [ -n "$python" ] && "$python" -c 'import numpy' 2>/dev/null && break
    python=
done
if [ -z "$python" ]; then
    echo "skipped: no Python with numpy (tools/setup python makes one; \$OCLORA_PYTHON names another)"
    exit 77
fi
rm -rf "$cases"
mkdir -p "$cases"
"$python" "$source_dir/tests/support/make_cases.py" "$seed" "$cases"
exec "$build_dir/tests/$program" "$cases"
