# Real hosts: an unmodified llama.cpp with the plugin, on the real model, once per OpenCL runtime.
if(TARGET ggml-oclora AND TARGET oclora-generate)
    function(oclora_add_host_program name)
        add_executable(test_${name} "${CMAKE_CURRENT_SOURCE_DIR}/hosts/${name}.c")
        set_target_properties(test_${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        target_compile_definitions(test_${name} PRIVATE
            OCLORA_LLAMA_LIB_DIR="${OCLORA_LLAMA_DIR}/lib" OCLORA_PLUGIN="$<TARGET_FILE:ggml-oclora>"
            OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
        target_link_libraries(test_${name} PRIVATE oclora_generate_core)
    endfunction()
    oclora_add_host_program(make_f32)
    oclora_add_host_program(compare_logits)
    oclora_add_host_program(refusals)

    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    function(oclora_add_host_test name)
        foreach(runtime pocl intel)
            add_test(NAME hosts_${name}_${runtime} COMMAND ${ARGN} --runtime ${runtime})
            set_tests_properties(hosts_${name}_${runtime} PROPERTIES
                LABELS hosts TIMEOUT 1200 SKIP_RETURN_CODE 77 RUN_SERIAL ON
                ENVIRONMENT "OCLORA_LLAMA_DIR=${OCLORA_LLAMA_DIR}")
        endforeach()
    endfunction()
    foreach(name golden_batch alone f32_logits bad_input server rpc)
        oclora_add_host_test(${name} "${Python3_EXECUTABLE}"
            "${CMAKE_CURRENT_SOURCE_DIR}/hosts/${name}.py" --build "${PROJECT_BINARY_DIR}")
    endforeach()
    oclora_add_host_test(refusals "${Python3_EXECUTABLE}"
        "${CMAKE_CURRENT_SOURCE_DIR}/hosts/refusals.py" --build "${PROJECT_BINARY_DIR}")
endif()
