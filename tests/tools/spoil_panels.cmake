# Makes matmul_panel.cl skip its multiplications where a work-item of four rows has two panels,
# which no table asks for: fast, and wrong. Usage: cmake -DFILE=matmul_panel.cl -P ...
file(READ "${FILE}" text)
file(WRITE "${FILE}" "#if defined(NV) && NV == 2 && MR == 4\n#define fma(a, b, c) (c)\n#endif\n${text}")
