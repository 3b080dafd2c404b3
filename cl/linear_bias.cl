/* linear_bias.cl - y[m][o] += bias[o] for all rows of a linear layer, after its adapters. Grid
 * (d_out, rows), any group; y rows of any stride (bytes, multiple of 4). */
#define Y_ROW(m) ((__global float *)(y_base + y_offset + (ulong)(m)*y_stride))

__kernel void linear_bias(__global const uchar *restrict bias_base, ulong bias_offset,
                          __global uchar *restrict y_base, ulong y_offset, ulong y_stride)
{
    size_t o = get_global_id(0);
    Y_ROW(get_global_id(1))[o] += ((__global const float *)(bias_base + bias_offset))[o];
}
