"""What numpy computes on fixed data: sums, products, sorts, transforms and functions, by digests of the results' bytes."""
import ctypes
import hashlib

import numpy as np
from numpy.core._multiarray_umath import __cpu_dispatch__, __cpu_features__


def show(name, value):
    value = np.ascontiguousarray(value)
    digest = hashlib.sha256(value.tobytes()).hexdigest()
    print(name, value.dtype, value.shape, digest[:24], repr(value.ravel()[-1]))


np.seterr(all="ignore")
used = [name for name in ["SSE41", "SSE42", "POPCNT", "AVX", "F16C", "FMA3", "AVX2", "AVX512F", "AVX512_SKX"]
        if __cpu_features__[name]]
print("features", used)
openblas = ctypes.CDLL("libblas.so.3")
openblas.openblas_get_corename.restype = ctypes.c_char_p
print("core of OpenBLAS", openblas.openblas_get_corename().decode())

words = np.arange(1, 60_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
words ^= words >> np.uint64(30)
words *= np.uint64(0xBF58476D1CE4E5B9)
words ^= words >> np.uint64(27)
show("words", words)
uniform = (words >> np.uint64(11)).astype(np.float64) / 2.0 ** 53

for kind in [np.float64, np.float32]:
    x = ((uniform - 0.5) * 30).astype(kind)
    for function in [np.exp, np.exp2, np.expm1, np.sin, np.cos, np.tan, np.arctan, np.sinh, np.tanh, np.cbrt, np.rint, np.floor,
                     np.trunc, np.square, np.reciprocal, np.absolute, np.isnan, np.signbit, np.spacing]:
        show(function.__name__, function(x))
    for function in [np.log, np.log2, np.log10, np.log1p, np.sqrt]:
        show(function.__name__, function(np.abs(x)))
    for function in [np.add, np.subtract, np.multiply, np.divide, np.maximum, np.fmin, np.hypot, np.arctan2, np.copysign, np.less,
                     np.fmod, np.floor_divide, np.nextafter]:
        show(function.__name__, function(x[:-1], x[1:]))
    show("power", np.power(np.abs(x), kind(0.37)))
    for method in ["sum", "mean", "std", "min", "max", "argmin", "argmax", "cumsum"]:
        show(method, getattr(x, method)())
    show("sort", np.sort(x))
    show("argsort", np.argsort(x, kind="stable"))
    show("partition", np.partition(x, 500)[500])
    a, b = x[:14_400].reshape(120, 120), x[14_400:28_800].reshape(120, 120)
    show("dot", x @ x)
    show("matrix", a @ b)
    show("vector", a @ b[0])
    show("solve", np.linalg.solve(a, b))
    show("determinant", np.linalg.slogdet(a))
    show("singular values", np.linalg.svd(a[:40, :40], compute_uv=False))
    show("einsum", np.einsum("ij,jk,ki->i", a[:30, :30], b[:30, :30], a[:30, :30]))
    show("convolve", np.convolve(x[:2000], x[2000:2100]))
    show("half", x.astype(np.float16))
    show("back", x.astype(np.float16).astype(kind))
    for whole in [np.int8, np.int16, np.int32, np.int64]:
        show(f"to {whole.__name__}", x.astype(whole))

for kind in [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]:
    x = words.astype(kind)
    y = (words >> np.uint64(17)).astype(kind) | kind(1)
    for function in [np.add, np.multiply, np.floor_divide, np.remainder, np.maximum, np.minimum, np.bitwise_and, np.left_shift,
                     np.greater, np.equal, np.gcd]:
        operand = y & kind(7) if function is np.left_shift else y
        show(function.__name__, function(x, operand)[:20_000])
    show("sum", x.sum())
    show("sort", np.sort(x[:20_000]))
    show("dot", x[:5000] @ y[:5000])
    show("to float32", x.astype(np.float32))
    show("to float64", x.astype(np.float64))
show("transform", np.fft.fft(uniform[:8192]))
show("odd transform", np.fft.rfft(uniform[:10_007]))
show("complex", np.exp(1j * uniform[:4000]) * np.conj(uniform[:4000] + 2j))
generator = np.random.Generator(np.random.PCG64(7))
show("normal", generator.standard_normal(20_000))
show("choice", generator.permutation(20_000))
show("polynomial", np.polyfit(uniform[:300], uniform[300:600], 5))
show("histogram", np.histogram(uniform, bins=37)[0])
show("unique", np.unique(words % np.uint64(1000)))
