#!/bin/sh
# Installs the library, moves the tree, and builds the client of version 1.0 against it from outside:
# once with CMake's package, once with pkg-config. With a llama.cpp also the ggml plugin and its header.
# Usage: test_install.sh SOURCE_DIR BUILD_DIR [LLAMA_DIR]
set -e
source=$1
build=$2
llama=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" --component native >"$work/log"
mv "$work/first" "$work/moved"
cp "$source/tests/plugin/client_v1.c" "$work/client.c"
cp "$source/tests/plugin/outside/CMakeLists.txt" "$work/"

cmake -S "$work" -B "$work/build" -DCLIENT="$work/client.c" -DCMAKE_PREFIX_PATH="$work/moved" \
    >>"$work/log" || { cat "$work/log"; exit 1; }
cmake --build "$work/build" >>"$work/log"
with_cmake=$("$work/build/client" "$source/tests/data/golden/lora")

package=$(find "$work/moved" -name oclora.pc)
PKG_CONFIG_PATH=$(dirname "$package")
export PKG_CONFIG_PATH
cc -std=c99 -Wall -Wextra -Wpedantic -Werror -o "$work/client" "$work/client.c" \
    $(pkg-config --cflags --libs oclora)
with_pkg_config=$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir oclora) \
    "$work/client" "$source/tests/data/golden/lora")

echo "$with_cmake"
[ "$with_cmake" = "$with_pkg_config" ]

[ -n "$llama" ] || exit 0
cmake --install "$build" --prefix "$work/ggml" --component ggml >>"$work/log"
plugin=$(find "$work/ggml" -name libggml-oclora.so)
cc -std=c99 -Wall -Wextra -Werror -o "$work/ggml_host" "$source/tests/plugin/outside/ggml_host.c" \
    -I"$work/ggml/include" -isystem "$llama/include" -L"$llama/lib" -lggml -lggml-base
LD_LIBRARY_PATH=$llama/lib "$work/ggml_host" "$plugin"
