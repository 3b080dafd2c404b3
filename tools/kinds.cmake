# Programs for adapters of all kinds. They read files with the engine's readers and run layers
# through the native ABI.
pkg_check_modules(LAPACKE IMPORTED_TARGET lapacke)
add_library(oclora_tool_shared STATIC shared/case.c shared/layers.c shared/svd.c shared/tensors.c)
target_link_libraries(oclora_tool_shared PUBLIC oclora_host oclora)
if(LAPACKE_FOUND)
    target_compile_definitions(oclora_tool_shared PRIVATE OCLORA_WITH_LAPACKE)
    target_link_libraries(oclora_tool_shared PRIVATE PkgConfig::LAPACKE)
else()
    message(STATUS "LAPACKE not found (Debian: liblapacke-dev libopenblas-dev): oclora-inspect finds "
        "no intruder dimensions, oclora-expressive-power is not built")
endif()

# oclora-apply: a golden-style case through the native ABI.
add_executable(oclora-apply apply/main.c apply/options.c apply/outputs.c apply/report.c apply/rows.c)
target_link_libraries(oclora-apply PRIVATE oclora_tool_shared)

# oclora-inspect: what an adapter holds, and its intruder dimensions.
add_executable(oclora-inspect inspect/audit.c inspect/base.c inspect/main.c inspect/options.c
    inspect/report.c inspect/write.c)
target_link_libraries(oclora-inspect PRIVATE oclora_tool_shared)

# oclora-convert: adapters from one form of file to another.
add_executable(oclora-convert convert/compact.c convert/main.c convert/peft.c)
target_link_libraries(oclora-convert PRIVATE oclora_tool_shared)

# oclora-expressive-power: error against rank of the paper's constructions, on the device.
if(LAPACKE_FOUND)
    add_executable(oclora-expressive-power expressive/chain.c expressive/dense.c
        expressive/feedforward.c expressive/main.c expressive/network.c expressive/report.c
        expressive/transformer.c)
    target_link_libraries(oclora-expressive-power PRIVATE oclora_tool_shared)
endif()

# oclora-flora-cost: when FLoRA costs less than LoRA.
add_executable(oclora-flora-cost flora-cost/main.c flora-cost/measure.c flora-cost/report.c)
target_link_libraries(oclora-flora-cost PRIVATE oclora_tool_shared)
