//! How a virtual processor runs: the traits that every engine implements, the software MMU they share, and the
//! interpreter.
//!
//! Rule of this crate: nothing above it knows which engine runs. An engine owns its processor's
//! [`VcpuState`](dragoman_state::VcpuState) while it runs and can give it up at any instruction boundary; other threads
//! reach it through its [`VcpuHandle`] alone.

mod engine;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod hybrid;
mod inbox;
pub mod interpret;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod kvm;
mod measure;
pub mod mmu;
mod tiny;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod translate;
mod world;

pub use engine::{
    AccelError, Accelerator, Capabilities, CpuBus, Created, ExitReason, Pending, SafepointWork, StopToken, Vcpu, VcpuContext,
    VcpuHandle,
};
pub use inbox::Inbox;
pub use measure::{Speed, measure};
pub use world::World;
