#!/bin/sh
# Runs a guest of our own under another emulator and shows what it printed, but for the checks that passed:
#
#   guest-images/peers/run.sh protected_tasks bochs [MODEL]
#   guest-images/peers/run.sh protected_tasks qemu [MODEL]
#
# The guest is that of the last `cargo xtask guest`. Bochs gets it on a floppy disk, and so does QEMU where it is flat.
set -eu
name=$1 peer=$2
here=$(cd "$(dirname "$0")" && pwd)
images=${DRAGOMAN_GUESTS:-$here/../../target/guests}/own
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Writes the number $2 in $3 bytes at offset $1 of the disk.
patch() {
    value=$2 bytes=
    for _ in $(seq "$3"); do
        bytes="$bytes$(printf '\\%03o' $((value & 255)))"
        value=$((value >> 8))
    done
    printf "$bytes" | dd of=disk bs=1 seek="$1" conv=notrunc status=none
}

make_disk() {
    gcc -c -m64 -o loader.o "$here/loader.S"
    ld -m elf_x86_64 -e start -Ttext=0x600 --oformat binary -o disk loader.o
    entry=0 guest=$images/$name.bin
    if [ -e "$images/$name.elf" ]; then
        guest=$folder/guest
        objcopy -I elf32-i386 -O binary --set-section-flags .bss=alloc,load,contents "$images/$name.elf" "$guest"
        entry=$(readelf -h "$images/$name.elf" | sed -n 's/.*Entry point address: *//p')
    fi
    length=$(wc -c < "$guest")
    patch 496 $(((length + 511) / 512)) 2
    patch 500 $((entry)) 4
    patch 504 "$length" 4
    cat "$guest" >> disk
    truncate -s 1474560 disk
}

case $peer in
bochs)
    make_disk
    cat > bochsrc <<END
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
memory: guest=64, host=64
cpu: model=${3:-tigerlake}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none, time0=utc
pci: enabled=1, chipset=i440fx
floppya: 1_44=disk, status=inserted
boot: floppy
com1: enabled=1, mode=file, dev=printed
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
log: bochs.log
panic: action=fatal
END
    echo c > debugger
    bochs -q -f bochsrc -rc debugger > bochs.out 2>&1 &
    process=$!
    # Bochs has no port that ends it.
    for _ in $(seq 600); do
        sleep 0.1
        if grep -aq '^end$' printed 2>/dev/null || ! kill -0 $process 2>/dev/null; then break; fi
    done
    kill $process 2>/dev/null || true
    wait $process 2>/dev/null || true
    ;;
qemu)
    boot="-kernel $images/$name.elf"
    if [ ! -e "$images/$name.elf" ]; then
        make_disk
        boot="-drive file=disk,if=floppy,format=raw"
    fi
    # shellcheck disable=SC2086
    timeout 120 qemu-system-x86_64 -accel tcg -cpu "${3:-max}" -m 512 $boot -display none -monitor none -nic none -no-reboot \
        -serial file:printed -device isa-debug-exit,iobase=0xf4,iosize=4 || true
    ;;
*)
    echo "no peer is called $peer: bochs, qemu" >&2
    exit 2
    ;;
esac
grep -av '^ok ' printed || true
echo "passed: $(grep -ac '^ok ' printed || true)"
