#!/bin/sh
# Programs of a distribution that choose their code by CPUID: the same lines wherever they choose that of x86-64-v3.
#
# Rule: nothing that is printed depends on time, on chance or on where the packages lie.
# usage: run.sh [ROOT], the folder that the packages are unpacked in

root=$1
loader=$root/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
libraries=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu/openblas-serial
start() {
    program=$1
    shift
    "$loader" --library-path "$libraries" "$root/usr/bin/$program" "$@"
}
digest() { start openssl dgst -r "$@"; }

export LC_ALL=C PYTHONHOME=$root/usr PYTHONPATH=$root/usr/lib/python3/dist-packages PYTHONDONTWRITEBYTECODE=1
# OpenBLAS goes by family and model where others go by features.
export PYTHONHASHSEED=0 OPENSSL_CONF=/dev/null OPENBLAS_CORETYPE=Haswell

echo "== ld.so"
"$loader" --help | grep -E '^ +x86-64-v[23]'

echo "== openssl"
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
data=$(mktemp)
head -c 1000003 /dev/zero | start openssl enc -aes-256-ctr -K $key -iv 0f0e0d0c0b0a09080706050403020100 > "$data"
for name in md5 sha1 sha256 sha512 sha3-256 blake2b512; do digest -$name < "$data"; done
for name in aes-128-cbc aes-256-cbc aes-256-ecb camellia-256-cbc chacha20; do
    bits=$(echo $name | sed -n 's/.*-128-.*/32/p')
    words="-K $(echo $key | cut -c 1-"${bits:-64}")"
    [ $name = aes-256-ecb ] || words="$words -iv 0f0e0d0c0b0a09080706050403020100"
    start openssl enc -$name $words < "$data" | digest -sha256
    start openssl enc -$name $words < "$data" | start openssl enc -d -$name $words | cmp - "$data" && echo "$name is undone"
done
rm "$data"

echo "== python"
start python3.11 "$root/v3/standard.py"
echo "== numpy"
start python3.11 "$root/v3/arrays.py"
echo "== end"
