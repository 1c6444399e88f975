//! The instruction that faulted: its text, and why it did where nobody noted it.

use dragoman_state::{Cr0, GuestVirt, SegmentIndex};

use super::Scene;
use crate::{
    decode::{CodeSize, MAX_INSN_BYTES, Mode, Touched, disassemble, inspect},
    fault::{Fault, vector},
    semantics::{
        segmentation,
        system::{Objection, Subject},
    },
};

/// UD2, UD1, UD0.
fn is_meant_to_be_undefined(code: &[u8]) -> bool {
    matches!(code, [0x0f, 0x0b | 0xb9 | 0xff, ..])
}

impl Scene<'_> {
    fn code_size(&self) -> CodeSize {
        Mode::of(self.state).code_size()
    }

    /// The bytes at RIP, as many as there are.
    fn code(&self) -> Vec<u8> {
        let mut bytes = [0; MAX_INSN_BYTES];
        let length = self.read(self.state.code_address(self.state.rip), &mut bytes);
        bytes[..length].to_vec()
    }

    /// The instruction at RIP as text.
    pub(super) fn instruction(&self) -> String {
        let code = self.code();
        if code.is_empty() {
            return "(no memory to fetch from)".into();
        }
        disassemble(&code, self.code_size(), self.state.rip)
    }

    /// Why the instruction at RIP raised `fault`, as far as can be found out after the fact.
    pub(super) fn why(&self, fault: Fault) -> Option<String> {
        let code = self.code();
        let (size, rip) = (self.code_size(), self.state.rip);
        Some(match fault.vector() {
            vector::DE => "the divisor is zero, or the quotient does not fit".into(),
            vector::UD if code.is_empty() => return None,
            vector::UD if is_meant_to_be_undefined(&code) => return None,
            vector::UD if inspect(&code, size, rip, self.state).is_none() => {
                let bytes: Vec<_> = code.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                format!("{} is no instruction", bytes.join(" "))
            }
            vector::UD => "it is undefined in this mode, switched off, or not on this processor".into(),
            vector::NM => {
                format!("the floating-point unit is off: CR0.TS = {}, CR0.EM = {}", self.cr0(Cr0::TS), self.cr0(Cr0::EM))
            }
            vector::MF => format!(
                "an x87 exception is pending: FSW = {:#06x}, FCW = {:#06x}",
                self.state.x87.status, self.state.x87.control
            ),
            vector::XM => format!("an SSE exception is not masked: MXCSR = {:#x}", self.state.vectors.mxcsr),
            vector::GP | vector::SS => return self.why_protected(&code),
            _ => return None,
        })
    }

    fn cr0(&self, bit: Cr0) -> u8 {
        self.state.cr0.contains(bit).into()
    }

    /// Why a general protection or stack fault was raised.
    fn why_protected(&self, code: &[u8]) -> Option<String> {
        let (state, rip) = (self.state, self.state.rip);
        if state.is_64bit() && !GuestVirt(rip).is_canonical(state.linear_bits()) {
            return Some(format!("RIP {rip:#x} is not canonical"));
        }
        if !state.is_64bit() && rip > u64::from(state.segment(SegmentIndex::Cs).limit) {
            return Some(format!("RIP {rip:#x} is beyond the limit of CS, {:#x}", state.segment(SegmentIndex::Cs).limit));
        }
        let insn = inspect(code, self.code_size(), rip, state)?;
        if let Some(text) = insn.touched.iter().find_map(|touched| self.refusal(touched)) {
            return Some(text);
        }
        if insn.is_privileged && state.cpl() != 0 {
            return Some(format!("it is not for CPL {}", state.cpl()));
        }
        insn.touched.iter().find_map(|touched| {
            let at = touched.offset.wrapping_add(state.segment(touched.segment).base);
            let is_odd = touched.size >= 16 && at % 16 != 0;
            is_odd.then(|| format!("its operand at {at:#x} is not aligned to 16 bytes"))
        })
    }

    /// What forbids one of an instruction's accesses, where something does.
    fn refusal(&self, touched: &Touched) -> Option<String> {
        let segment = self.state.segment(touched.segment);
        if self.state.is_64bit() {
            let base = if matches!(touched.segment, SegmentIndex::Fs | SegmentIndex::Gs) { segment.base } else { 0 };
            let at = base.wrapping_add(touched.offset);
            let is_far = |at: u64| !GuestVirt(at).is_canonical(self.state.linear_bits());
            let is_refused = is_far(at) || is_far(at.wrapping_add(touched.size - 1));
            return is_refused.then(|| format!("its operand's address {at:#x} is not canonical"));
        }
        let fault = segmentation::segment_fault(touched.segment);
        let linear = segmentation::linear_in(segment, touched.offset, touched.size, touched.is_write, fault);
        let text = segmentation::objection(segment, touched.offset, touched.size, touched.is_write);
        let subject = Subject::Segment { index: touched.segment, offset: touched.offset };
        linear.err().map(|fault| self.objection(&Objection { subject, text, fault }))
    }
}
