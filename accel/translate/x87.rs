//! The guest's x87 unit in the host's, and what it remembers of its last instruction.

use dragoman_jit::{Frame, rewrite::Pointer, run::x87};
use dragoman_state::StatusWord;

use super::{code::Place, run::Run};
use crate::interpret::InterpretedVcpu;

impl Run<'_> {
    /// Brings the guest's x87 unit into the host's, where every exception is masked: the interpreter alone reports them.
    pub(super) fn load_x87(vcpu: &mut InterpretedVcpu) -> bool {
        const MASKS: u16 = 0x3f;
        let cpu = &mut vcpu.cpu;
        let is_masked = cpu.state.x87.control & MASKS == MASKS && !cpu.state.x87.status.contains(StatusWord::ES);
        if is_masked {
            x87::load(&cpu.state.x87);
            cpu.frame.x87_pointer = Frame::NO_POINTER;
            cpu.frame.has_x87 = 1;
        }
        is_masked
    }

    /// Takes the guest's x87 unit out of the host's, where it is there.
    pub(super) fn unload_x87(&self, vcpu: &mut InterpretedVcpu) {
        let cpu = &mut vcpu.cpu;
        if std::mem::take(&mut cpu.frame.has_x87) == 0 {
            return;
        }
        let old = std::mem::replace(&mut cpu.state.x87, x87::unload());
        let now = &mut cpu.state.x87;
        // Without an exception to be reported neither is remembered.
        (now.opcode, now.data_pointer, now.data_selector) = (old.opcode, old.data_pointer, old.data_selector);
        now.instruction_pointer = cpu.frame.x87_pointer;
        if cpu.frame.x87_pointer == Frame::NO_POINTER {
            (now.instruction_pointer, now.instruction_selector) = (old.instruction_pointer, old.instruction_selector);
        }
    }

    /// Notes the last x87 instruction where the code was left behind it.
    pub(super) fn take_pointer(vcpu: &mut InterpretedVcpu, place: &Place) {
        let frame = &mut vcpu.cpu.frame;
        match place.site.pointer {
            Pointer::Known => {}
            Pointer::Nothing => frame.x87_pointer = 0,
            Pointer::Insn(n) => {
                let start = place.block.payload[usize::from(n)].start;
                let offset = place.block.key.at.page_offset() as u64 + u64::from(start);
                frame.x87_pointer = frame.page.wrapping_add(offset);
            }
        }
    }
}
