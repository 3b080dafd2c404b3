# Programs for adapters of all kinds. They read files with the engine's readers and run layers
# through the native ABI.
add_library(oclora_tool_shared STATIC shared/case.c shared/layers.c)
target_link_libraries(oclora_tool_shared PUBLIC oclora_host oclora)

# oclora-apply: a golden-style case through the native ABI.
add_executable(oclora-apply apply/main.c apply/options.c apply/outputs.c apply/report.c apply/rows.c)
target_link_libraries(oclora-apply PRIVATE oclora_tool_shared)
