# oclora-tune: how kernels are best launched on one device.
add_library(oclora_tune_core STATIC tune/jobs.c tune/measure.c tune/progress.c tune/run.c tune/work.c)
target_link_libraries(oclora_tune_core PUBLIC oclora_bench_core)
add_executable(oclora-tune tune/main.c)
target_link_libraries(oclora-tune PRIVATE oclora_tune_core)
