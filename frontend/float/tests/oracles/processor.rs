//! The host processor as an oracle: one function an instruction, from operands and controls to result and flags.
//!
//! UNSAFETY: inline assembly. Sound because each block touches only the registers it declares and the buffers whose
//! addresses it is given, leaves MXCSR as it found it, and leaves the x87 unit as FNINIT does, which is what Rust expects.
//! SSE runs with every exception masked; x87 exceptions are read with FNSAVE, which does not deliver them. None of it is in the
//! program: of tests, the lint `unsafe_doors` asks for this comment, and not for one of the three doors.
#![expect(unsafe_code, reason = "instructions are executed by inline assembly")]

use std::arch::asm;
use std::sync::LazyLock;

use dragoman_float::F80;

/// Whether the host is of the vendor whose choices the crate follows where manuals leave them open.
pub fn is_followed() -> bool {
    // Asked once: under a hypervisor CPUID takes as long as a hundred cases.
    static FOLLOWED: LazyLock<bool> = LazyLock::new(|| cpuid(0).map(u32::to_le_bytes) == [*b"Genu", *b"ntel", *b"ineI"]);
    *FOLLOWED
}

/// Whether the host computes in half precision.
pub fn has_half_precision() -> bool {
    is_x86_feature_detected!("avx512f") && cpuid(7)[2] >> 23 & 1 != 0
}

/// EBX, ECX and EDX of a leaf of CPUID.
fn cpuid(leaf: u32) -> [u32; 3] {
    let (b, c, d);
    // SAFETY: see the module; RBX, which the compiler keeps for itself, is put back.
    unsafe {
        asm!("push rbx", "cpuid", "mov {b:e}, ebx", "pop rbx", b = out(reg) b, inout("eax") leaf => _, inout("ecx") 0 => c, out("edx") d);
    }
    [b, c, d]
}

/// What an SSE instruction left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simd {
    pub value: u64,
    pub mxcsr: u32,
}

/// `op xmm, xmm` and everything that leaves its result in the first of them.
macro_rules! simd_binary {
    ($($name:ident: $code:expr;)*) => {$(
        pub fn $name(a: u64, b: u64, mxcsr: u32) -> Simd {
            let (saved, mut control) = (0u32, mxcsr);
            let mut value;
            // SAFETY: see the module.
            unsafe {
                asm!(
                    "stmxcsr [{saved}]", "ldmxcsr [{control}]", "movq {x}, {value}", "movq {y}, {b}",
                    $code,
                    "movq {value}, {x}", "stmxcsr [{control}]", "ldmxcsr [{saved}]",
                    saved = in(reg) &raw const saved, control = in(reg) &raw mut control,
                    value = inout(reg) a => value, b = in(reg) b, x = out(xmm_reg) _, y = out(xmm_reg) _,
                );
            }
            Simd { value, mxcsr: control }
        }
    )*};
}

simd_binary! {
    addss: "addss {x}, {y}"; addsd: "addsd {x}, {y}";
    subss: "subss {x}, {y}"; subsd: "subsd {x}, {y}";
    mulss: "mulss {x}, {y}"; mulsd: "mulsd {x}, {y}";
    divss: "divss {x}, {y}"; divsd: "divsd {x}, {y}";
    minss: "minss {x}, {y}"; minsd: "minsd {x}, {y}";
    maxss: "maxss {x}, {y}"; maxsd: "maxsd {x}, {y}";
    sqrtss: "sqrtss {x}, {x}"; sqrtsd: "sqrtsd {x}, {x}";
    cvtss2sd: "cvtss2sd {x}, {x}"; cvtsd2ss: "cvtsd2ss {x}, {x}";
    vcvtph2ps: "vcvtph2ps {x}, {x}"; vcvtps2ph: "vcvtps2ph {x}, {x}, 4";
    roundss: "roundss {x}, {x}, 4"; roundsd: "roundsd {x}, {x}, 4";
    roundsd_quietly: "roundsd {x}, {x}, 12"; roundsd_down: "roundsd {x}, {x}, 1";
    roundsd_up: "roundsd {x}, {x}, 2"; roundsd_zero: "roundsd {x}, {x}, 3"; roundsd_nearest: "roundsd {x}, {x}, 0";
    cvtss2si32: "cvtss2si {value:e}, {x}\n movd {x}, {value:e}"; cvtsd2si32: "cvtsd2si {value:e}, {x}\n movd {x}, {value:e}";
    cvtss2si64: "cvtss2si {value}, {x}\n movq {x}, {value}"; cvtsd2si64: "cvtsd2si {value}, {x}\n movq {x}, {value}";
    cvttss2si32: "cvttss2si {value:e}, {x}\n movd {x}, {value:e}"; cvttsd2si32: "cvttsd2si {value:e}, {x}\n movd {x}, {value:e}";
    cvttss2si64: "cvttss2si {value}, {x}\n movq {x}, {value}"; cvttsd2si64: "cvttsd2si {value}, {x}\n movq {x}, {value}";
    cvtsi2ss32: "cvtsi2ss {x}, {value:e}"; cvtsi2sd32: "cvtsi2sd {x}, {value:e}";
    cvtsi2ss64: "cvtsi2ss {x}, {value}"; cvtsi2sd64: "cvtsi2sd {x}, {value}";
    comiss: "comiss {x}, {y}\n pushfq\n pop {value}\n movq {x}, {value}"; comisd: "comisd {x}, {y}\n pushfq\n pop {value}\n movq {x}, {value}";
    ucomiss: "ucomiss {x}, {y}\n pushfq\n pop {value}\n movq {x}, {value}"; ucomisd: "ucomisd {x}, {y}\n pushfq\n pop {value}\n movq {x}, {value}";
    vcvtsd2usi32: "vcvtsd2usi {value:e}, {x}\n movd {x}, {value:e}"; vcvttsd2usi64: "vcvttsd2usi {value}, {x}\n movq {x}, {value}";
    vcvtss2usi64: "vcvtss2usi {value}, {x}\n movq {x}, {value}"; vcvttss2usi32: "vcvttss2usi {value:e}, {x}\n movd {x}, {value:e}";
    vaddsh: "vaddsh {x}, {x}, {y}"; vmulsh: "vmulsh {x}, {x}, {y}"; vdivsh: "vdivsh {x}, {x}, {y}"; vsqrtsh: "vsqrtsh {x}, {x}, {x}";
    vminsh: "vminsh {x}, {x}, {y}"; vcvtsh2sd: "vcvtsh2sd {x}, {x}, {x}"; vcvtsd2sh: "vcvtsd2sh {x}, {x}, {x}";
    vcvtusi2sd64: "vcvtusi2sd {x}, {x}, {value}"; vcvtusi2ss64: "vcvtusi2ss {x}, {x}, {value}"; vcvtusi2ss32: "vcvtusi2ss {x}, {x}, {value:e}";
}

/// CMPSS and CMPSD with each of the 32 predicates of their VEX forms.
macro_rules! simd_predicates {
    ($($name:ident: $code:literal [$($n:literal)*];)*) => {$(
        pub fn $name(predicate: u8, a: u64, b: u64, mxcsr: u32) -> Simd {
            match predicate {
                $($n => { simd_binary! { run: concat!($code, stringify!($n)); } run(a, b, mxcsr) })*
                _ => unreachable!("a predicate has five bits"),
            }
        }
    )*};
}

simd_predicates! {
    vcmpss: "vcmpss {x}, {x}, {y}, " [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31];
    vcmpsd: "vcmpsd {x}, {x}, {y}, " [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31];
}

/// `op xmm1, xmm2, xmm3`.
macro_rules! simd_ternary {
    ($($name:ident: $code:literal;)*) => {$(
        pub fn $name(a: u64, b: u64, c: u64, mxcsr: u32) -> Simd {
            let (saved, mut control) = (0u32, mxcsr);
            let mut value;
            // SAFETY: see the module.
            unsafe {
                asm!(
                    "stmxcsr [{saved}]", "ldmxcsr [{control}]", "movq {x}, {value}", "movq {y}, {b}", "movq {z}, {c}",
                    concat!($code, " {x}, {y}, {z}"),
                    "movq {value}, {x}", "stmxcsr [{control}]", "ldmxcsr [{saved}]",
                    saved = in(reg) &raw const saved, control = in(reg) &raw mut control,
                    value = inout(reg) a => value, b = in(reg) b, c = in(reg) c,
                    x = out(xmm_reg) _, y = out(xmm_reg) _, z = out(xmm_reg) _,
                );
            }
            Simd { value, mxcsr: control }
        }
    )*};
}

simd_ternary! {
    vfmadd132ss: "vfmadd132ss"; vfmadd213ss: "vfmadd213ss"; vfmadd231ss: "vfmadd231ss"; vfnmsub231ss: "vfnmsub231ss";
    vfmadd132sd: "vfmadd132sd"; vfmadd213sd: "vfmadd213sd"; vfmadd231sd: "vfmadd231sd";
    vfmadd213sh: "vfmadd213sh"; vfmsub213sd: "vfmsub213sd"; vfnmadd213sd: "vfnmadd213sd"; vfnmsub213sd: "vfnmsub213sd";
}

/// What an x87 instruction left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fpu {
    /// The status word.
    pub status: u16,
    /// ST(0), ST(1), ST(2).
    pub st: [F80; 3],
    /// The memory operand.
    pub memory: [u8; 10],
}

/// ST(0), ST(1), the control word, the status word but for its top-of-stack field, and a memory operand in. Exceptions need
/// not be masked, unless already recorded.
macro_rules! x87 {
    ($($name:ident: $($code:literal),+;)*) => {$(
        pub fn $name(control: u16, status: u16, st0: F80, st1: F80, memory: [u8; 10]) -> Fpu {
            let (a, b, mut memory) = (st0.to_le_bytes(), st1.to_le_bytes(), memory);
            let mut image = [0u8; 108];
            // An environment with two registers in use, R6 and R7.
            let environment = [u32::from(control), u32::from(status | 6 << 11), 0x0fff, 0, 0, 0, 0];
            // SAFETY: see the module.
            unsafe {
                asm!(
                    "fninit", "fld tbyte ptr [{b}]", "fld tbyte ptr [{a}]", "fldenv [{environment}]",
                    $($code,)+
                    "fnsave [{image}] /* {m} */",
                    a = in(reg) &raw const a, b = in(reg) &raw const b, environment = in(reg) &raw const environment,
                    m = in(reg) &raw mut memory, image = in(reg) &raw mut image,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
            let register = |n: usize| {
                let mut bytes = [0; 10];
                bytes.copy_from_slice(&image[28 + 10 * n..][..10]);
                F80::from_le_bytes(bytes)
            };
            Fpu { status: u16::from_le_bytes([image[4], image[5]]), st: [register(0), register(1), register(2)], memory }
        }
    )*};
}

x87! {
    fadd: "fadd st, st(1)"; fsub: "fsub st, st(1)"; fsubr: "fsubr st, st(1)"; fmul: "fmul st, st(1)";
    fdiv: "fdiv st, st(1)"; fdivr: "fdivr st, st(1)"; fsqrt: "fsqrt"; frndint: "frndint";
    fadd_m32: "fadd dword ptr [{m}]"; fsubr_m32: "fsubr dword ptr [{m}]"; fmul_m32: "fmul dword ptr [{m}]"; fdivr_m32: "fdivr dword ptr [{m}]";
    fadd_m64: "fadd qword ptr [{m}]"; fsubr_m64: "fsubr qword ptr [{m}]"; fmul_m64: "fmul qword ptr [{m}]"; fdivr_m64: "fdivr qword ptr [{m}]";
    fcom: "fcom st(1)"; fucom: "fucom st(1)"; fcom_m32: "fcom dword ptr [{m}]"; fcom_m64: "fcom qword ptr [{m}]";
    fld_m32: "fld dword ptr [{m}]"; fld_m64: "fld qword ptr [{m}]";
    fst_m32: "fst dword ptr [{m}]"; fst_m64: "fst qword ptr [{m}]";
    fild_m16: "fild word ptr [{m}]"; fild_m32: "fild dword ptr [{m}]"; fild_m64: "fild qword ptr [{m}]";
    fist_m16: "fist word ptr [{m}]"; fist_m32: "fist dword ptr [{m}]"; fistp_m64: "fistp qword ptr [{m}]";
    fisttp_m16: "fisttp word ptr [{m}]"; fisttp_m32: "fisttp dword ptr [{m}]"; fisttp_m64: "fisttp qword ptr [{m}]";
    fbld: "fbld tbyte ptr [{m}]"; fbstp: "fbstp tbyte ptr [{m}]";
    fprem: "fprem"; fprem1: "fprem1"; fscale: "fscale"; fxtract: "fxtract"; fxam: "fxam";
    fld1: "fld1"; fldl2t: "fldl2t"; fldl2e: "fldl2e"; fldpi: "fldpi"; fldlg2: "fldlg2"; fldln2: "fldln2"; fldz: "fldz";
    f2xm1: "f2xm1"; fyl2x: "fyl2x"; fyl2xp1: "fyl2xp1"; fpatan: "fpatan"; fptan: "fptan"; fsin: "fsin"; fcos: "fcos"; fsincos: "fsincos";
}
