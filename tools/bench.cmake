# oclora-bench: oclora beside its peers. OpenBLAS and CLBlast are found at run time.
file(GLOB bench_files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/bench/*.c")
add_executable(oclora-bench ${bench_files})
target_link_libraries(oclora-bench PRIVATE oclora_host ${CMAKE_DL_LIBS})
