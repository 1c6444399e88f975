//! The recording machine as helpers see it. What they do to memory and ports is noted; what they do to the state shows
//! when it is compared with another run.

use dragoman_frontend::{
    fault::Fault,
    model::CpuModel,
    semantics::{ApicAccess, Cpu, Flush, Privilege},
};
use dragoman_state::{ApicBase, GuestPhys, GuestVirt, Port, VcpuState, Width};

use super::recorder::Recorder;

/// What the time-stamp counter says.
const TIME: u64 = 0x0123_4567_89ab_cdef;

/// What chance brings.
const CHANCE: u64 = 0xfedc_ba98_7654_3210;

impl Cpu for Recorder {
    fn state(&self) -> &VcpuState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut VcpuState {
        &mut self.state
    }

    fn model(&self) -> &CpuModel {
        &self.model
    }

    fn read(&mut self, at: GuestVirt, width: Width, privilege: Privilege) -> Result<u64, Fault> {
        if privilege == Privilege::Current {
            self.touch(at.0, width.bytes(), false);
        }
        Ok(self.memory.read(at.0, width.bytes()) as u64)
    }

    fn write(&mut self, at: GuestVirt, width: Width, value: u64, privilege: Privilege) -> Result<(), Fault> {
        if privilege == Privilege::Current {
            self.touch(at.0, width.bytes(), true);
        }
        self.memory.write(at.0, width.bytes(), value.into());
        Ok(())
    }

    fn check_write(&mut self, _: GuestVirt, _: u64, _: Privilege) -> Result<(), Fault> {
        Ok(())
    }

    fn copy_run(&mut self, _: GuestVirt, _: GuestVirt, _: Width, _: u64) -> u64 {
        0
    }

    fn fill_run(&mut self, _: GuestVirt, _: Width, _: u64, _: u64) -> u64 {
        0
    }

    fn compare_exchange_16(&mut self, at: GuestVirt, expected: u128, new: u128, _: bool) -> Result<u128, Fault> {
        self.touch(at.0, 16, false);
        self.touch(at.0, 16, true);
        let old = self.memory.read(at.0, 16);
        self.memory.write(at.0, 16, if old == expected { new } else { old });
        Ok(old)
    }

    fn read_physical(&mut self, _: GuestPhys) -> u64 {
        0
    }

    fn port_in(&mut self, port: Port, width: Width) -> u32 {
        self.log.ports.push((port.0, width, None));
        width.truncate(u64::from(port.0).wrapping_mul(0x9e37_79b9)) as u32
    }

    fn port_out(&mut self, port: Port, width: Width, value: u32) {
        self.log.ports.push((port.0, width, Some(value)));
    }

    fn time_stamp(&mut self) -> u64 {
        TIME.wrapping_add(self.state.tsc_offset)
    }

    fn set_time_stamp(&mut self, value: u64) {
        self.state.tsc_offset = value.wrapping_sub(TIME);
    }

    fn random(&mut self) -> Option<u64> {
        Some(CHANCE)
    }

    fn flush(&mut self, what: Flush) {
        self.log.flushes.push(what);
    }

    fn switch_context(&mut self) {}

    fn apic_register(&mut self, _: u8, _: ApicAccess) -> Result<u64, Fault> {
        Err(Fault::GP0)
    }

    fn set_tsc_deadline(&mut self, _: u64) {}

    fn set_apic_base(&mut self, base: u64) -> Result<(), Fault> {
        self.state.msrs.apic_base = ApicBase::from_bits_retain(base);
        Ok(())
    }

    fn set_task_priority(&mut self, priority: u8) {
        self.state.lapic.task_priority = priority;
    }
}
