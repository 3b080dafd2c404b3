# The programs for adapters of all kinds, run from outside.
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND AND TARGET oclora-apply)
    add_test(NAME kinds_apply
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/kinds/test_apply.py"
                     $<TARGET_FILE:oclora-apply> "${CMAKE_CURRENT_SOURCE_DIR}/data/golden")
    add_test(NAME kinds_inspect
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/kinds/test_inspect.py"
                     $<TARGET_FILE:oclora-inspect> $<TARGET_FILE:oclora-apply>
                     "${CMAKE_CURRENT_SOURCE_DIR}/data/golden")
    add_test(NAME kinds_convert
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/kinds/test_convert.py"
                     $<TARGET_FILE:oclora-convert> $<TARGET_FILE:oclora-inspect>
                     $<TARGET_FILE:oclora-apply> "${CMAKE_CURRENT_SOURCE_DIR}/data/golden")
    add_test(NAME kinds_flora_cost
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/kinds/test_flora_cost.py"
                     $<TARGET_FILE:oclora-flora-cost>)
    set_tests_properties(kinds_apply kinds_inspect kinds_convert kinds_flora_cost PROPERTIES LABELS "tools"
        TIMEOUT 900 SKIP_RETURN_CODE 77
        ENVIRONMENT "OCLORA_CACHE_DIR=${PROJECT_BINARY_DIR}/test-cache")
endif()
if(Python3_FOUND AND TARGET oclora-expressive-power)
    add_test(NAME kinds_expressive
             COMMAND ${Python3_EXECUTABLE} "${CMAKE_CURRENT_SOURCE_DIR}/kinds/test_expressive.py"
                     $<TARGET_FILE:oclora-expressive-power>)
    set_tests_properties(kinds_expressive PROPERTIES LABELS "tools"
        TIMEOUT 900 SKIP_RETURN_CODE 77
        ENVIRONMENT "OCLORA_CACHE_DIR=${PROJECT_BINARY_DIR}/test-cache")
endif()
