# Counts of launches and bytes, once per OpenCL runtime.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
if(TARGET oclora-bench AND TARGET oclora-generate)
    foreach(runtime pocl intel)
        add_test(NAME perf_counts_${runtime} COMMAND "${Python3_EXECUTABLE}"
            "${CMAKE_CURRENT_SOURCE_DIR}/perf/counts.py" --build "${PROJECT_BINARY_DIR}"
            --runtime ${runtime})
        set_tests_properties(perf_counts_${runtime} PROPERTIES LABELS perf TIMEOUT 1200
            SKIP_RETURN_CODE 77 RUN_SERIAL ON)
    endforeach()
endif()
if(TARGET oclora-bench)
    add_test(NAME perf_cli COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/perf/cli.py"
        $<TARGET_FILE:oclora-bench>)
    set_tests_properties(perf_cli PROPERTIES LABELS unit TIMEOUT 120)
endif()
