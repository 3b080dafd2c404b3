# A million operations instead of a hundred thousand.
add_test(NAME pool_residency_full COMMAND test_pool_residency)
set_tests_properties(pool_residency_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800
    ENVIRONMENT "OCLORA_TEST_FULL=1")
set_tests_properties(pool_residency pool_pool pool_bind pool_tenants PROPERTIES LABELS
    "device;tenant")
set_tests_properties(pool_arena pool_blobs PROPERTIES LABELS "unit;tenant")

# The pool over a fake device: no OpenCL driver, whose threads and memory the sanitizers do not know.
# Its sources are compiled again, since instrumented and plain code do not mix.
function(oclora_add_pool_program name sanitizer)
    set(T "${CMAKE_CURRENT_SOURCE_DIR}")
    set(H "${PROJECT_SOURCE_DIR}/host")
    add_executable(pool_${name} "${T}/pool/${name}.c" ${ARGN} "${T}/pool/fake_device.c"
        "${T}/support/harness.c" "${H}/adapter/pool.c" "${H}/adapter/pool_arena.c"
        "${H}/adapter/pool_base.c" "${H}/adapter/pool_bind.c" "${H}/adapter/pool_blobs.c" "${H}/adapter/pool_query.c"
        "${H}/adapter/pool_residency.c" "${H}/adapter/bind.c" "${H}/adapter/convert.c"
        "${H}/adapter/image.c" "${H}/adapter/matrix.c" "${H}/adapter/narrow.c"
        "${H}/adapter/number.c" "${H}/base/bytes.c" "${H}/base/dequant.c" "${H}/base/layout.c" "${H}/base/permute.c"
        "${H}/base/weight.c" "${H}/core/breathe.c" "${H}/core/env.c" "${H}/core/error.c" "${H}/file/hash.c"
        "${H}/file/map.c")
    set_target_properties(pool_${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
    target_include_directories(pool_${name} PRIVATE "${T}")
    target_compile_options(pool_${name} PRIVATE -fsanitize=${sanitizer})
    target_link_options(pool_${name} PRIVATE -fsanitize=${sanitizer})
    target_compile_definitions(pool_${name} PRIVATE OCLORA_TEST_CACHE="")
    target_link_libraries(pool_${name} PRIVATE oclora_options PkgConfig::CUNIT PkgConfig::CRYPTO
        Threads::Threads m)
    add_test(NAME pool_${name} COMMAND pool_${name})
    set_tests_properties(pool_${name} PROPERTIES LABELS "unit;tenant;fault" TIMEOUT 300)
endfunction()

if(NOT OCLORA_SANITIZE)
    oclora_add_pool_program(faults address)
    oclora_add_pool_program(threads thread "${CMAKE_CURRENT_SOURCE_DIR}/pool/model.c")
    # A million operations instead of a hundred thousand.
    add_test(NAME pool_threads_full COMMAND pool_threads 250000)
    set_tests_properties(pool_threads_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800)
endif()
