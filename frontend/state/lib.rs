//! The architectural state of one x86 processor, and the small words (addresses, widths, instants) that every
//! other part of the program uses to speak about it.
//!
//! Rule of this crate: plain data. Nothing here executes, allocates or knows an engine, a device or a host, so a
//! [`VcpuState`] saved by one engine on one host means the same to another engine on another host.

mod address;
mod control;
mod lapic;
mod msr;
mod segment;
mod time;
mod vcpu;
mod vector;
mod width;
mod x87;

pub use address::{GuestPhys, GuestVirt, PAGE_SIZE, Port, VcpuId};
pub use control::{Cr0, Cr4, Dr6, Dr7, Efer, RFlags, Xcr0};
pub use lapic::{LapicState, LvtIndex};
pub use msr::{ApicBase, MTRR_FIXED, MTRR_VARIABLE, Msrs};
pub use segment::{Attributes, Segment, SegmentIndex, TableRegister};
pub use time::{VmDuration, VmInstant};
pub use vcpu::{Activity, Events, Gpr, GprFile, InterruptShadow, VcpuState};
pub use vector::{Mxcsr, VectorState};
pub use width::Width;
pub use x87::{F80, StatusWord, X87State};
