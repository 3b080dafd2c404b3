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
    oclora_add_host_program(convert_model)
    oclora_add_host_program(compare_logits)
    oclora_add_host_program(refusals)
    oclora_add_host_program(sessions)

    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    # What has deadlines of its own runs alone.
    function(oclora_add_host_test name)
        foreach(runtime pocl intel)
            add_test(NAME hosts_${name}_${runtime} COMMAND ${ARGN} --runtime ${runtime})
            set_tests_properties(hosts_${name}_${runtime} PROPERTIES
                LABELS hosts TIMEOUT 2400 SKIP_RETURN_CODE 77 RUN_SERIAL ON
                ENVIRONMENT "OCLORA_LLAMA_DIR=${OCLORA_LLAMA_DIR}")
        endforeach()
    endfunction()
    foreach(name golden_batch alone f32_logits architectures bad_input server rpc sessions)
        oclora_add_host_test(${name} "${Python3_EXECUTABLE}"
            "${CMAKE_CURRENT_SOURCE_DIR}/hosts/${name}.py" --build "${PROJECT_BINARY_DIR}")
    endforeach()
    # These only compare numbers: they may share the machine. Compiling for every architecture takes
    # longest, mostly on one core, so it begins first.
    foreach(name golden_batch alone f32_logits architectures)
        set_tests_properties(hosts_${name}_pocl hosts_${name}_intel PROPERTIES
            RUN_SERIAL OFF TIMEOUT 4800)
    endforeach()
    set_tests_properties(hosts_architectures_pocl hosts_architectures_intel PROPERTIES
        COST 1000)
    oclora_add_host_test(refusals "${Python3_EXECUTABLE}"
        "${CMAKE_CURRENT_SOURCE_DIR}/hosts/refusals.py" --build "${PROJECT_BINARY_DIR}")

    # Load: the control table within an unmodified llama-server, by LD_PRELOAD.
    add_library(oclora_soak_control MODULE "${CMAKE_CURRENT_SOURCE_DIR}/hosts/soak_control.c")
    set_target_properties(oclora_soak_control PROPERTIES PREFIX "" OUTPUT_NAME soak_control
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_include_directories(oclora_soak_control SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
    target_link_libraries(oclora_soak_control PRIVATE oclora_options Threads::Threads
        "${OCLORA_LLAMA_DIR}/lib/libggml.so" "${OCLORA_LLAMA_DIR}/lib/libggml-base.so")
    add_test(NAME hosts_soak COMMAND "${Python3_EXECUTABLE}"
        "${CMAKE_CURRENT_SOURCE_DIR}/hosts/soak.py" --build "${PROJECT_BINARY_DIR}" --minutes 3)
    set_tests_properties(hosts_soak PROPERTIES LABELS "hosts;soak" TIMEOUT 1200
        SKIP_RETURN_CODE 77 RUN_SERIAL ON ENVIRONMENT "OCLORA_LLAMA_DIR=${OCLORA_LLAMA_DIR}")

    # Needs OCLORA_LLAMA_PYTHON (tools/setup llama-python).
    oclora_add_host_test(python "${Python3_EXECUTABLE}"
        "${CMAKE_CURRENT_SOURCE_DIR}/hosts/python_host.py" --build "${PROJECT_BINARY_DIR}")
    set_tests_properties(hosts_python_pocl hosts_python_intel PROPERTIES LABELS "hosts;full")

    # The same plugin in a llama.cpp with another layout of ggml's tables (0.9.8).
    if(OCLORA_OLD_LLAMA_DIR)
        set(old "${PROJECT_BINARY_DIR}/old")
        get_target_property(sources oclora_generate_core SOURCES)
        list(TRANSFORM sources PREPEND "${PROJECT_SOURCE_DIR}/tools/")
        add_executable(oclora_generate_old "${PROJECT_SOURCE_DIR}/tools/generate/main.c" ${sources})
        set_target_properties(oclora_generate_old PROPERTIES OUTPUT_NAME oclora-generate
            RUNTIME_OUTPUT_DIRECTORY "${old}/bin" BUILD_RPATH "${OCLORA_OLD_LLAMA_DIR}/lib")
        target_include_directories(oclora_generate_old SYSTEM PRIVATE "${OCLORA_OLD_LLAMA_DIR}/include")
        target_compile_definitions(oclora_generate_old PRIVATE OCLORA_LLAMA_BEFORE_OUTPUTS_MAX
            OCLORA_LLAMA_LIB_DIR="${OCLORA_OLD_LLAMA_DIR}/lib")
        target_link_libraries(oclora_generate_old PRIVATE oclora_options PkgConfig::JANSSON
            "${OCLORA_OLD_LLAMA_DIR}/lib/libllama.so" "${OCLORA_OLD_LLAMA_DIR}/lib/libggml.so"
            "${OCLORA_OLD_LLAMA_DIR}/lib/libggml-base.so" m)
        add_custom_command(TARGET oclora_generate_old POST_BUILD
            COMMAND ${CMAKE_COMMAND} -E make_directory "${old}/lib"
            COMMAND ${CMAKE_COMMAND} -E create_symlink "$<TARGET_FILE:ggml-oclora>"
                    "${old}/lib/$<TARGET_FILE_NAME:ggml-oclora>")
        foreach(runtime pocl intel)
            add_test(NAME hosts_old_ggml_${runtime} COMMAND "${Python3_EXECUTABLE}"
                "${CMAKE_CURRENT_SOURCE_DIR}/hosts/golden_batch.py" --build "${old}"
                --runtime ${runtime})
            set_tests_properties(hosts_old_ggml_${runtime} PROPERTIES LABELS "hosts;full"
                TIMEOUT 1200 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
        endforeach()
    endif()
endif()
