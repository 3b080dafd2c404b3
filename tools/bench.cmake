# oclora-bench: oclora beside its peers. OpenBLAS and CLBlast are found at run time; the scale suite
# needs llama.cpp.
file(GLOB bench_files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/bench/*.c")
if(NOT OCLORA_LLAMA_DIR)
    list(FILTER bench_files EXCLUDE REGEX "/scale_[a-z]+\\.c$")
endif()
add_executable(oclora-bench ${bench_files})
target_link_libraries(oclora-bench PRIVATE oclora_host ${CMAKE_DL_LIBS})
target_compile_definitions(oclora-bench PRIVATE
    OCLORA_BENCH_PEFT="${CMAKE_CURRENT_SOURCE_DIR}/bench/peft_peer.py")
if(OCLORA_LLAMA_DIR)
    target_link_libraries(oclora-bench PRIVATE oclora_generate_core)
    target_compile_definitions(oclora-bench PRIVATE OCLORA_BENCH_LLAMA)
endif()
