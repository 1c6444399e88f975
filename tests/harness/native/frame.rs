//! The registers of a case, in and out of the frame that the kernel makes for a signal handler: what the handler writes
//! there is what the processor has when the handler returns.
//!
//! UNSAFETY: the frame is the kernel's, valid while the handler runs; its floating-point image is in the standard form of
//! XSAVE, whose offsets the architecture fixes. SDM: vol. 1 §13.4.

use dragoman_state::{F80, StatusWord};
use libc::{
    REG_CR2, REG_CSGSFS, REG_EFL, REG_ERR, REG_R8, REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI,
    REG_RSP, REG_TRAPNO, ucontext_t,
};

use super::segments;
use crate::Registers;

/// Offsets into the image.
const MXCSR: usize = 24;
const STACK: usize = 32;
const XMM: usize = 160;
const SOFTWARE: usize = 464;
const XSTATE_BV: usize = 512;
const YMM_HIGH: usize = 576;

/// The components that a case sets: x87, SSE, AVX. All others are in their initial state then.
const COMPONENTS: u64 = 7;
const SSE: u64 = 2;
const AVX: u64 = 4;

/// The order of the first eight general-purpose registers in the frame.
const LOW: [libc::c_int; 8] = [REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI];

/// The frame of a signal.
pub struct Frame(*mut ucontext_t);

impl Frame {
    /// # Safety
    /// `context` is what the kernel gave to a signal handler that has not returned.
    pub unsafe fn new(context: *mut ucontext_t) -> Self {
        Self(context)
    }

    fn greg(&self, n: libc::c_int) -> u64 {
        // SAFETY: the frame is valid by the contract of `new`.
        unsafe { (*self.0).uc_mcontext.gregs[n as usize] as u64 }
    }

    fn set_greg(&mut self, n: libc::c_int, value: u64) {
        // SAFETY: as above.
        unsafe { (*self.0).uc_mcontext.gregs[n as usize] = value as i64 }
    }

    pub fn vector(&self) -> u32 {
        self.greg(REG_TRAPNO) as u32
    }

    pub fn error(&self) -> u64 {
        self.greg(REG_ERR)
    }

    pub fn address(&self) -> u64 {
        self.greg(REG_CR2)
    }

    fn image(&self) -> *mut u8 {
        // SAFETY: as above.
        unsafe { (*self.0).uc_mcontext.fpregs.cast() }
    }

    fn get<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: offsets are below the image's size, which `has_avx` asks for where it is more than the legacy area and
        // header that every 64-bit kernel saves; nothing there has an invalid bit pattern.
        unsafe { self.image().add(offset).cast::<T>().read_unaligned() }
    }

    fn set<T: Copy>(&mut self, offset: usize, value: T) {
        // SAFETY: as `get`.
        unsafe { self.image().add(offset).cast::<T>().write_unaligned(value) }
    }

    fn has_avx(&self) -> bool {
        let (magic, features): (u32, u64) = (self.get(SOFTWARE), self.get(SOFTWARE + 8));
        magic == 0x4650_5853 && features & AVX != 0
    }

    /// All that the interrupted code had.
    pub fn read(&self, to: &mut Registers) {
        for (n, reg) in LOW.iter().enumerate() {
            to.gpr[n] = self.greg(*reg);
        }
        for n in 8..16 {
            to.gpr[n] = self.greg(REG_R8 + n as libc::c_int - 8);
        }
        to.rip = self.greg(REG_RIP);
        to.rflags = self.greg(REG_EFL);
        let packed = self.greg(REG_CSGSFS);
        to.selectors = segments::data_selectors();
        to.selectors[1] = packed as u16;
        to.selectors[2] = (packed >> 48) as u16;
        (to.fs_base, to.gs_base) = segments::bases();
        self.read_floating_point(to);
    }

    fn read_floating_point(&self, to: &mut Registers) {
        to.x87.control = self.get(0);
        to.x87.status = StatusWord::from_bits_retain(self.get(2));
        to.x87.valid = self.get(4);
        to.x87.opcode = self.get(6);
        to.x87.instruction_pointer = self.get(8);
        to.x87.data_pointer = self.get(16);
        to.x87.instruction_selector = 0;
        to.x87.data_selector = 0;
        let top = to.x87.top();
        for n in 0..8 {
            to.x87.registers[(top + n) % 8] = F80::from_le_bytes(self.get(STACK + 16 * n));
        }
        to.mxcsr = self.get(MXCSR);
        let has_avx = self.has_avx();
        // Of a component in its initial state, which has its bit clear, the image need not hold anything.
        let saved: u64 = if has_avx { self.get(XSTATE_BV) } else { SSE };
        for n in 0..16 {
            let low: [u64; 2] = if saved & SSE != 0 { self.get(XMM + 16 * n) } else { [0; 2] };
            let high: [u64; 2] = if saved & AVX != 0 { self.get(YMM_HIGH + 16 * n) } else { [0; 2] };
            to.vectors[n] = [low[0], low[1], high[0], high[1]];
        }
    }

    /// What the interrupted code will have when it goes on, segments apart that the frame does not hold.
    pub fn write(&mut self, from: &Registers) {
        for (n, reg) in LOW.iter().enumerate() {
            self.set_greg(*reg, from.gpr[n]);
        }
        for n in 8..16 {
            self.set_greg(REG_R8 + n as libc::c_int - 8, from.gpr[n]);
        }
        self.set_greg(REG_RIP, from.rip);
        self.set_greg(REG_EFL, from.rflags);
        self.set_greg(REG_CSGSFS, u64::from(from.selectors[1]) | u64::from(from.selectors[2]) << 48);
        const ALL_FLAGS: u64 = 7; // extended state present, SS present, SS to be taken as it is
        // SAFETY: the frame is valid by the contract of `new`.
        unsafe { (*self.0).uc_flags |= ALL_FLAGS };
        self.write_floating_point(from);
    }

    fn write_floating_point(&mut self, from: &Registers) {
        self.set(0, from.x87.control);
        self.set(2, from.x87.status.bits());
        self.set(4, from.x87.valid);
        self.set(6, from.x87.opcode);
        self.set(8, from.x87.instruction_pointer);
        self.set(16, from.x87.data_pointer);
        let top = from.x87.top();
        for n in 0..8 {
            self.set(STACK + 16 * n, from.x87.registers[(top + n) % 8].to_le_bytes());
        }
        self.set(MXCSR, from.mxcsr);
        let has_avx = self.has_avx();
        for (n, vector) in from.vectors.iter().enumerate() {
            self.set(XMM + 16 * n, [vector[0], vector[1]]);
            if has_avx {
                self.set(YMM_HIGH + 16 * n, [vector[2], vector[3]]);
            }
        }
        if has_avx {
            self.set(XSTATE_BV, COMPONENTS);
        }
    }

    /// Copies the general part of the frame away.
    pub fn save_general(&self) -> [i64; 23] {
        // SAFETY: the frame is valid by the contract of `new`.
        unsafe { (*self.0).uc_mcontext.gregs }
    }

    /// Goes on at `general`, one byte after where it was interrupted, with a floating-point unit as a call expects it.
    pub fn restore_general(&mut self, general: &[i64; 23]) {
        // SAFETY: the frame is valid by the contract of `new`.
        unsafe { (*self.0).uc_mcontext.gregs = *general };
        self.set_greg(REG_RIP, self.greg(REG_RIP) + 1);
        self.set(0, 0x37f_u16);
        self.set(2, [0_u8; 22]);
        self.set(MXCSR, 0x1f80_u32);
        if self.has_avx() {
            self.set(XSTATE_BV, 0_u64);
        }
    }
}
