"""What the standard library computes: hashes, compression, texts, numbers, and the ciphers of libcrypto, by ctypes."""
import ctypes
import decimal
import fractions
import hashlib
import json
import math
import random
import re
import zlib

random.seed(5)
data = random.randbytes(400_000)


def show(name, value):
    if isinstance(value, bytes):
        value = hashlib.sha256(value).hexdigest()
    print(name, value)


for name in ["md5", "sha1", "sha224", "sha384", "sha512", "sha3_512", "blake2s"]:
    show(name, hashlib.new(name, data).hexdigest())
show("pbkdf2", hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2000))
packed = zlib.compress(data[:100_000] + bytes(100_000), 6)
show("zlib", packed)
show("unpacked", zlib.decompress(packed))
show("crc32", zlib.crc32(data))

numbers = [random.gauss(0, 1) * 10 ** random.randrange(-20, 20) for _ in range(3000)]
text = json.dumps({"numbers": numbers, "words": [f"{x:.3e}" for x in numbers]})
show("json", text.encode())
show("same numbers", json.loads(text)["numbers"] == numbers)
show("words", len(re.findall(r"[1-5]\.\d+e[+-]\d[02468]", text)))
show("fsum", math.fsum(numbers).hex())
for name in ["exp", "sin", "cos", "tan", "atan", "sinh", "tanh", "erf", "expm1", "cbrt", "asinh"]:
    values = [getattr(math, name)(math.remainder(x, 20.0)) for x in numbers]
    show(name, json.dumps(values).encode())
for name in ["log", "log2", "log10", "sqrt", "gamma", "lgamma"]:
    values = [getattr(math, name)(math.fmod(abs(x), 90.0) + 1e-3) for x in numbers]
    show(name, json.dumps(values).encode())
show("pow", json.dumps([math.pow(abs(x), 0.37) for x in numbers]).encode())
decimal.getcontext().prec = 200
show("decimal", decimal.Decimal(2).sqrt().exp())
show("fraction", sum(fractions.Fraction(1, n) for n in range(1, 200)))
show("integers", hashlib.sha256(str(3 ** 6000 // 7 ** 900).encode()).hexdigest())

crypto = ctypes.CDLL("libcrypto.so.3")
for name in ["EVP_CIPHER_CTX_new", "EVP_CIPHER_fetch", "BN_new", "BN_CTX_new", "BN_bin2bn"]:
    getattr(crypto, name).restype = ctypes.c_void_p
KEY, IV = bytes(range(32)), bytes(range(12))


def seal(cipher, plain, extra):
    """AEAD: the sealed text and its tag."""
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    kind = ctypes.c_void_p(crypto.EVP_CIPHER_fetch(None, cipher, None))
    out, tag = ctypes.create_string_buffer(len(plain) + 32), ctypes.create_string_buffer(16)
    length, rest = ctypes.c_int(), ctypes.c_int()
    assert crypto.EVP_EncryptInit_ex(context, kind, None, KEY, IV) == 1
    assert crypto.EVP_EncryptUpdate(context, None, ctypes.byref(length), extra, len(extra)) == 1
    assert crypto.EVP_EncryptUpdate(context, out, ctypes.byref(length), plain, len(plain)) == 1
    assert crypto.EVP_EncryptFinal_ex(context, ctypes.byref(out, length.value), ctypes.byref(rest)) == 1
    assert length.value + rest.value == len(plain)
    assert crypto.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, tag) == 1
    return out.raw[:len(plain)] + tag.raw


for cipher in [b"AES-128-GCM", b"AES-256-GCM", b"AES-256-OCB", b"ChaCha20-Poly1305"]:
    for length in [0, 1, 15, 64, 1000, 4096, 70_001, len(data)]:
        show(f"{cipher.decode()} {length}", seal(cipher, data[:length], b"extra"))

for bits in [512, 1024, 1536, 2048, 4096]:
    modulus, base, power = (random.getrandbits(bits) | 1 << bits - 1 | 1 for _ in range(3))
    power >>= bits - 160
    big = lambda n: ctypes.c_void_p(crypto.BN_bin2bn(n.to_bytes(bits // 8, "big"), bits // 8, None))
    result, context = ctypes.c_void_p(crypto.BN_new()), ctypes.c_void_p(crypto.BN_CTX_new())
    m, b, p = big(modulus), big(base % modulus), big(power)
    assert crypto.BN_mod_exp_mont_consttime(result, b, p, m, context, None) == 1
    out = ctypes.create_string_buffer(bits // 8)
    assert crypto.BN_bn2binpad(result, out, bits // 8) == bits // 8
    show(f"power of {bits} bits", int.from_bytes(out.raw, "big") == pow(base, power, modulus))
    show("its value", out.raw)
