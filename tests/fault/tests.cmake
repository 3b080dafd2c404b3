# Failing OpenCL calls, allocations and system calls on purpose: a layer between the loader and the
# drivers, and functions in front of the C library. Sanitizers have their own functions there.
if(NOT OCLORA_SANITIZE)
    set(F "${CMAKE_CURRENT_SOURCE_DIR}/fault")
    add_library(fault_layer MODULE "${F}/layer.c" "${F}/layer_plan.c" "${F}/layer_lies.c"
                "${F}/layer_programs.c")
    target_link_libraries(fault_layer PRIVATE oclora_options Threads::Threads)
    target_include_directories(fault_layer PRIVATE "${F}")
    set_target_properties(fault_layer PROPERTIES C_VISIBILITY_PRESET default
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

    # oclora_add_fault_test(NAME SOURCE... ): fault_NAME, a sample, and fault_NAME_full, all.
    function(oclora_add_fault_test name)
        list(TRANSFORM ARGN PREPEND "${F}/" OUTPUT_VARIABLE sources)
        add_executable(test_fault_${name} ${sources} "${F}/loop.c" "${F}/memory.c")
        set_target_properties(test_fault_${name} PROPERTIES ENABLE_EXPORTS ON
            C_VISIBILITY_PRESET default RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        target_link_libraries(test_fault_${name} PRIVATE oclora_test_support)
        target_compile_definitions(test_fault_${name} PRIVATE
            OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data"
            OCLORA_BUILD_DIR="${PROJECT_BINARY_DIR}")
        add_dependencies(test_fault_${name} fault_layer)
        set(layer "OPENCL_LAYERS=$<TARGET_FILE:fault_layer>;${chains_now}")
        add_test(NAME fault_${name} COMMAND test_fault_${name})
        set_tests_properties(fault_${name} PROPERTIES LABELS "device;fault" TIMEOUT 900
            SKIP_RETURN_CODE 77 ENVIRONMENT "${layer}")
        add_test(NAME fault_${name}_full COMMAND test_fault_${name})
        set_tests_properties(fault_${name}_full PROPERTIES LABELS "full;fault" TIMEOUT 5400
            SKIP_RETURN_CODE 77 ENVIRONMENT "${layer};OCLORA_TEST_FULL=1")
    endfunction()

    oclora_add_fault_test(unit test_unit.c)
    set_tests_properties(fault_unit PROPERTIES LABELS "unit;fault")
    if(TARGET ggml-oclora)
        oclora_add_fault_test(ggml test_ggml.c ggml_life.c ggml_log.c)
        target_include_directories(test_fault_ggml SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
        target_link_libraries(test_fault_ggml PRIVATE "${OCLORA_LLAMA_DIR}/lib/libggml.so"
            "${OCLORA_LLAMA_DIR}/lib/libggml-base.so")
        target_compile_definitions(test_fault_ggml PRIVATE
            OCLORA_PLUGIN="$<TARGET_FILE:ggml-oclora>")
        add_dependencies(test_fault_ggml ggml-oclora)
    endif()
    if(TARGET oclora)
        oclora_add_fault_test(native test_native.c native_life.c)
        oclora_add_fault_test(lies test_lies.c native_life.c)
        add_dependencies(test_fault_lies oclora)
        add_dependencies(test_fault_native oclora)
        set(libraries $<TARGET_FILE:oclora>)
        if(TARGET ggml-oclora)
            list(APPEND libraries $<TARGET_FILE:ggml-oclora>)
        endif()
        add_test(NAME fault_coverage COMMAND "${F}/coverage.sh" $<TARGET_FILE:fault_layer>
                 ${libraries})
        set_tests_properties(fault_coverage PROPERTIES LABELS "unit;fault")
    endif()
endif()
