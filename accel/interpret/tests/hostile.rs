//! Guests that no program would be: at the ends of address space and segments, in loops of exceptions, in their own page
//! tables. Most were found by random code (tests/harness/chaos).

use dragoman_state::{Attributes, Cr0, Cr4, Dr7, Efer, LvtIndex, Segment, TableRegister};

use super::*;

/// A flat segment.
fn flat(attributes: u32, selector: u16) -> Segment {
    Segment { base: 0, limit: u32::MAX, attributes: Attributes(attributes), selector }
}

impl Scene {
    /// The scene with `change` made to its state.
    fn with(mut self, change: impl FnOnce(&mut VcpuState)) -> Self {
        let mut state = self.state();
        change(&mut state);
        self.vcpu.load(&state).expect("a valid state");
        self
    }

    /// In flat 32-bit protected mode at ring `cpl`, with descriptors at 0x3000 and gates at 0x3800.
    fn protected(self, cpl: u8) -> Self {
        self.with(|state| {
            let data = flat(0xc093 | u32::from(cpl) << 5, u16::from(cpl));
            state.segments = [data; 6];
            *state.segment_mut(SegmentIndex::Cs) = flat(0xc09b | u32::from(cpl) << 5, u16::from(cpl));
            state.cr0 |= Cr0::PE;
            state.gdtr = TableRegister { base: 0x3000, limit: 0xff };
            state.idtr = TableRegister { base: 0x3800, limit: 0x7ff };
        })
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.ram.write(GuestPhys(at), bytes).expect("RAM");
    }

    fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.ram.read(GuestPhys(at), &mut bytes).expect("RAM");
        bytes
    }

    fn raise_nmi(&self) {
        let nmi = InterruptMessage { destination: 0, is_logical: false, delivery: Delivery::Nmi, vector: 0, is_level: false };
        self.handle.raise(Pending::Message(nmi));
    }

    /// Runs until another thread asks to stop, after a moment.
    fn run_a_moment(&mut self) -> ExitReason {
        let stop = StopToken::new();
        let (token, handle) = (stop.clone(), self.handle.clone());
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            token.stop();
            handle.kick();
        });
        let reason = self.vcpu.run(&stop).expect("no error of ours");
        other.join().expect("it only kicks");
        reason
    }
}

#[test]
fn what_is_raised_while_a_processor_is_asked_to_stop_is_not_lost() {
    let mut scene = Scene::new(&[0xeb, 0xfe]); // JMP $
    scene.write(0x2000, &[0xf4]); // HLT
    scene.vector(2, 0x2000);
    let stop = StopToken::new();
    stop.stop();
    scene.raise_nmi();
    assert_eq!(scene.vcpu.run(&stop).expect("no error"), ExitReason::Stopped);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().rip, 0x2001);
}

#[test]
fn a_non_maskable_interrupt_that_is_kept_out_ends_no_halt() {
    let mut scene = Scene::new(&[0xfa, 0xf4]).with(|state| state.events.nmi_blocked = true); // CLI; HLT
    scene.raise_nmi();
    assert_eq!(scene.run(), ExitReason::HaltedForever);
}

#[test]
fn a_bus_sees_no_more_bits_than_an_access_is_wide() {
    let mut scene = Scene::new(&[]).with(|state| {
        let code = state.segment_mut(SegmentIndex::Cs);
        (code.limit, state.rip) = (u32::MAX, 0x1_2340);
        *state.segment_mut(SegmentIndex::Ss) = Segment::real_mode(0xa000, Attributes::DATA);
        state.gpr[Gpr::RSP] = 0x10;
    });
    scene.write(0x1_2340, &[0xe8, 0x00, 0x00]); // CALL 2343h
    scene.write(0x2343, &[0xf4]); // HLT
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(*scene.devices.stored.lock().expect("not poisoned"), [(0xa_000e, 0x2343)]);
}

#[test]
fn an_operand_that_passes_4_gib_goes_on_at_zero() {
    let mut scene = Scene::new(&[0x67, 0xdd, 0x30, 0xf4]).with(|state| {
        // FNSAVE [EAX]; HLT
        *state.segment_mut(SegmentIndex::Ds) = flat(0xc093, 0);
        state.gpr[Gpr::RAX] = 0xffff_fff8;
    });
    scene.write(0, &[0x55; 0x100]);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert!(scene.devices.stored.lock().expect("not poisoned").iter().all(|(at, _)| (0xffff_fff8..1 << 32).contains(at)));
    const SIZE: u64 = 94;
    assert_eq!(scene.read(SIZE - 8 - 2), [0, 0, 0x55, 0x55]);
}

#[test]
fn an_instruction_that_passes_4_gib_goes_on_at_zero() {
    let mut scene = Scene::new(&[]).with(|state| {
        let code = state.segment_mut(SegmentIndex::Cs);
        (code.base, code.limit, state.rip) = (0xffff_0000, 0x1_ffff, 0xffff);
    });
    // Where there is no memory code reads as FF. INC WORD [2000h]; HLT
    scene.write(0, &[0x06, 0x00, 0x20, 0xf4]);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.read(0x2000), [1, 0]);
}

#[test]
fn an_error_of_the_local_apic_interrupts_the_next_instruction() {
    // STI; NOP; MOV EAX, [EBX], which is no register; INC CX
    let mut scene = Scene::new(&[0xfb, 0x90, 0x67, 0x66, 0x8b, 0x03, 0x41, 0x41, 0x41, 0xeb, 0xfe]).with(|state| {
        *state.segment_mut(SegmentIndex::Ds) = flat(0xc093, 0);
        (state.gpr[Gpr(3)], state.gpr[Gpr::RCX]) = (0xfee0_0040, 0);
        state.lapic.spurious = 0x1ff;
        state.lapic.lvt[LvtIndex::Error as usize] = 0x31;
    });
    scene.write(0x2000, &[0xf4]); // HLT
    scene.vector(0x31, 0x2000);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().gpr[Gpr::RCX], 0);
}

#[test]
fn a_flag_that_a_page_walk_sets_in_the_running_block_is_seen_by_the_next_instruction() {
    const USED: u32 = 0x67;
    const FRESH: u32 = 0x07;
    let mut scene = Scene::new(&[]).protected(0).with(|state| {
        (state.cr3, state.rip, state.gpr[Gpr(3)]) = (0x4000, 0x50b9, 0x9000);
        state.cr0 |= Cr0::PG;
    });
    scene.write(0x4000, &(0x5000 | USED).to_le_bytes());
    for page in 0..0x200_u32 {
        scene.write(0x5000 + 4 * u64::from(page), &(page << 12 | USED).to_le_bytes());
    }
    // In the table of pages: MOV AL, [30000h]; NOP; NOP; and then the entry of that very page, which is POP ES before it was
    // accessed and DAA afterwards; ADD [EBX], AL; ADD AH, DH; HLT.
    scene.write(0x50b9, &[0xa0, 0x00, 0x00, 0x03, 0x00, 0x90, 0x90]);
    scene.write(0x50c0, &(0x3_0000 | FRESH).to_le_bytes());
    scene.write(0x50c4, &[0xf4; 4]);
    scene.write(0x3_0000, &[0x0f]);
    assert_eq!(scene.run(), ExitReason::HaltedForever);
    assert_eq!(scene.state().gpr[Gpr::RAX] & 0xff, 0x15);
}

#[test]
fn alignment_checks_that_raise_each_other_for_ever_can_be_stopped() {
    let mut scene = Scene::new(&[0x8b, 0x00]).protected(3).with(|state| {
        // MOV EAX, [EAX]
        state.cr0 |= Cr0::AM;
        state.rflags |= RFlags::AC;
        (state.gpr[Gpr::RAX], state.gpr[Gpr::RSP]) = (0x9001, 0x8001);
    });
    scene.write(0x3008, &0x00cf_9e00_0000_ffff_u64.to_le_bytes()); // conforming code
    scene.write(0x3800 + 8 * 17, &0x0000_8e00_0008_6000_u64.to_le_bytes()); // #AC stays at ring 3
    assert_eq!(scene.vcpu.step().expect("no error"), ExitReason::StepDone);
    assert_eq!(scene.run_a_moment(), ExitReason::Stopped);
    assert_eq!(scene.state().rip, CODE);
}

#[test]
fn breakpoints_that_their_own_delivery_meets_for_ever_can_be_stepped_and_stopped() {
    const STACK: u64 = 0x8000;
    // MOV [STACK - 8], RAX
    let mut scene = Scene::new(&[0x48, 0x89, 0x04, 0x25, 0xf8, 0x7f, 0x00, 0x00]).protected(0).with(|state| {
        state.segment_mut(SegmentIndex::Cs).attributes = Attributes(0xa09b);
        state.cr0 |= Cr0::PG;
        (state.cr3, state.cr4, state.efer) = (0x4000, Cr4::PAE, Efer::LME | Efer::LMA);
        state.tr = Segment { base: 0x3400, limit: 0x67, attributes: Attributes(0x8b), selector: 0x10 };
        state.breakpoints[0] = STACK - 8;
        state.dr7 = Dr7::FIXED | Dr7::from_bits_retain(1 | 1 << 16 | 2 << 18); // eight bytes, on writes
    });
    for (at, entry) in [(0x4000, 0x5003_u64), (0x5000, 0x6003), (0x6000, 0x83)] {
        scene.write(at, &entry.to_le_bytes());
    }
    scene.write(0x3008, &0x00af_9b00_0000_ffff_u64.to_le_bytes());
    scene.write(0x3400 + 0x24, &STACK.to_le_bytes());
    scene.write(0x3800 + 16, &0x0000_8e01_0008_7000_u64.to_le_bytes()); // #DB on interrupt stack 1
    for _ in 0..16 {
        assert_eq!(scene.vcpu.step().expect("no error"), ExitReason::StepDone);
    }
    assert_eq!((scene.vcpu.instructions(), scene.state().rip), (1, 0x7000));
    assert_eq!(scene.run_a_moment(), ExitReason::Stopped);
    assert_eq!(scene.vcpu.instructions(), 1);
}
