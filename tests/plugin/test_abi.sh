#!/bin/sh
# Compares the ABI with its description in tests/data/abi, both as abidw sees it. Additions are allowed;
# whatever else changed breaks host programs that exist.
# Usage: test_abi.sh SOURCE_DIR BUILD_DIR [--write]   (--write: describe today's ABI after an addition)
source=$1
build=$2
data=$source/tests/data/abi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Numbers that version 1.0 gave to statuses, types and kinds are theirs for ever.
cat >"$work/values.c" <<'END'
#include "oclora_types.h"
#include <stdio.h>
#define KEPT(prefix, name, code) \
    printf("_Static_assert(OCLORA_" prefix #name " == %d, \"" #name "\");\n", code);
#define STATUS(name, code, text) KEPT("", name, code)
#define TYPE(name, code, text, elements, bytes) KEPT("TYPE_", name, code)
#define KIND(name, code, text) KEPT("KIND_", name, code)
int main(void)
{
    puts("#include \"oclora_types.h\"");
    OCLORA_STATUS_MAP(STATUS) OCLORA_TYPE_MAP(TYPE) OCLORA_KIND_MAP(KIND)
    return 0;
}
END
cc -std=c11 -I"$source/tests/plugin/v1/abi" -o "$work/values" "$work/values.c" || exit 1
"$work/values" >"$work/kept.c"
cc -std=c11 -I"$source/abi" -fsyntax-only "$work/kept.c" || exit 1
echo "$(grep -c OCLORA "$work/kept.c") numbers of version 1.0 kept"

command -v abidw >/dev/null && command -v abidiff >/dev/null || {
    echo "skipped: no abidw (Debian package abigail-tools)"
    exit 77
}

# describe LIBRARY NAME
describe()
{
    abidw --exported-interfaces-only --no-corpus-path --no-show-locs --no-comp-dir-path --no-elf-needed \
        --type-id-style hash --out-file "$work/$2" "$1" || exit 1
}

# The ggml plugin gives its control table to whoever asks its registry: no exported symbol leads to it.
cat >"$work/table.c" <<'END'
#include "oclora_ggml.h"
const oclora_ggml_api *oclora_ggml_get_api(uint32_t major);
const oclora_ggml_api *oclora_ggml_get_api(uint32_t major)
{
    return major == 0 ? 0 : (const oclora_ggml_api *)1;
}
END
cc -std=c11 -g -shared -fPIC -I"$source/abi" -Wl,-soname,table -o "$work/table.so" "$work/table.c" || exit 1
(cd "$build/lib" && describe liboclora.so oclora.abi) || exit 1
describe "$work/table.so" oclora_ggml.abi
grep -q "'oclora_linear_args'" "$work/oclora.abi" || {
    echo "skipped: $build/lib/liboclora.so was built without debug information"
    exit 77
}
if [ "$3" = --write ]; then
    mkdir -p "$data" && cp "$work/oclora.abi" "$work/oclora_ggml.abi" "$data/"
    exit
fi

failed=0
for name in oclora.abi oclora_ggml.abi; do
    if abidiff "$data/$name" "$work/$name" >"$work/report"; then
        echo "$name: unchanged"
    elif python3 "$source/tests/plugin/abi_compare.py" "$data/$name" "$work/$name"; then
        echo "$name: only additions; describe them with tests/plugin/test_abi.sh $source $build --write"
    else
        cat "$work/report"
        failed=1
    fi
done

# The comparison itself: what it must let pass and what it must find.
python3 "$source/tests/plugin/abi_compare.py" --selftest "$source/abi" || failed=1
exit $failed
