# A host program as others write it: the public header and the library, nothing of the engine.
if(TARGET oclora)
    add_executable(client_v1 "${CMAKE_CURRENT_SOURCE_DIR}/plugin/client_v1.c")
    set_target_properties(client_v1 PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    # Against the headers as they were: what changes in abi/ since does not reach this program.
    set(v1 "${CMAKE_CURRENT_SOURCE_DIR}/plugin/v1")
    target_include_directories(client_v1 PRIVATE "${v1}/abi")
    target_link_libraries(client_v1 PRIVATE oclora)
    add_test(NAME plugin_client_v1
        COMMAND client_v1 "${CMAKE_CURRENT_SOURCE_DIR}/data/golden/lora")
    set_tests_properties(plugin_client_v1 PROPERTIES LABELS "device;abi" TIMEOUT 120
        PASS_REGULAR_EXPRESSION "^base -?[0-9.]+, adapted ")
    # Every slot of the table, by a program of version 1.0.
    add_executable(test_plugin_calls_v1 "${CMAKE_CURRENT_SOURCE_DIR}/plugin/test_calls.c")
    set_target_properties(test_plugin_calls_v1 PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_include_directories(test_plugin_calls_v1 BEFORE PRIVATE "${v1}")
    target_link_libraries(test_plugin_calls_v1 PRIVATE oclora_test_support)
    target_compile_definitions(test_plugin_calls_v1 PRIVATE
        OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data" OCLORA_BUILD_DIR="${PROJECT_BINARY_DIR}")
    add_test(NAME plugin_calls_v1 COMMAND test_plugin_calls_v1)
    set_tests_properties(plugin_calls_v1 PROPERTIES LABELS "device;abi" TIMEOUT 600
        SKIP_RETURN_CODE 77)
    add_dependencies(test_plugin_calls_v1 oclora)

    add_test(NAME plugin_abi COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/plugin/test_abi.sh"
        "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}")
    set_tests_properties(plugin_abi PROPERTIES LABELS "unit;abi" TIMEOUT 120 SKIP_RETURN_CODE 77)

    add_test(NAME plugin_install COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/plugin/test_install.sh"
        "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}" "${OCLORA_LLAMA_DIR}")
    set_tests_properties(plugin_install PROPERTIES LABELS "device;abi" TIMEOUT 120)
    foreach(seed IN ITEMS 2 3 4)
        add_test(NAME plugin_golden_seed_${seed} COMMAND sh
            "${CMAKE_CURRENT_SOURCE_DIR}/plugin/other_seeds.sh" "${PROJECT_SOURCE_DIR}"
            "${PROJECT_BINARY_DIR}" test_plugin_golden ${seed})
        set_tests_properties(plugin_golden_seed_${seed} PROPERTIES LABELS "device;abi" TIMEOUT 600
            SKIP_RETURN_CODE 77)
    endforeach()
    foreach(name IN ITEMS layout load calls sizes linear golden all_kinds shared tenants inside changed)
        if(TARGET test_plugin_${name})
            add_dependencies(test_plugin_${name} oclora)
            set_tests_properties(plugin_${name} PROPERTIES LABELS "device;abi")
        endif()
    endforeach()
    target_sources(test_plugin_golden PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/plugin/golden_network.c")
    set_tests_properties(plugin_calls plugin_golden PROPERTIES LABELS "device;abi;tenant")
    set_tests_properties(plugin_tenants plugin_changed PROPERTIES LABELS "device;abi;tenant")
    add_test(NAME plugin_tenants_full COMMAND test_plugin_tenants)
    set_tests_properties(plugin_tenants_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800
        SKIP_RETURN_CODE 77 ENVIRONMENT "OCLORA_TEST_FULL=1")
endif()
add_test(NAME plugin_layers COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/plugin/test_layers.sh"
    "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}")
set_tests_properties(plugin_layers PROPERTIES LABELS "unit;abi")
