# Fuzz targets. libFuzzer: cmake -DCMAKE_C_COMPILER=clang -DOCLORA_FUZZ=ON; AFL++ the same with
# afl-clang-fast. Then build/tests/fuzz_NAME CORPUS_DIR; tests/fuzz/make_corpus writes the first seeds.
option(OCLORA_FUZZ "Build the fuzz targets (needs clang or afl-clang-fast)" OFF)
if(OCLORA_FUZZ)
    # The code under test must be instrumented too: without this the fuzzer is blind.
    target_compile_options(oclora_host PRIVATE -fsanitize=fuzzer-no-link)
    file(GLOB fuzz_files CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/fuzz_*.c")
    foreach(path IN LISTS fuzz_files)
        get_filename_component(name "${path}" NAME_WE)
        add_executable(${name} "${path}")
        set_target_properties(${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
        target_link_options(${name} PRIVATE -fsanitize=fuzzer)
        target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
        target_link_libraries(${name} PRIVATE oclora_host)
    endforeach()
    target_sources(fuzz_config PRIVATE "${PROJECT_SOURCE_DIR}/plugin/ggml/config.c")
    set(bench "${PROJECT_SOURCE_DIR}/tools/clinfo-bench")
    target_sources(fuzz_report PRIVATE "${bench}/load.c" "${bench}/report.c" "${bench}/compare.c")
endif()
if(NOT OCLORA_FUZZ AND NOT OCLORA_SANITIZE AND TARGET ggml-oclora)
    add_test(NAME fuzz_short
        COMMAND "${CMAKE_CURRENT_LIST_DIR}/short" "${PROJECT_BINARY_DIR}")
    set_tests_properties(fuzz_short PROPERTIES LABELS "fuzz" TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
set_tests_properties(adapter_hostile adapter_variations adapter_compact PROPERTIES LABELS "unit;fuzz")
