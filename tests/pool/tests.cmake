# A million operations instead of a hundred thousand.
add_test(NAME pool_residency_full COMMAND test_pool_residency)
set_tests_properties(pool_residency_full PROPERTIES LABELS "full;tenant" TIMEOUT 1800
    ENVIRONMENT "OCLORA_TEST_FULL=1")
set_tests_properties(pool_residency pool_pool PROPERTIES LABELS "device;tenant")
