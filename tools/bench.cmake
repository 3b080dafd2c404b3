# oclora-bench: oclora beside its peers. OpenBLAS and CLBlast are found at run time; the scale suite
# needs llama.cpp.
# Layers, devices and duels are oclora-tune's too.
set(bench_core_files bench/device.c bench/duel.c bench/layer.c bench/pin.c)
add_library(oclora_bench_core STATIC ${bench_core_files})
target_link_libraries(oclora_bench_core PUBLIC oclora_host)
file(GLOB bench_files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/bench/*.c")
list(FILTER bench_files EXCLUDE REGEX "/(device|duel|layer|pin)\\.c$")
if(NOT OCLORA_LLAMA_DIR)
    list(FILTER bench_files EXCLUDE REGEX "/scale_[a-z]+\\.c$")
endif()
add_executable(oclora-bench ${bench_files})
target_link_libraries(oclora-bench PRIVATE oclora_bench_core ${CMAKE_DL_LIBS})
target_compile_definitions(oclora-bench PRIVATE
    OCLORA_BENCH_PEFT="${CMAKE_CURRENT_SOURCE_DIR}/bench/peft_peer.py")
if(OCLORA_LLAMA_DIR)
    target_link_libraries(oclora-bench PRIVATE oclora_generate_core)
    target_compile_definitions(oclora-bench PRIVATE OCLORA_BENCH_LLAMA)
endif()
