//! Where exceptions and task switches lead: stacks, task state segments, and handlers that go on behind what faulted.
//! SDM: vol. 3 §7.2 (task state segments), §6.12 (frames).

use super::{
    descriptors::{any_selector, task_selector},
    pointers::{self, TASK_COUNT},
    recipe::Manner,
};
use crate::{
    Mode,
    engine::has_error_code,
    generate::{Random, integer},
    layout::{CODE, HANDLER_SIZE, HLT, KERNEL_STACK, PAGE, selector},
};

/// Stacks of every ring, and a map of I/O permissions.
pub fn fill_task_state(random: &mut Random, mode: Mode, page: &mut [u8]) {
    page[0x68..].fill_with(|| if random.one_in(2) { 0 } else { random.bits() as u8 });
    let top = |random: &mut Random| KERNEL_STACK.end - 0x10 * random.below(0x80);
    if mode.is_long() {
        for n in 0..3 {
            page[4 + 8 * n..][..8].copy_from_slice(&top(random).to_le_bytes());
        }
        for n in 0..7 {
            page[0x24 + 8 * n..][..8].copy_from_slice(&top(random).to_le_bytes());
        }
    } else {
        for ring in 1..3_u16 {
            let at = 4 + 8 * usize::from(ring);
            page[at..at + 4].copy_from_slice(&(top(random) as u32).to_le_bytes());
            let stack = if random.one_in(2) { selector::KERNEL_DATA | ring } else { any_selector(random) };
            page[at + 4..at + 6].copy_from_slice(&stack.to_le_bytes());
        }
    }
    let map = if random.one_in(8) { integer(random) as u16 } else { 0x68 + random.below(0x40) as u16 };
    page[0x66..0x68].copy_from_slice(&map.to_le_bytes());
}

/// Tasks that can be switched to, in the 32-bit layout; the 16-bit one finds something in it, too.
pub fn tasks(random: &mut Random, root: u64) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    for n in 0..TASK_COUNT {
        let task = &mut page[0x100 * n as usize..][..0x100];
        let mut put = |at: usize, value: u64| task[at..at + 4].copy_from_slice(&(value as u32).to_le_bytes());
        let is_user = random.one_in(2);
        let (code, data) =
            if is_user { (selector::USER_CODE32, selector::USER_DATA) } else { (selector::KERNEL_CODE, selector::KERNEL_DATA) };
        let selector = |random: &mut Random, sane: u16| u64::from(if random.one_in(16) { any_selector(random) } else { sane });
        put(0, task_selector(random).into());
        put(4, KERNEL_STACK.end);
        put(8, selector::KERNEL_DATA.into());
        put(0x1c, root);
        put(0x20, CODE + random.below(0x100));
        put(0x24, 2 | if random.one_in(2) { 0 } else { random.bits() & 0x3f_7fd5 });
        for register in 0..8 {
            put(0x28 + 4 * register, pointers::physical(random));
        }
        for register in 0..6 {
            let sane = if register == 1 { code } else { data };
            put(0x48 + 4 * register, selector(random, sane));
        }
        put(0x60, if random.one_in(4) { selector(random, 0) } else { selector::LDT.into() });
        put(0x64, 0x68 << 16 | u64::from(random.one_in(8)));
    }
    page
}

/// Handlers: most go on behind the first byte of what faulted. Those of blocks go through a port, which ends them in time.
pub fn handlers(random: &mut Random, mode: Mode, manner: Manner) -> Vec<u8> {
    let mut page = vec![HLT; PAGE as usize];
    for (vector, handler) in page.chunks_exact_mut(HANDLER_SIZE as usize).enumerate() {
        if manner == Manner::Steps && random.one_in(16) {
            handler.fill_with(|| random.bits() as u8);
            continue;
        }
        let drops_error = has_error_code(vector as u8);
        let mut code: Vec<u8> = match mode {
            // PUSH BP; MOV BP, SP; INC WORD [BP+2]; POP BP
            Mode::Real16 => vec![0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d],
            // ADD DWORD [ESP], 1, perhaps behind ADD ESP, 4
            Mode::Vm86 | Mode::Prot16 | Mode::Prot32 if drops_error => vec![0x83, 0xc4, 0x04, 0x83, 0x04, 0x24, 0x01],
            Mode::Vm86 | Mode::Prot16 | Mode::Prot32 => vec![0x83, 0x04, 0x24, 0x01],
            _ if drops_error => vec![0x48, 0x83, 0xc4, 0x08, 0x48, 0x83, 0x04, 0x24, 0x01],
            _ => vec![0x48, 0x83, 0x04, 0x24, 0x01],
        };
        if manner == Manner::Blocks {
            code.extend([0xe6, 0xf4]); // OUT F4h, AL
        }
        code.extend(if mode.is_long() { &[0x48, 0xcf][..] } else { &[0xcf] }); // IRET
        handler[..code.len()].copy_from_slice(&code);
    }
    page
}
