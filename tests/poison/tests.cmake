# Nothing is computed from memory that was not written before: tests of operators and graphs again, with
# that memory poisoned, must give the same bits whatever the poison. poison_NAME is a sample.
set(P "${CMAKE_CURRENT_SOURCE_DIR}")
foreach(path IN ITEMS op/linear op/lora_block op/norm op/softmax op/matmul op/panel op/attention op/quantize graph/runner
                      graph/fuse)
    get_filename_component(folder "${path}" DIRECTORY)
    get_filename_component(stem "${path}" NAME)
    set(name "poison_${folder}_${stem}")
    add_executable(test_${name} "${P}/${folder}/test_${stem}.c" "${P}/poison/poison.c")
    set_target_properties(test_${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(test_${name} PRIVATE oclora_test_support)
    foreach(call IN ITEMS clCreateProgramWithSource clCreateBuffer oclora_stream_scratch
                          oclora_stream_read oclora_cache_load oclora_cache_store)
        target_link_options(test_${name} PRIVATE "-Wl,--wrap=${call}")
    endforeach()
    add_test(NAME ${name} COMMAND "${P}/poison/run.sh" "$<TARGET_FILE:test_${name}>")
    set(labels device tenant)
    if(NOT path MATCHES "linear|norm|softmax|runner")
        set(labels full tenant)
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 1800 SKIP_RETURN_CODE 77
        # Nothing built is kept here, and chains would take most of the time.
        ENVIRONMENT "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp;OCLORA_TUNE=chain_steps=1")
endforeach()
