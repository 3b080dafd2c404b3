# oclora-generate, and oclora-stock for comparison: llama.cpp's public headers and libraries only.
if(OCLORA_LLAMA_DIR)
    add_library(oclora_generate_core STATIC
        generate/answer.c generate/options.c generate/request.c generate/runtime.c generate/serve.c
        generate/text.c generate/wave.c)
    target_include_directories(oclora_generate_core SYSTEM PUBLIC "${OCLORA_LLAMA_DIR}/include")
    target_compile_definitions(oclora_generate_core PRIVATE
        OCLORA_LLAMA_LIB_DIR="${OCLORA_LLAMA_DIR}/lib")
    target_link_libraries(oclora_generate_core PUBLIC oclora_options PkgConfig::JANSSON
        "${OCLORA_LLAMA_DIR}/lib/libllama.so" "${OCLORA_LLAMA_DIR}/lib/libggml.so"
        "${OCLORA_LLAMA_DIR}/lib/libggml-base.so" m)

    add_executable(oclora-generate generate/main.c)
    target_link_libraries(oclora-generate PRIVATE oclora_generate_core)
    add_executable(oclora-stock stock/main.c)
    target_link_libraries(oclora-stock PRIVATE oclora_generate_core)
else()
    message(STATUS "OCLORA_LLAMA_DIR not set: oclora-generate and oclora-stock are not built")
endif()
