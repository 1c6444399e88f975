//! Instructions that their handler executes without the code being left: gates and their returns, loads of segment registers.
//!
//! Rule of this file: what they mean is written once, in the semantics. Here is only where the code goes on: where the handler
//! says that nothing has changed of what code depends on, behind the instruction, otherwise through the cache of jumps of the
//! mode that there is now. Everything unusual, a fault, an interrupt that is let in, a single step, leaves the code.

use dynasm::dynasm;
use dynasmrt::DynasmApi;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use super::{SiteKind, Work, flags::Flags};

/// Whether `insn`, the last of its block, is such an instruction: one that is common, and whose handler looks at no vector and not
/// at the x87 unit.
pub(super) fn is_handled(insn: &Instruction) -> bool {
    use Mnemonic::*;
    match insn.mnemonic() {
        Int | Int3 | Iret | Iretd | Iretq | Retf | Sysenter | Sysexit | Sysexitq | Syscall | Sysret | Sysretq => true,
        Jmp => insn.is_jmp_far() || insn.is_jmp_far_indirect(),
        Call => insn.is_call_far() || insn.is_call_far_indirect(),
        _ => goes_on_behind(insn),
    }
}

/// Whether the instruction is done with the next one to come, where it is not refused.
fn goes_on_behind(insn: &Instruction) -> bool {
    use Mnemonic::*;
    let writes = |is_meant: fn(Register) -> bool| insn.op0_kind() == OpKind::Register && is_meant(insn.op0_register());
    match insn.mnemonic() {
        Lds | Les | Lfs | Lgs | Lss | Popf | Popfd | Popfq | Invlpg => true,
        Mov => writes(Register::is_segment_register) || writes(Register::is_cr),
        Pop => writes(Register::is_segment_register),
        _ => false,
    }
}

impl Work<'_> {
    /// Has the handler of the instruction called, and goes on where that went.
    pub(super) fn call_handler(&mut self) {
        self.leave_flags_in_memory();
        let site = self.site(SiteKind::Interpret);
        self.site_number(site, 14);
        let (call, returns) = (self.layout.call_handler(), self.layout.return_base());
        dynasm!(self.code ; .arch x64 ; gs call QWORD [call]);
        if goes_on_behind(self.original()) {
            dynasm!(self.code ; .arch x64 ; test r11d, r11d ; .bytes [0x0fu8, 0x85]); // JNE
            let elsewhere = self.code.displacement();
            self.fall_out();
            self.code.land(elsewhere);
            self.flags = Flags::MEMORY;
        }
        // What calls have left there may be code of another mode.
        dynasm!(self.code ; .arch x64 ; gs mov rsp, [returns]);
        self.jump_to_r10(None);
    }
}
