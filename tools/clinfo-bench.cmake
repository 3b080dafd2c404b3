# clinfo-bench: what a device is, whether every kernel is right on it, how fast it is.
set(clinfo_bench_files
    clinfo-bench/cases.c clinfo-bench/cases_fused.c clinfo-bench/cases_linear.c
    clinfo-bench/cases_probe.c clinfo-bench/child.c
    clinfo-bench/compare.c clinfo-bench/coverage.c clinfo-bench/identity.c clinfo-bench/keep.c
    clinfo-bench/kernels.c clinfo-bench/kernels_layer.c clinfo-bench/kernels_ops.c
    clinfo-bench/layer.c clinfo-bench/layer_reference.c clinfo-bench/load.c
    clinfo-bench/memory.c clinfo-bench/options.c clinfo-bench/page.c clinfo-bench/picture.c
    clinfo-bench/probes.c clinfo-bench/raw.c clinfo-bench/reference.c clinfo-bench/report.c
    clinfo-bench/selftest.c clinfo-bench/speed.c clinfo-bench/steps.c)
add_library(clinfo_bench_core STATIC ${clinfo_bench_files})
target_link_libraries(clinfo_bench_core PUBLIC oclora_host)
add_executable(clinfo-bench clinfo-bench/main.c)
target_link_libraries(clinfo-bench PRIVATE clinfo_bench_core)
