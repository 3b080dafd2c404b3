# These run graphs on every installed runtime.
foreach(name graph_runner graph_fuse)
    set_tests_properties(${name} PROPERTIES LABELS device ENVIRONMENT
        "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp;${chains_now}")
endforeach()
# Who owns which row, and what is refused where that is not known.
set_tests_properties(graph_rows graph_plan graph_session PROPERTIES LABELS "unit;tenant")
set_tests_properties(graph_runner op_linear op_lora_block PROPERTIES LABELS "device;tenant")
