# Makes matmul_panel.cl skip its multiplications where a work-item of eight rows has one panel: fast, and
# wrong. Usage: cmake -DFILE=matmul_panel.cl -P ...
file(READ "${FILE}" text)
file(WRITE "${FILE}" "#if defined(NV) && NV == 1 && MR == 8\n#define fma(a, b, c) (c)\n#endif\n${text}")
