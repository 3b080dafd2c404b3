# A million operations instead of a hundred thousand.
add_test(NAME pool_residency_full COMMAND test_pool_residency)
set_tests_properties(pool_residency_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800
    ENVIRONMENT "OCLORA_TEST_FULL=1")
set_tests_properties(pool_residency pool_pool pool_tenants PROPERTIES LABELS "device;tenant")

# The pool over a fake device, under ThreadSanitizer: no OpenCL driver, whose threads the detector does
# not know. The sources are compiled again, since instrumented and plain code do not mix.
if(NOT OCLORA_SANITIZE)
    set(H "${PROJECT_SOURCE_DIR}/host")
    set(pool_alone "${H}/adapter/pool.c" "${H}/adapter/pool_arena.c" "${H}/adapter/pool_bind.c"
        "${H}/adapter/pool_blobs.c" "${H}/adapter/pool_query.c" "${H}/adapter/pool_residency.c"
        "${H}/adapter/bind.c" "${H}/adapter/convert.c" "${H}/adapter/image.c" "${H}/adapter/matrix.c" "${H}/adapter/narrow.c"
        "${H}/adapter/number.c" "${H}/base/bytes.c" "${H}/base/dequant.c" "${H}/base/layout.c"
        "${H}/base/weight.c" "${H}/core/env.c" "${H}/core/error.c" "${H}/file/hash.c"
        "${H}/file/map.c")
    set(T "${CMAKE_CURRENT_SOURCE_DIR}")
    add_executable(pool_threads "${T}/pool/threads.c" "${T}/pool/fake_device.c"
        "${T}/support/harness.c" ${pool_alone})
    set_target_properties(pool_threads PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_include_directories(pool_threads PRIVATE "${T}")
    target_compile_options(pool_threads PRIVATE -fsanitize=thread)
    target_link_options(pool_threads PRIVATE -fsanitize=thread)
    target_compile_definitions(pool_threads PRIVATE OCLORA_TEST_CACHE="")
    target_link_libraries(pool_threads PRIVATE oclora_options PkgConfig::CUNIT PkgConfig::CRYPTO
        Threads::Threads m)
    add_test(NAME pool_threads COMMAND pool_threads)
    set_tests_properties(pool_threads PROPERTIES LABELS "unit;tenant;fault" TIMEOUT 300)
    add_test(NAME pool_threads_full COMMAND pool_threads 250000)
    set_tests_properties(pool_threads_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800)
endif()
