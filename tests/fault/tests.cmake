# Failing OpenCL calls on purpose: a layer between the loader and the drivers.
set(F "${CMAKE_CURRENT_SOURCE_DIR}/fault")
add_library(fault_layer MODULE "${F}/layer.c")
target_link_libraries(fault_layer PRIVATE oclora_options)
target_include_directories(fault_layer PRIVATE "${F}")
set_target_properties(fault_layer PROPERTIES C_VISIBILITY_PRESET default
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

if(TARGET oclora)
    add_executable(test_fault_native "${F}/test_native.c")
    set_target_properties(test_fault_native PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(test_fault_native PRIVATE oclora_test_support)
    target_compile_definitions(test_fault_native PRIVATE
        OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data" OCLORA_BUILD_DIR="${PROJECT_BINARY_DIR}")
    add_dependencies(test_fault_native oclora fault_layer)
    add_test(NAME fault_native COMMAND test_fault_native)
    set_tests_properties(fault_native PROPERTIES LABELS "device;fault" TIMEOUT 600
        SKIP_RETURN_CODE 77 ENVIRONMENT "OPENCL_LAYERS=$<TARGET_FILE:fault_layer>")
    add_test(NAME fault_native_full COMMAND test_fault_native)
    set_tests_properties(fault_native_full PROPERTIES LABELS "full;fault" TIMEOUT 1800
        SKIP_RETURN_CODE 77
        ENVIRONMENT "OPENCL_LAYERS=$<TARGET_FILE:fault_layer>;OCLORA_TEST_FULL=1")
endif()
