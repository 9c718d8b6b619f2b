// An all-reduce between device classes in one kernel, for tensors that fit a slot.
//
// It writes this rank's part into its slot in pinned host memory, publishes it, waits for the
// other class's part, adds, and gives that slot back: see lane.py for the counters. The host
// neither waits nor copies. All parameters are 64 bits wide.

typedef unsigned long long u64;
typedef unsigned int u32;

// Far longer than any layer computes; a rank that hangs is noticed, and named, long before.
constexpr u64 LIMIT_NS = 600ull * 1000 * 1000 * 1000;

__device__ u64 now_ns() {
  u64 time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

__device__ void wait_until(const u64* word, u64 count) {
  const u64 started = now_ns();
  for (;;) {
    u64 seen;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(seen) : "l"(word) : "memory");
    if (seen >= count) return;
    if (now_ns() - started > LIMIT_NS) __trap();
  }
}

__device__ void publish(u64* word, u64 count) {
  __threadfence_system();
  asm volatile("st.release.sys.global.u64 [%0], %1;" : : "l"(word), "l"(count) : "memory");
}

// Whether this block is the last of the grid to get here; the counter starts again at zero.
__device__ bool is_last(u32* arrived) {
  __threadfence_system();
  return atomicInc(arrived, gridDim.x - 1) == gridDim.x - 1;
}

__device__ uint4 from_host(const uint4* at) {
  uint4 v;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at) : "memory");
  return v;
}

struct Float {
  static __device__ u32 add(u32 a, u32 b) {
    return __float_as_uint(__uint_as_float(a) + __uint_as_float(b));
  }
};

struct BFloat {
  static __device__ u32 narrow(float f) {
    const u32 bits = __float_as_uint(f);
    if (f != f) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
  static __device__ u32 add(u32 a, u32 b) {
    const float low = __uint_as_float(a << 16) + __uint_as_float(b << 16);
    const float high = __uint_as_float(a & 0xffff0000u) + __uint_as_float(b & 0xffff0000u);
    return narrow(low) | narrow(high) << 16;
  }
};

struct Half {
  static __device__ float widen(u32 bits) {
    float f;
    asm("{ .reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h; }" : "=f"(f) : "r"(bits));
    return f;
  }
  static __device__ u32 narrow(float f) {
    u32 bits;
    asm("{ .reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.u32.u16 %0, h; }" : "=r"(bits) : "f"(f));
    return bits;
  }
  static __device__ u32 add(u32 a, u32 b) {
    return narrow(widen(a & 0xffff) + widen(b & 0xffff)) |
           narrow(widen(a >> 16) + widen(b >> 16)) << 16;
  }
};

// own, total: `vectors` x 16 bytes in device memory. outgoing: this rank's slot, or null where
// another rank of the class publishes. arrived: two zeros in device memory.
template <class Number>
__device__ void all_reduce(const uint4* own, uint4* total, u64 vectors, uint4* outgoing,
                           u64* head, u64 published, const uint4* incoming,
                           const u64* peer_head, u64* tail, u64 consumed, u32* arrived) {
  const u64 first = u64(blockIdx.x) * blockDim.x + threadIdx.x;
  const u64 stride = u64(gridDim.x) * blockDim.x;
  if (outgoing) {
    for (u64 i = first; i < vectors; i += stride) outgoing[i] = own[i];
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0 && is_last(&arrived[0])) publish(head, published);
  }
  if (threadIdx.x == 0) wait_until(peer_head, consumed);
  __syncthreads();
  for (u64 i = first; i < vectors; i += stride) {
    const uint4 a = own[i], b = from_host(&incoming[i]);
    total[i] = make_uint4(Number::add(a.x, b.x), Number::add(a.y, b.y),
                          Number::add(a.z, b.z), Number::add(a.w, b.w));
  }
  __syncthreads();
  if (threadIdx.x == 0 && is_last(&arrived[1])) publish(tail, consumed);
}

#define KERNEL(name, Number)                                                               \
  extern "C" __global__ void name(                                                         \
      const uint4* own, uint4* total, u64 vectors, uint4* outgoing, u64* head,             \
      u64 published, const uint4* incoming, const u64* peer_head, u64* tail, u64 consumed, \
      u32* arrived) {                                                                      \
    all_reduce<Number>(own, total, vectors, outgoing, head, published, incoming,           \
                       peer_head, tail, consumed, arrived);                                \
  }

KERNEL(all_reduce_float32, Float)
KERNEL(all_reduce_bfloat16, BFloat)
KERNEL(all_reduce_float16, Half)
