# A fake OpenCL driver, and what several threads do on it. Built with ThreadSanitizer
# (-DOCLORA_SANITIZE=thread) these tests look for data races: drivers that were built without it bring
# threads it does not know, the fake one does not.
set(S "${CMAKE_CURRENT_SOURCE_DIR}/support/fake_cl")
set(fake_icd "${PROJECT_BINARY_DIR}/tests/fake-icd")
add_library(fake_cl MODULE "${S}/objects.c" "${S}/programs.c" "${S}/queue.c")
target_link_libraries(fake_cl PRIVATE oclora_options Threads::Threads)
set_target_properties(fake_cl PROPERTIES C_VISIBILITY_PRESET default
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
file(GENERATE OUTPUT "${fake_icd}/fake.icd" CONTENT "$<TARGET_FILE:fake_cl>\n")
set(fake_environment "OCL_ICD_VENDORS=${fake_icd};OCLORA_FAKE_CL=$<TARGET_FILE:fake_cl>"
    "OCLORA_CACHE_DIR=${PROJECT_BINARY_DIR}/test-cache"
    "TSAN_OPTIONS=exitcode=66 second_deadlock_stack=1"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp")
add_custom_target(thread_tests)

function(oclora_add_thread_test name)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_link_libraries(${name} PRIVATE oclora_test_support)
    target_compile_definitions(${name} PRIVATE OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data"
        OCLORA_BUILD_DIR="${PROJECT_BINARY_DIR}")
    add_dependencies(${name} fake_cl)
    add_dependencies(thread_tests ${name})
    add_test(NAME ${name} COMMAND ${name})
    add_test(NAME ${name}_full COMMAND ${name} 30000)
    set_tests_properties(${name} PROPERTIES LABELS "unit;thread;tenant" TIMEOUT 300)
    set_tests_properties(${name}_full PROPERTIES LABELS "full;thread;tenant" TIMEOUT 1800)
    set_tests_properties(${name} ${name}_full PROPERTIES ENVIRONMENT "${fake_environment}")
endfunction()

if(TARGET oclora)
    add_executable(plugin_threads "${CMAKE_CURRENT_SOURCE_DIR}/plugin/threads.c")
    oclora_add_thread_test(plugin_threads)
    add_dependencies(plugin_threads oclora)
    if(OCLORA_SANITIZE MATCHES thread)
        # The detector is on: it reports a race made on purpose.
        add_test(NAME plugin_threads_race COMMAND plugin_threads race)
        set_tests_properties(plugin_threads_race PROPERTIES LABELS "unit;thread" TIMEOUT 60
            PASS_REGULAR_EXPRESSION "ThreadSanitizer: data race" ENVIRONMENT "${fake_environment}")
    endif()
endif()
if(TARGET ggml-oclora)
    add_executable(ggml_threads "${CMAKE_CURRENT_SOURCE_DIR}/ggml/threads.c"
        "${CMAKE_CURRENT_SOURCE_DIR}/ggml/golden_model.c")
    oclora_add_thread_test(ggml_threads)
    target_include_directories(ggml_threads SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
    target_link_libraries(ggml_threads PRIVATE "${OCLORA_LLAMA_DIR}/lib/libggml.so"
        "${OCLORA_LLAMA_DIR}/lib/libggml-base.so")
    target_compile_definitions(ggml_threads PRIVATE OCLORA_PLUGIN="$<TARGET_FILE:ggml-oclora>")
    add_dependencies(ggml_threads ggml-oclora)
    # On a runtime with chains, which are compiled beside the graphs: every use compiles.
    add_test(NAME ggml_threads_chains COMMAND ggml_threads)
    set_tests_properties(ggml_threads_chains PROPERTIES LABELS "unit;thread;tenant" TIMEOUT 300
        ENVIRONMENT "${fake_environment};OCLORA_FAKE_CPU=1;OCLORA_TUNE=chain_build_at=1;OCLORA_CACHE_DIR=")
endif()

# The libraries loaded, used and unloaded again and again, on the drivers of this machine and on the fake
# one, which leaves nothing behind either. Sanitizers have allocators of their own.
if(NOT OCLORA_SANITIZE)
    function(oclora_add_reload_test name)
        target_sources(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/fault/memory.c")
        set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON C_VISIBILITY_PRESET default
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
        add_dependencies(${name} fake_cl)
        add_test(NAME ${name} COMMAND ${name} ${ARGN})
        add_test(NAME ${name}_fake COMMAND ${name} ${ARGN} fake)
        set_tests_properties(${name} PROPERTIES LABELS "device;soak;abi" TIMEOUT 600
            SKIP_RETURN_CODE 77 ENVIRONMENT "OCLORA_CACHE_DIR=${PROJECT_BINARY_DIR}/test-cache")
        set_tests_properties(${name}_fake PROPERTIES LABELS "unit;soak;abi" TIMEOUT 300
            ENVIRONMENT "${fake_environment}")
    endfunction()
    if(TARGET oclora)
        add_executable(plugin_reload "${CMAKE_CURRENT_SOURCE_DIR}/plugin/reload.c")
        target_include_directories(plugin_reload PRIVATE "${PROJECT_SOURCE_DIR}/abi"
            "${CMAKE_CURRENT_SOURCE_DIR}")
        target_compile_definitions(plugin_reload PRIVATE _DEFAULT_SOURCE)
        target_link_libraries(plugin_reload PRIVATE oclora_options ${CMAKE_DL_LIBS})
        oclora_add_reload_test(plugin_reload $<TARGET_FILE:oclora>
            "${CMAKE_CURRENT_SOURCE_DIR}/data/golden")
        add_dependencies(plugin_reload oclora)
    endif()
    if(TARGET ggml-oclora)
        add_executable(ggml_reload "${CMAKE_CURRENT_SOURCE_DIR}/ggml/reload.c"
            "${CMAKE_CURRENT_SOURCE_DIR}/ggml/golden_model.c")
        target_include_directories(ggml_reload SYSTEM PRIVATE "${OCLORA_LLAMA_DIR}/include")
        target_link_libraries(ggml_reload PRIVATE oclora_test_support
            "${OCLORA_LLAMA_DIR}/lib/libggml.so" "${OCLORA_LLAMA_DIR}/lib/libggml-base.so")
        target_compile_definitions(ggml_reload PRIVATE OCLORA_PLUGIN="$<TARGET_FILE:ggml-oclora>"
            OCLORA_TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/data")
        oclora_add_reload_test(ggml_reload)
        add_dependencies(ggml_reload ggml-oclora)
    endif()
endif()

# Every text with which a file is refused has a case in the tests of the loaders. Here, where all their
# targets are known.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET test_ggml_config)
    set(programs "$<TARGET_FILE:test_ggml_config>")
    file(GLOB loaders CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/file/test_*.c"
        "${CMAKE_CURRENT_SOURCE_DIR}/adapter/test_*.c")
    foreach(path IN LISTS loaders)
        get_filename_component(folder "${path}" DIRECTORY)
        get_filename_component(folder "${folder}" NAME)
        get_filename_component(stem "${path}" NAME_WE)
        string(REPLACE "test_" "test_${folder}_" name "${stem}")
        list(APPEND programs "$<TARGET_FILE:${name}>")
    endforeach()
    add_test(NAME adapter_named_errors COMMAND ${Python3_EXECUTABLE}
        "${CMAKE_CURRENT_SOURCE_DIR}/adapter/named_errors.py" "${PROJECT_SOURCE_DIR}" ${programs})
    set_tests_properties(adapter_named_errors PROPERTIES LABELS "unit;fuzz" TIMEOUT 300)
endif()
