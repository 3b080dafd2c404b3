# Turns cl/*.cl into one C file of byte arrays, so that a built plugin needs no file beside it.
# A line `#include "name.cl"` in a kernel file is replaced by that file (kernels see no file system).
# Usage: cmake -DKERNEL_DIR=cl -DOUTPUT=kernels.c -P embed_kernels.cmake
file(GLOB kernel_files "${KERNEL_DIR}/*.cl")
list(SORT kernel_files)

set(arrays "")
set(table "")
foreach(path IN LISTS kernel_files)
    get_filename_component(name "${path}" NAME_WE)
    file(READ "${path}" text HEX)
    # Included files are spliced in as bytes too, and what they include in turn; each guards itself
    # against coming twice.
    set(include_line "^#include \"[a-z0-9_]+\\.cl\"")
    file(STRINGS "${path}" pending REGEX "${include_line}")
    while(pending)
        list(POP_FRONT pending line)
        string(REGEX REPLACE "^#include \"([a-z0-9_]+\\.cl)\".*" "\\1" included "${line}")
        file(READ "${KERNEL_DIR}/${included}" included_hex HEX)
        string(HEX "#include \"${included}\"" needle)
        string(REPLACE "${needle}" "${included_hex}" text "${text}")
        file(STRINGS "${KERNEL_DIR}/${included}" nested REGEX "${include_line}")
        list(APPEND pending ${nested})
    endwhile()
    string(LENGTH "${text}" hex_length)
    math(EXPR size "${hex_length} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," body "${text}")
    string(REGEX REPLACE "((0x..,){20})" "\\1\n" body "${body}")
    string(APPEND arrays "static const unsigned char source_${name}[] = {\n${body}0x00};\n\n")
    string(APPEND table "    {\"${name}\", source_${name}, ${size}},\n")
endforeach()

file(WRITE "${OUTPUT}.tmp"
"/* Made from the files of cl/ by tools/cmake/embed_kernels.cmake. */
#include \"host/core/source.h\"

${arrays}const oclora_source oclora_sources[] = {
${table}    {0, 0, 0},
};
")
file(COPY_FILE "${OUTPUT}.tmp" "${OUTPUT}" ONLY_IF_DIFFERENT)
file(REMOVE "${OUTPUT}.tmp")
