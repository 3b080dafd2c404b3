# The ggml plugin by its parts; tests/hosts has it inside llama.cpp.
if(TARGET ggml-oclora)
    function(oclora_add_ggml_test name label)
        add_executable(test_ggml_${name} "${CMAKE_CURRENT_SOURCE_DIR}/ggml/${name}.c" ${ARGN})
        set_target_properties(test_ggml_${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        target_include_directories(test_ggml_${name} SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
        target_link_libraries(test_ggml_${name} PRIVATE oclora_test_support
            "${OCLORA_LLAMA_DIR}/lib/libggml.so" "${OCLORA_LLAMA_DIR}/lib/libggml-base.so")
        target_compile_definitions(test_ggml_${name} PRIVATE
            OCLORA_PLUGIN="$<TARGET_FILE:ggml-oclora>"
            OCLORA_LLAMA_LIB_DIR="${OCLORA_LLAMA_DIR}/lib" OCLORA_TESTS_DIR="${PROJECT_BINARY_DIR}/tests")
        add_test(NAME ggml_${name} COMMAND test_ggml_${name})
        set_tests_properties(ggml_${name} PROPERTIES LABELS "${label}" TIMEOUT 600
            SKIP_RETURN_CODE 77
            ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp;${chains_now}")
        add_dependencies(test_ggml_${name} ggml-oclora)
    endfunction()
    oclora_add_ggml_test(config "unit;fuzz" "${PROJECT_SOURCE_DIR}/plugin/ggml/config.c")
    oclora_add_ggml_test(buffer device)
    oclora_add_ggml_test(products device)
    oclora_add_ggml_test(host device)
    oclora_add_ggml_test(golden device "${CMAKE_CURRENT_SOURCE_DIR}/ggml/golden_model.c")
    oclora_add_ggml_test(control "device;abi" "${CMAKE_CURRENT_SOURCE_DIR}/ggml/golden_model.c")
    target_compile_definitions(test_ggml_control PRIVATE
        OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
    oclora_add_ggml_test(tenants "device;tenant" "${CMAKE_CURRENT_SOURCE_DIR}/ggml/golden_model.c")
    target_compile_definitions(test_ggml_tenants PRIVATE
        OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
    target_compile_definitions(test_ggml_golden PRIVATE
        OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
    foreach(name golden buffer products)
        add_test(NAME ggml_${name}_pocl COMMAND test_ggml_${name})
        set_tests_properties(ggml_${name}_pocl PROPERTIES LABELS device TIMEOUT 600
            SKIP_RETURN_CODE 77 ENVIRONMENT "OCLORA_DEVICES=Portable;${chains_now}")
    endforeach()
    foreach(seed IN ITEMS 2 3 4)
        add_test(NAME ggml_golden_seed_${seed} COMMAND sh
            "${CMAKE_CURRENT_SOURCE_DIR}/plugin/other_seeds.sh" "${PROJECT_SOURCE_DIR}"
            "${PROJECT_BINARY_DIR}" test_ggml_golden ${seed})
        set_tests_properties(ggml_golden_seed_${seed} PROPERTIES LABELS device TIMEOUT 600
            SKIP_RETURN_CODE 77 ENVIRONMENT "${chains_now}")
    endforeach()

    # A ggml that differs from the real one in one thing, for the host test.
    add_library(oclora_doctored MODULE "${CMAKE_CURRENT_SOURCE_DIR}/ggml/doctored.c")
    set_target_properties(oclora_doctored PROPERTIES PREFIX "" C_VISIBILITY_PRESET default
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_include_directories(oclora_doctored SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
    target_include_directories(oclora_doctored PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
    target_link_options(oclora_doctored PRIVATE -Wl,--no-as-needed)
    target_link_libraries(oclora_doctored PRIVATE oclora_options
        "${OCLORA_LLAMA_DIR}/lib/libggml.so" "${OCLORA_LLAMA_DIR}/lib/libggml-base.so"
        ${CMAKE_DL_LIBS})
    add_dependencies(test_ggml_host oclora_doctored)

    add_test(NAME ggml_exports COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
        -DLIBRARY=$<TARGET_FILE:ggml-oclora> -P "${CMAKE_CURRENT_SOURCE_DIR}/ggml/exports.cmake")
    set_tests_properties(ggml_exports PROPERTIES LABELS unit)
endif()
