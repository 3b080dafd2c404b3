# What the documents say stays true.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME docs_readme COMMAND "${Python3_EXECUTABLE}" "${CMAKE_CURRENT_SOURCE_DIR}/docs/readme.py")
set_tests_properties(docs_readme PROPERTIES LABELS unit)
