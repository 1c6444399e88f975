//! The time-stamp counter: the guest reads the host's own, with an offset, and the machine's clock is told what it reads.
//!
//! The two run at one rate but for what the host's clock is corrected by. The guest's counter never goes back: where it is
//! ahead of the clock, our offset follows it; where it has fallen behind, it is set forward.

use std::io;

use dragoman_jit::run::time::ticks;
use kvm_bindings::{Msrs, kvm_msr_entry};

use super::host_vcpu::{HostVcpu, io_error};
use crate::interpret::processor::Processor;

const TSC: u32 = 0x10;
/// How many nanoseconds the guest's counter may be behind the clock.
const SLACK: u64 = 20_000;

/// What KVM adds to the host's counter, and what of ours it was told.
#[derive(Debug, Default)]
pub(super) struct TimeStamp {
    offset: u64,
    /// The guest's counter is the host's and the offset; where it is not, KVM is asked.
    is_plain: bool,
    /// The offset from the clock that the guest's counter was set by, since the processor runs.
    told: Option<u64>,
    has_begun: bool,
}

impl TimeStamp {
    fn read(&self, vcpu: &HostVcpu) -> io::Result<u64> {
        if self.is_plain { Ok(ticks().wrapping_add(self.offset)) } else { ask(vcpu) }
    }

    /// Brings the guest's counter and the clock of `cpu` together. To be called before the guest runs, and before a timer is set
    /// by the counter.
    pub fn follow(&mut self, vcpu: &HostVcpu, cpu: &mut Processor) -> io::Result<()> {
        let wanted = |cpu: &Processor| cpu.clock_ticks().wrapping_add(cpu.state.tsc_offset);
        if self.told != Some(cpu.state.tsc_offset) {
            if !self.has_begun {
                self.begin(vcpu)?;
            }
            let there = self.read(vcpu)?;
            self.move_by(vcpu, wanted(cpu).wrapping_sub(there))?;
            self.told = Some(cpu.state.tsc_offset);
            return Ok(());
        }
        let there = self.read(vcpu)?;
        let ahead = there.wrapping_sub(wanted(cpu)) as i64;
        let slack = SLACK * (cpu.context.model.tsc_hertz() / 1000) / 1_000_000;
        if ahead > 0 {
            cpu.state.tsc_offset = cpu.state.tsc_offset.wrapping_add(ahead as u64);
            self.told = Some(cpu.state.tsc_offset);
            if ahead as u64 > slack {
                cpu.rearm_timer();
            }
        } else if ahead.unsigned_abs() > slack {
            self.move_by(vcpu, ahead.unsigned_abs())?;
        }
        Ok(())
    }

    /// The processor stops, and its clock may stand still before it runs again: the guest's counter then goes on by the clock.
    pub fn stop(&mut self, vcpu: &HostVcpu, cpu: &mut Processor) -> io::Result<()> {
        if self.told.is_some() {
            self.follow(vcpu, cpu)?;
            self.told = None;
        }
        Ok(())
    }

    /// Begins with the host's own counter, where it is not scaled: then KVM's word lies between two readings of it.
    fn begin(&mut self, vcpu: &HostVcpu) -> io::Result<()> {
        self.has_begun = true;
        self.offset = 0;
        let is_offset = vcpu.set_tsc_offset(0).is_ok();
        let (before, there, after) = (ticks(), ask(vcpu)?, ticks());
        self.is_plain = is_offset && (before..=after).contains(&there);
        Ok(())
    }

    fn move_by(&mut self, vcpu: &HostVcpu, change: u64) -> io::Result<()> {
        let offset = self.offset.wrapping_add(change);
        if vcpu.set_tsc_offset(offset).is_ok() {
            self.offset = offset;
            return Ok(());
        }
        // Kernels without the offset take the value; they may keep it near where it was.
        let value = ask(vcpu)?.wrapping_add(change);
        self.is_plain = false;
        vcpu.fd.set_msrs(&list(value)?).map_err(io_error).map(drop)
    }
}

fn list(value: u64) -> io::Result<Msrs> {
    Msrs::from_entries(&[kvm_msr_entry { index: TSC, data: value, ..Default::default() }])
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// What the guest would read now.
fn ask(vcpu: &HostVcpu) -> io::Result<u64> {
    let mut list = list(0)?;
    vcpu.fd.get_msrs(&mut list).map_err(io_error)?;
    list.as_slice().first().map(|entry| entry.data).ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}
