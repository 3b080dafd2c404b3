# The programs of tools/, run from outside.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET clinfo-bench)
    add_test(NAME tools_clinfo_bench
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_clinfo_bench.py"
                     $<TARGET_FILE:clinfo-bench> "${PROJECT_SOURCE_DIR}")
    set_tests_properties(tools_clinfo_bench PROPERTIES LABELS tools TIMEOUT 900 SKIP_RETURN_CODE 77
                         ENVIRONMENT "OCLORA_CACHE_DIR=${PROJECT_BINARY_DIR}/test-cache")
endif()
