//! The processor as it was: registers, segments, the last branches, the top of the stack.

use dragoman_state::{Gpr, SegmentIndex};

use super::{Scene, subject};
use crate::decode::{CodeSize, Mode};

/// Branches in a line.
const BRANCHES: usize = 4;
/// Bytes of the stack in a line, and lines of it.
const STACK: (usize, usize) = (32, 2);

impl Scene<'_> {
    pub(super) fn registers(&self) -> Vec<String> {
        let (state, is_wide) = (self.state, self.state.is_long_mode());
        let names = if is_wide {
            &["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"][..]
        } else {
            &["eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp"][..]
        };
        const ORDER: [u8; 16] = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
        let cells: Vec<_> = names
            .iter()
            .zip(ORDER)
            .map(|(name, n)| {
                let value = state.gpr[Gpr(n)];
                if is_wide { format!("{name:<3} {value:016x}") } else { format!("{name} {value:08x}") }
            })
            .collect();
        let mut lines: Vec<_> = cells.chunks(if is_wide { 4 } else { 8 }).map(|row| format!("  {}", row.join("  "))).collect();
        lines.push(format!(
            "  rip {:x}  flags {:x}  cr0 {:x}  cr2 {:x}  cr3 {:x}  cr4 {:x}  efer {:x}",
            state.rip,
            state.rflags.bits(),
            state.cr0.bits(),
            state.cr2,
            state.cr3,
            state.cr4.bits(),
            state.efer.bits()
        ));
        lines
    }

    pub(super) fn segments(&self) -> Vec<String> {
        let state = self.state;
        let show = |index: SegmentIndex| {
            let segment = state.segment(index);
            let name = subject::name(index).to_lowercase();
            if segment.attributes.is_unusable() {
                return format!("{name} {:04x} null", segment.selector);
            }
            format!("{name} {:04x} {:x}+{:x} {:04x}", segment.selector, segment.base, segment.limit, segment.attributes.0)
        };
        let order = [SegmentIndex::Cs, SegmentIndex::Ss, SegmentIndex::Ds, SegmentIndex::Es, SegmentIndex::Fs, SegmentIndex::Gs];
        let cells = order.map(show);
        let (tr, ldtr) = (&state.tr, &state.ldtr);
        vec![
            format!("  {}   (base+limit rights)", cells[..3].join("  ")),
            format!("  {}", cells[3..].join("  ")),
            format!(
                "  gdt {:x}+{:x}  idt {:x}+{:x}  tr {:04x} {:x}+{:x}  ldt {:04x} {:x}+{:x}",
                state.gdtr.base,
                state.gdtr.limit,
                state.idtr.base,
                state.idtr.limit,
                tr.selector,
                tr.base,
                tr.limit,
                ldtr.selector,
                ldtr.base,
                ldtr.limit
            ),
        ]
    }

    /// The last branches, oldest first.
    pub(super) fn branches(&self) -> Vec<String> {
        let cells: Vec<_> = self.trace.branches.iter().map(|branch| format!("{:x}>{:x}", branch.from.0, branch.to.0)).collect();
        let label = |n: usize| if n == 0 { "branches" } else { "        " };
        cells.chunks(BRANCHES).enumerate().map(|(n, row)| format!("  {} {}", label(n), row.join("  "))).collect()
    }

    /// The top of the stack, upwards, in units of the stack's own.
    pub(super) fn stack(&self) -> Vec<String> {
        let (mode, state) = (Mode::of(self.state), self.state);
        let unit = match mode.code_size() {
            CodeSize::Bits64 => 8,
            CodeSize::Bits32 => 4,
            CodeSize::Bits16 => 2,
        };
        let pointer = mode.stack_width().truncate(state.gpr[Gpr::RSP]);
        let base = if state.is_64bit() { 0 } else { state.segment(SegmentIndex::Ss).base };
        let mut bytes = [0; STACK.0 * STACK.1];
        let length = self.read(base.wrapping_add(pointer), &mut bytes);
        if length < unit {
            return vec![format!("  stack  {pointer:x}: no memory")];
        }
        let show = |word: &[u8]| word.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
        let rows = bytes[..length - length % unit].chunks(STACK.0).enumerate();
        rows.map(|(n, row)| {
            let at = pointer.wrapping_add((n * STACK.0) as u64);
            format!("  stack  {at:x}: {}", row.chunks(unit).map(show).collect::<Vec<_>>().join(" "))
        })
        .collect()
    }
}
