# llama.cpp's own operator tests against the plugin. The long operators are for tests/run --full.
if(TARGET ggml-oclora)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    set(short_ops ABS NEG STEP TANH RELU SIGMOID GELU GELU_QUICK SILU EXP SOFTPLUS GELU_ERF REGLU GEGLU
        SWIGLU GEGLU_ERF GEGLU_QUICK SWIGLU_OAI SET_ROWS REPEAT DUP CPY SCALE NORM RMS_NORM L2_NORM
        ADD_ID SQR SQRT LOG SIN COS CLAMP CONCAT SUM_ROWS)
    set(only "")
    set(all_but "")
    foreach(op IN LISTS short_ops)
        list(APPEND only --op ${op})
        list(APPEND all_but --not-op ${op})
    endforeach()
    foreach(runtime pocl intel)
        foreach(part short long)
            set(choice ${only})
            set(labels ops)
            if(part STREQUAL long)
                set(choice ${all_but})
                set(labels "ops;full")
            endif()
            add_test(NAME ops_${part}_${runtime} COMMAND "${Python3_EXECUTABLE}"
                "${CMAKE_CURRENT_SOURCE_DIR}/ops/backend_ops.py" --build "${PROJECT_BINARY_DIR}"
                --runtime ${runtime} ${choice})
            set_tests_properties(ops_${part}_${runtime} PROPERTIES LABELS "${labels}" TIMEOUT 7200
                SKIP_RETURN_CODE 77 RUN_SERIAL ON ENVIRONMENT "OCLORA_LLAMA_DIR=${OCLORA_LLAMA_DIR}")
        endforeach()
    endforeach()
endif()
