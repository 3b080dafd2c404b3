#!/bin/sh
# Every OpenCL call that the libraries import is one that the fault layer can fail.
# Usage: coverage.sh LAYER LIBRARY...
layer=$1
shift
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
nm "$layer" | sed -n 's/.* t my_\(cl[A-Za-z]*\)$/\1/p' | sort >"$log"
missing=$(nm -D --undefined-only "$@" | sed -n 's/^ *U \(cl[A-Z][A-Za-z]*\).*/\1/p' | sort -u |
    comm -23 - "$log")
echo "$(wc -l <"$log") calls in the layer; imported and not among them: ${missing:-none}"
[ -s "$log" ] && [ -z "$missing" ]
