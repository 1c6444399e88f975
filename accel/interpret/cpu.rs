//! The processor as helpers see it.

use std::time::Duration;

use dragoman_frontend::{
    fault::Fault,
    model::CpuModel,
    paging::AccessKind,
    semantics::{ApicAccess, Cpu, Flush, Privilege, system::Objection},
};
use dragoman_state::{GuestPhys, GuestVirt, PAGE_SIZE, Port, VcpuState, Width};

use super::{memory::NO_SEGMENT, processor::Processor};
use crate::mmu::Place;

/// How long MWAIT waits at most.
const MOMENT: Duration = Duration::from_micros(200);

impl Cpu for Processor {
    fn state(&self) -> &VcpuState {
        &self.state
    }

    fn state_mut(&mut self) -> &mut VcpuState {
        &mut self.state
    }

    fn model(&self) -> &CpuModel {
        &self.context.model
    }

    fn object(&mut self, objection: Objection) {
        self.objection = Some(objection);
    }

    fn take_objection(&mut self) -> Option<Objection> {
        self.objection.take()
    }

    fn assert_ferr(&mut self) -> bool {
        self.context.bus.assert_ferr()
    }

    fn release_ferr(&mut self) {
        self.context.bus.release_ferr();
    }

    fn read(&mut self, at: GuestVirt, width: Width, privilege: Privilege) -> Result<u64, Fault> {
        let view = self.view_of(privilege);
        match self.mmu.load_fast(view, at.0, width) {
            Some(value) => Ok(value),
            None => self.load_slow(view, NO_SEGMENT, at.0, width),
        }
    }

    fn write(&mut self, at: GuestVirt, width: Width, value: u64, privilege: Privilege) -> Result<(), Fault> {
        let view = self.view_of(privilege);
        if self.mmu.store_fast(view, at.0, width, value) {
            return Ok(());
        }
        self.store_slow(view, NO_SEGMENT, at.0, width, value)
    }

    fn check_write(&mut self, at: GuestVirt, length: u64, privilege: Privilege) -> Result<(), Fault> {
        let view = self.view_of(privilege);
        if self.mmu.can_store_fast(view, at.0, length.max(1)) {
            return Ok(());
        }
        let last = at.0.wrapping_add(length.max(1) - 1);
        if self.mmu.is_careful() {
            self.check_alignment(view, at.0, length)?;
        }
        self.place(view, AccessKind::Write, NO_SEGMENT, at.0)?;
        if last & !(PAGE_SIZE - 1) != at.page().0 {
            self.place(view, AccessKind::Write, NO_SEGMENT, last & !(PAGE_SIZE - 1))?;
        }
        Ok(())
    }

    fn copy_run(&mut self, to: GuestVirt, from: GuestVirt, width: Width, count: u64) -> u64 {
        let count = count.min(room(to, width)).min(room(from, width));
        if count == 0 {
            return 0;
        }
        let (Some(source), Some(target)) = (self.plain(AccessKind::Read, from.0), self.plain(AccessKind::Write, to.0)) else {
            return 0;
        };
        let bytes = count * width.bytes();
        // Upwards into itself an element reads what an earlier one wrote: not as one piece.
        if source.at.0 < target.at.0 && target.at.0 < source.at.0 + bytes {
            return 0;
        }
        let hit = self.mmu.copy(target, source, bytes);
        self.must_leave |= hit;
        count
    }

    fn fill_run(&mut self, to: GuestVirt, width: Width, value: u64, count: u64) -> u64 {
        let count = count.min(room(to, width));
        let Some(target) = self.plain(AccessKind::Write, to.0).filter(|_| count > 0) else { return 0 };
        let hit = self.mmu.fill(target, width, value, count);
        self.must_leave |= hit;
        count
    }

    fn compare_exchange_16(&mut self, at: GuestVirt, expected: u128, new: u128, _is_locked: bool) -> Result<u128, Fault> {
        let place = self.place(self.view, AccessKind::Write, NO_SEGMENT, at.0)?;
        if let Place::Ram(place) = place {
            if let Some((old, hit)) = self.mmu.compare_exchange_16(place, expected, new) {
                self.must_leave |= hit;
                return Ok(old);
            }
        }
        self.alone(|cpu| {
            let above = GuestVirt(at.0.wrapping_add(8));
            let low = cpu.read(at, Width::Qword, Privilege::Current)?;
            let high = cpu.read(above, Width::Qword, Privilege::Current)?;
            let old = u128::from(high) << 64 | u128::from(low);
            let value = if old == expected { new } else { old };
            cpu.write(at, Width::Qword, value as u64, Privilege::Current)?;
            cpu.write(above, Width::Qword, (value >> 64) as u64, Privilege::Current)?;
            Ok(old)
        })
    }

    fn read_physical(&mut self, at: GuestPhys) -> u64 {
        self.mmu.read_physical(at)
    }

    fn port_in(&mut self, port: Port, width: Width) -> u32 {
        self.watch_port(port, width);
        self.context.bus.read_port(port, width)
    }

    fn port_out(&mut self, port: Port, width: Width, value: u32) {
        self.watch_port(port, width);
        self.context.bus.write_port(port, width, value);
    }

    fn time_stamp(&mut self) -> u64 {
        self.guest_time()
    }

    fn set_time_stamp(&mut self, value: u64) {
        self.frame.time.forget();
        self.state.tsc_offset = value.wrapping_sub(self.clock_ticks());
        self.rearm_timer();
    }

    fn random(&mut self) -> Option<u64> {
        self.context.bus.random()
    }

    fn doze(&mut self) {
        self.must_attend = true;
        if !self.inbox.has_any() {
            self.sleep(Some(MOMENT));
        }
    }

    fn flush(&mut self, what: Flush) {
        // A helper changes the registers that paging depends on before it flushes.
        self.derive();
        self.mmu.flush(what);
    }

    fn switch_context(&mut self) {
        self.derive();
        self.mmu.switch_context();
    }

    fn apic_register(&mut self, index: u8, access: ApicAccess) -> Result<u64, Fault> {
        self.access_x2apic(index, access)
    }

    fn set_tsc_deadline(&mut self, value: u64) {
        self.write_tsc_deadline(value);
    }

    fn set_apic_base(&mut self, base: u64) -> Result<(), Fault> {
        self.write_apic_base(base)
    }

    fn set_task_priority(&mut self, priority: u8) {
        self.state.lapic.task_priority = priority;
        self.must_attend = true;
    }
}

/// How many elements of `width` from `at` on are within its page.
fn room(at: GuestVirt, width: Width) -> u64 {
    (PAGE_SIZE - at.page_offset() as u64) / width.bytes()
}
