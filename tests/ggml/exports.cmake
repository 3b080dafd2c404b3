# Exactly two symbols are exported, and no part of ggml is linked.
execute_process(COMMAND "${NM}" -D --defined-only "${LIBRARY}" OUTPUT_VARIABLE defined
                COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "[0-9a-f]+ [A-Z] " "" defined "${defined}")
string(STRIP "${defined}" defined)
string(REPLACE "\n" " " defined "${defined}")
if(NOT defined STREQUAL "ggml_backend_init ggml_backend_score")
    message(FATAL_ERROR "exported: ${defined}")
endif()
execute_process(COMMAND "${NM}" -D --undefined-only "${LIBRARY}" OUTPUT_VARIABLE undefined
                COMMAND_ERROR_IS_FATAL ANY)
if(undefined MATCHES "ggml|gguf|llama")
    message(FATAL_ERROR "linked: ${undefined}")
endif()
