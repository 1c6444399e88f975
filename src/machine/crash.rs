//! The report on a guest that cannot run on, on standard error.

use dragoman_accel::{AccelError, Vcpu};
use dragoman_devices::memory::GuestRam;
use dragoman_frontend::{
    model::CpuModel,
    post_mortem::{End, PhysicalMemory, Scene},
};
use dragoman_state::GuestPhys;

struct Memory<'a>(&'a GuestRam);

impl PhysicalMemory for Memory<'_> {
    fn read(&self, at: GuestPhys, bytes: &mut [u8]) -> bool {
        self.0.read(at, bytes).is_ok()
    }
}

/// Prints what `vcpu`, of `model`, died of.
pub fn report(vcpu: &mut dyn Vcpu, model: &CpuModel, ram: &GuestRam, end: &End) -> Result<(), AccelError> {
    let (state, trace) = (vcpu.save()?, vcpu.trace());
    let scene = Scene { state: &state, model, memory: &Memory(ram), trace: &trace };
    eprintln!("dragoman: {}", scene.report(end).join("\n"));
    Ok(())
}
