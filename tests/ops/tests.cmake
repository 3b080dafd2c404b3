# llama.cpp's own operator tests on the plugin, once per OpenCL runtime. The whole run is label full.
if(TARGET ggml-oclora)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    set(op_table "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/tools/op-table" --build
        "${PROJECT_BINARY_DIR}")
    foreach(runtime pocl intel)
        foreach(command support quick full)
            add_test(NAME ops_${command}_${runtime}
                     COMMAND ${op_table} --runtime ${runtime} ${command})
            set_tests_properties(ops_${command}_${runtime} PROPERTIES
                LABELS ops TIMEOUT 1200 SKIP_RETURN_CODE 77
                ENVIRONMENT "OCLORA_LLAMA_DIR=${OCLORA_LLAMA_DIR}")
        endforeach()
        set_tests_properties(ops_full_${runtime} PROPERTIES LABELS "ops;full" TIMEOUT 36000)
    endforeach()
    add_test(NAME ops_table COMMAND ${op_table} table --check)
    add_test(NAME ops_log COMMAND "${Python3_EXECUTABLE}"
             "${CMAKE_CURRENT_SOURCE_DIR}/ops/test_op_table.py")
    set_tests_properties(ops_table ops_log PROPERTIES LABELS ops)
endif()
