# These run graphs on every installed runtime.
foreach(name graph_runner graph_fuse)
    set_tests_properties(${name} PROPERTIES LABELS device)
endforeach()
