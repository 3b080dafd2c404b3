#!/bin/sh
# run.sh PROGRAM: the program must pass with device memory that holds NaNs and with one that holds
# large numbers, and read back the same bits as with zeros.
set -u
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for poison in 0 255 127; do
    OCLORA_POISON=$poison "$program" > "$work/$poison" 2>&1
    code=$?
    [ $code -eq 77 ] && exit 77
    if [ $code -ne 0 ]; then
        echo "failed under poison $poison:"
        grep -v '^ok\|^run' "$work/$poison" | tail -n 20
        exit 1
    fi
    grep '^digest' "$work/$poison" > "$work/digest.$poison"
    grep '^poisoned' "$work/$poison"
done
cat "$work/digest.0"
for poison in 255 127; do
    cmp -s "$work/digest.0" "$work/digest.$poison" && continue
    echo "other bits under poison $poison: $(cat "$work/digest.$poison")"
    exit 1
done
test -s "$work/digest.0"
