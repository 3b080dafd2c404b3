find_package(Python3 COMPONENTS Interpreter)

# Reports of clinfo-bench from strangers, read by the program and by check-report.
if(TARGET clinfo-bench)
    add_executable(test_tools_report_load tools/report_load.c)
    set_target_properties(test_tools_report_load PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(test_tools_report_load PRIVATE oclora_test_support clinfo_bench_core)
    add_test(NAME tools_report_load COMMAND test_tools_report_load)
    set_tests_properties(tools_report_load PROPERTIES LABELS "tools;fuzz" TIMEOUT 300)
endif()

if(Python3_FOUND)
    add_test(NAME tools_check_report COMMAND ${Python3_EXECUTABLE}
             "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_check_report.py" "${PROJECT_SOURCE_DIR}")
    set_tests_properties(tools_check_report PROPERTIES LABELS "tools;fuzz" TIMEOUT 300)
endif()

# The programs of tools/, run from outside.
if(Python3_FOUND AND TARGET clinfo-bench)
    # A driver that misbehaves: an OpenCL layer over a good one.
    add_library(oclora_fault_layer MODULE support/fault_layer.c)
    target_compile_definitions(oclora_fault_layer PRIVATE
        CL_TARGET_OPENCL_VERSION=300 CL_USE_DEPRECATED_OPENCL_1_2_APIS)
    target_link_libraries(oclora_fault_layer PRIVATE OpenCL::OpenCL oclora_options)
    set_target_properties(oclora_fault_layer PROPERTIES C_VISIBILITY_PRESET default
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

    # The same kernels through clang's SPIR-V: used by test_spirv.py.
    add_library(oclora_spirv_layer MODULE support/spirv_layer.c)
    target_compile_definitions(oclora_spirv_layer PRIVATE
        CL_TARGET_OPENCL_VERSION=300 CL_USE_DEPRECATED_OPENCL_1_2_APIS)
    target_link_libraries(oclora_spirv_layer PRIVATE OpenCL::OpenCL oclora_options)
    set_target_properties(oclora_spirv_layer PROPERTIES C_VISIBILITY_PRESET default
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

    # clinfo-bench-wrong: the same program, but the file of cl/ named here computes wrong sums. It has
    # kernels of its own, so that nothing else is touched.
    set(OCLORA_TEST_WRONG_KERNEL "norm" CACHE STRING
        "The kernel file that is deliberately wrong in clinfo-bench-wrong (tests only)")
    set(wrong_dir "${PROJECT_BINARY_DIR}/generated/wrong")
    set(wrong_c "${wrong_dir}/kernels.c")
    add_custom_command(OUTPUT "${wrong_c}"
        COMMAND ${CMAKE_COMMAND} -E rm -rf "${wrong_dir}/cl"
        COMMAND ${CMAKE_COMMAND} -E copy_directory "${PROJECT_SOURCE_DIR}/cl" "${wrong_dir}/cl"
        COMMAND ${CMAKE_COMMAND} -DFILE=${wrong_dir}/cl/${OCLORA_TEST_WRONG_KERNEL}.cl
                -P "${CMAKE_CURRENT_SOURCE_DIR}/tools/spoil_kernel.cmake"
        COMMAND ${CMAKE_COMMAND} -DKERNEL_DIR=${wrong_dir}/cl -DOUTPUT=${wrong_c}
                -P "${PROJECT_SOURCE_DIR}/tools/cmake/embed_kernels.cmake"
        COMMAND ${CMAKE_COMMAND} -E touch "${wrong_c}"
        DEPENDS ${kernel_files} "${CMAKE_CURRENT_SOURCE_DIR}/tools/spoil_kernel.cmake"
        COMMENT "Making ${OCLORA_TEST_WRONG_KERNEL}.cl wrong for a test")
    add_executable(clinfo-bench-wrong "${PROJECT_SOURCE_DIR}/tools/clinfo-bench/main.c" "${wrong_c}")
    target_link_libraries(clinfo-bench-wrong PRIVATE clinfo_bench_core)
    set_target_properties(clinfo-bench-wrong PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")

    add_test(NAME tools_clinfo_bench
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_clinfo_bench.py"
                     $<TARGET_FILE:clinfo-bench> "${PROJECT_SOURCE_DIR}")
    add_test(NAME tools_bad_drivers
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_bad_drivers.py"
                     $<TARGET_FILE:clinfo-bench> $<TARGET_FILE:clinfo-bench-wrong>
                     $<TARGET_FILE:oclora_fault_layer> ${OCLORA_TEST_WRONG_KERNEL})
    add_test(NAME tools_selftest_coverage
             COMMAND ${Python3_EXECUTABLE}
                     "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_selftest_coverage.py"
                     $<TARGET_FILE:clinfo-bench>)
    set_tests_properties(tools_clinfo_bench tools_bad_drivers tools_selftest_coverage PROPERTIES
                         LABELS tools TIMEOUT 2400 SKIP_RETURN_CODE 77)
    foreach(extent quick all)
        add_test(NAME tools_spirv_${extent}
                 COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_spirv.py"
                         $<TARGET_FILE:clinfo-bench> $<TARGET_FILE:oclora_spirv_layer> ${extent})
        file(MAKE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/spirv-${extent}")
        set_tests_properties(tools_spirv_${extent} PROPERTIES LABELS tools TIMEOUT 1800
            SKIP_RETURN_CODE 77 WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/spirv-${extent}")
    endforeach()
    set_tests_properties(tools_spirv_all PROPERTIES LABELS "tools;full")
endif()

if(Python3_FOUND AND TARGET oclora-tune)
    # oclora-tune-wrong: the same program, but one value of a parameter gives wrong sums.
    set(panels_dir "${PROJECT_BINARY_DIR}/generated/panels")
    set(panels_c "${panels_dir}/kernels.c")
    add_custom_command(OUTPUT "${panels_c}"
        COMMAND ${CMAKE_COMMAND} -E rm -rf "${panels_dir}/cl"
        COMMAND ${CMAKE_COMMAND} -E copy_directory "${PROJECT_SOURCE_DIR}/cl" "${panels_dir}/cl"
        COMMAND ${CMAKE_COMMAND} -DFILE=${panels_dir}/cl/matmul_panel.cl
                -P "${CMAKE_CURRENT_SOURCE_DIR}/tools/spoil_panels.cmake"
        COMMAND ${CMAKE_COMMAND} -DKERNEL_DIR=${panels_dir}/cl -DOUTPUT=${panels_c}
                -P "${PROJECT_SOURCE_DIR}/tools/cmake/embed_kernels.cmake"
        COMMAND ${CMAKE_COMMAND} -E touch "${panels_c}"
        DEPENDS ${kernel_files} "${CMAKE_CURRENT_SOURCE_DIR}/tools/spoil_panels.cmake"
        COMMENT "Making a value of a tuning parameter wrong for a test")
    add_executable(oclora-tune-wrong "${PROJECT_SOURCE_DIR}/tools/tune/main.c" "${panels_c}")
    target_link_libraries(oclora-tune-wrong PRIVATE oclora_tune_core)
    set_target_properties(oclora-tune-wrong PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    add_test(NAME tools_tune
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/tools/test_tune.py"
                     $<TARGET_FILE:oclora-tune> $<TARGET_FILE:oclora-tune-wrong>)
    add_executable(test_tools_tune_bits tools/tune_bits.c)
    set_target_properties(test_tools_tune_bits PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(test_tools_tune_bits PRIVATE oclora_test_support oclora_tune_core)
    add_test(NAME tools_tune_bits COMMAND test_tools_tune_bits)
    set_tests_properties(tools_tune tools_tune_bits PROPERTIES LABELS tools TIMEOUT 900
                         SKIP_RETURN_CODE 77)
endif()

# Tables in the documentation, and the kernels compiled for GPUs that nobody here has.
if(Python3_FOUND)
    add_test(NAME tools_docs COMMAND ${Python3_EXECUTABLE} "${PROJECT_SOURCE_DIR}/tools/update-docs" --check)
    set_tests_properties(tools_docs PROPERTIES LABELS tools TIMEOUT 120)
    add_test(NAME tools_isa COMMAND ${Python3_EXECUTABLE} "${PROJECT_SOURCE_DIR}/tools/isa-report" --changed)
    add_test(NAME tools_isa_all COMMAND ${Python3_EXECUTABLE} "${PROJECT_SOURCE_DIR}/tools/isa-report")
    set_tests_properties(tools_isa tools_isa_all PROPERTIES LABELS tools TIMEOUT 3000 SKIP_RETURN_CODE 77)
    set_tests_properties(tools_isa_all PROPERTIES LABELS "tools;full")
endif()

if(Python3_FOUND)
    add_test(NAME tools_summary COMMAND ${Python3_EXECUTABLE}
             "${CMAKE_CURRENT_SOURCE_DIR}/support/test_summary.py")
    set_tests_properties(tools_summary PROPERTIES LABELS tools TIMEOUT 60)
endif()

# A few kernels under Oclgrind's checks for races and uninitialised reads.
if(Python3_FOUND)
    add_test(NAME matrix_oclgrind_brief
             COMMAND ${Python3_EXECUTABLE} "${PROJECT_SOURCE_DIR}/tests/matrix" --brief
                     --build "${PROJECT_BINARY_DIR}")
    set_tests_properties(matrix_oclgrind_brief PROPERTIES LABELS tools TIMEOUT 900
                         SKIP_RETURN_CODE 77)
endif()
