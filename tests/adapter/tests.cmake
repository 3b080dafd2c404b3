# What reads files from strangers, again under valgrind's memcheck: reads of bytes that nobody wrote, which
# the sanitizers do not see, and leaks. Sanitized programs cannot run in it.
if(NOT OCLORA_SANITIZE)
    find_program(VALGRIND valgrind)
    set(memcheck "${VALGRIND}" -q --error-exitcode=9 --leak-check=full
        --errors-for-leak-kinds=definite,possible)
    if(NOT VALGRIND)
        set(memcheck sh -c "echo 'skipped: no valgrind' && exit 77")
    endif()
    file(GLOB loaders CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/file/test_*.c"
        "${CMAKE_CURRENT_SOURCE_DIR}/adapter/test_*.c")
    foreach(path IN LISTS loaders)
        get_filename_component(folder "${path}" DIRECTORY)
        get_filename_component(folder "${folder}" NAME)
        get_filename_component(stem "${path}" NAME_WE)
        string(REPLACE "test_" "${folder}_" name "${stem}")
        add_test(NAME valgrind_${name} COMMAND ${memcheck} $<TARGET_FILE:test_${name}>)
        set_tests_properties(valgrind_${name} PROPERTIES LABELS "unit;valgrind" TIMEOUT 900
            SKIP_RETURN_CODE 77)
    endforeach()
    # Large files, and thousands of damaged ones: the longest by far.
    set_tests_properties(valgrind_adapter_image valgrind_adapter_hostile
        valgrind_adapter_variations PROPERTIES
        LABELS "full;valgrind")
endif()
