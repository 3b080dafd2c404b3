#!/bin/sh
# The rules between the layers (see design): who may include whom, what may be called, what is exported.
# Usage: test_layers.sh SOURCE_DIR BUILD_DIR. Each broken rule is printed with the line that breaks it.
source=$1
build=$2
cd "$source" || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# rule TEXT: whatever comes on stdin breaks it.
rule()
{
    found=$(cat)
    if [ -z "$found" ]; then
        echo kept >>"$log" # a pipe's end is a process of its own: no variable comes back
        return
    fi
    echo broken >>"$log"
    printf 'broken: %s\n%s\n' "$1" "$found" | head -20
}

# includes FOLDER...: "file:line:#include what" of all sources below.
includes() { grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.[ch]' --include='*.inc' "$@"; }

includes abi | grep -vE 'include (<stddef\.h>|<stdint\.h>|"oclora[a-z_]*\.h")' |
    rule 'abi/ includes only stddef.h, stdint.h and other abi/ headers'
includes host | grep -E '"(plugin|tests|tools)/' | rule 'host/ never includes plugin/, tests/ or tools/'
includes host | grep -E '"(abi/)?oclora' | grep -v '"abi/oclora_types.h"' |
    rule 'of abi/, host/ includes only oclora_types.h'
includes plugin | grep -E '[<"]CL/|host/core/cl\.h' | rule 'plugin/ includes no OpenCL header'
includes host | grep -E '[<"]CL/' | grep -v '^host/core/' | rule 'only host/core includes OpenCL'
includes host | grep 'host/core/cl\.h' | grep -v '^host/core/' |
    rule 'host/core/cl.h stays inside host/core'
includes host/core | grep '"host/' | grep -v '"host/core/' | rule 'host/core depends on nothing above it'
includes host/file host/batch | grep -E '"host/(base|op|graph|serve|adapter)/|core/(cl|context|stream|device)\.h' |
    rule 'files and batches build without a device'
includes host/adapter | grep -v '^host/adapter/pool' |
    grep -E '"host/(base|op|graph|serve|batch)/|core/(cl|context|stream|device)\.h|adapter/pool' |
    rule 'adapter files become terms without a device'
includes plugin/native | grep -E '"plugin/ggml|ggml' | rule 'plugin/native knows no ggml'
includes plugin/ggml | grep -E '"plugin/native|abi/oclora\.h' | rule 'plugin/ggml knows no native ABI'

grep -rnE '(^|[^a-zA-Z0-9_])(abort|exit|_exit|quick_exit|printf|vprintf|fprintf|puts|putchar|perror|assert)[[:space:]]*\(' \
    --include='*.[ch]' host plugin | grep -vE ':[[:space:]]*(/\*|\*|//)|_Static_assert' |
    rule 'no abort, exit or printf in host/ and plugin/'

# exports LIBRARY SYMBOL...
exports()
{
    library=$build/lib/$1
    shift
    [ -e "$library" ] || return
    want=$(printf '%s\n' "$@" | sort)
    have=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sort)
    [ "$want" = "$have" ] || printf '%s exports:\n%s\n' "$library" "$have"
}
exports liboclora.so oclora_get_api | rule 'liboclora.so exports one symbol'
exports libggml-oclora.so ggml_backend_init ggml_backend_score |
    rule 'libggml-oclora.so exports two symbols'

# Sanitizers keep data of their own in every object.
if ! nm "$build/liboclora_host.a" 2>/dev/null | grep -qE '__(asan|tsan|ubsan)'; then
    size -A "$build/liboclora_host.a" 2>/dev/null |
        awk '/\.o .*:$/ { file = $1 } ($1 == ".data" || $1 == ".bss") && $2 > 0 { print file, $1, $2 }' |
        rule 'no file-scope mutable state in host/'
    for library in liboclora.so libggml-oclora.so; do
        [ -e "$build/lib/$library" ] && nm -D --undefined-only "$build/lib/$library" |
            grep -wE 'abort|exit|_exit|printf|puts|perror|__assert_fail' | sed "s/^/$library: /"
    done | rule 'no library calls abort, exit or printf'
fi

find host plugin cl tools tests abi \( -name '*.c' -o -name '*.cl' -o -name '*.h' \) -exec wc -l {} + |
    awk '$2 != "total" && $1 > 400 { print "note: " $2 " has " $1 " lines (about 400 at most)" }'

echo "$(grep -c . "$log") rules, $(grep -c broken "$log") broken"
! grep -q broken "$log"
