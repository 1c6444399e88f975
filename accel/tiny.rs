//! A guest of a few instructions, for finding out what an engine makes of them: 64-bit mode, 2 MiB of memory mapped to
//! themselves, no devices. It ends in an invalid instruction where there is no interrupt table, which every engine tells as a
//! triple fault.

use std::{sync::Arc, time::Instant};

use dragoman_devices::{
    Alarm, Clock,
    lapic::Ipi,
    memory::{GuestRam, MemoryError, SMALLEST},
};
use dragoman_frontend::model::CpuModel;
use dragoman_state::{
    Attributes, Cr0, Cr4, Efer, Gpr, GuestPhys, Port, RFlags, Segment, SegmentIndex, TableRegister, VcpuId, VcpuState, VmInstant,
    Width,
};

use crate::{AccelError, Accelerator, CpuBus, ExitReason, StopToken, Vcpu, VcpuContext, VcpuHandle, World};

/// Where the code is.
pub(crate) const CODE: GuestPhys = GuestPhys(0x1_0000);
/// Memory for whatever the code does.
pub(crate) const DATA: GuestPhys = GuestPhys(0x1_1000);
const TABLES: [GuestPhys; 3] = [GuestPhys(0x1000), GuestPhys(0x2000), GuestPhys(0x3000)];

/// The guest.
pub(crate) struct TinyGuest {
    pub vcpu: Box<dyn Vcpu>,
    pub handle: Arc<dyn VcpuHandle>,
    pub ram: Arc<GuestRam>,
    model: CpuModel,
    tsc_offset: u64,
}

fn internal(error: MemoryError) -> AccelError {
    AccelError::Internal(error.to_string())
}

impl TinyGuest {
    /// `code` in a guest of its own, run by `engine` on a `model`.
    pub fn new(engine: &dyn Accelerator, model: &CpuModel, code: &[u8]) -> Result<Self, AccelError> {
        let none = |error: MemoryError| AccelError::Unavailable("memory for a small guest", error.to_string());
        let ram = Arc::new(GuestRam::new(SMALLEST).map_err(none)?);
        prepare(&ram, code).map_err(internal)?;
        let context = VcpuContext {
            bus: Arc::new(Nothing),
            ram: ram.clone(),
            clock: Arc::new(Watch(Instant::now())),
            alarm: Arc::new(Nothing),
            model: model.clone(),
            world: World::new(),
        };
        let tsc_offset = engine.time_stamp_at_power_on(context.clock.now(), model.tsc_hertz());
        let (vcpu, handle) = engine.create_vcpu(VcpuId(0), context)?;
        Ok(Self { vcpu, handle, ram, model: model.clone(), tsc_offset })
    }

    /// Runs the code in `ring` from its beginning, with `registers`: RAX, RCX, RDX, RBX.
    pub fn run(&mut self, ring: u8, registers: [u64; 4], stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.run_from(&self.start(ring, registers), stop)
    }

    /// The state that such a run begins with.
    pub fn start(&self, ring: u8, registers: [u64; 4]) -> VcpuState {
        let mut state = start(&self.model, ring);
        state.tsc_offset = self.tsc_offset;
        for (n, value) in registers.into_iter().enumerate() {
            state.gpr[Gpr(n as u8)] = value;
        }
        state
    }

    /// Runs from `state` on.
    pub fn run_from(&mut self, state: &VcpuState, stop: &StopToken) -> Result<ExitReason, AccelError> {
        self.vcpu.load(state)?;
        self.vcpu.run(stop)
    }

    /// Writes eight bytes of [`DATA`].
    pub fn set_data(&self, value: u64) -> Result<(), AccelError> {
        self.ram.write(DATA, &value.to_le_bytes()).map_err(internal)
    }

    /// Reads them.
    pub fn data(&self) -> Result<u64, AccelError> {
        let mut bytes = [0; 8];
        self.ram.read(DATA, &mut bytes).map_err(internal)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// The code, and tables that map the first 2 MiB to themselves, for everyone.
fn prepare(ram: &GuestRam, code: &[u8]) -> Result<(), MemoryError> {
    const ALL: u64 = 0b111;
    const LARGE: u64 = 1 << 7;
    ram.write(CODE, code)?;
    ram.write(TABLES[0], &(TABLES[1].0 | ALL).to_le_bytes())?;
    ram.write(TABLES[1], &(TABLES[2].0 | ALL).to_le_bytes())?;
    ram.write(TABLES[2], &(ALL | LARGE).to_le_bytes())
}

/// The processor at the code's beginning, in `ring`.
fn start(model: &CpuModel, ring: u8) -> VcpuState {
    let mut state = model.power_on(VcpuId(0));
    let selector = u16::from(ring);
    let segment = |attributes: u32, number: u16| Segment {
        base: 0,
        limit: u32::MAX,
        attributes: Attributes(attributes).with_dpl(ring),
        selector: number | selector,
    };
    state.segments = [segment(0xc093, 0x10); 6];
    *state.segment_mut(SegmentIndex::Cs) = segment(0xa09b, 0x8);
    state.ldtr = Segment::null(0);
    state.tr = Segment { base: 0, limit: 0x67, attributes: Attributes(0x8b), selector: 0x20 };
    state.gdtr = TableRegister { base: 0, limit: 0 };
    state.idtr = TableRegister { base: 0, limit: 0 };
    state.cr0 = Cr0::PE | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::PG;
    state.cr3 = TABLES[0].0;
    state.cr4 = Cr4::PAE | Cr4::OSFXSR;
    state.efer = Efer::LME | Efer::LMA | Efer::SCE;
    // As systems have it in ring 3; nobody interrupts.
    let flags = if ring == 3 { RFlags::FIXED | RFlags::IF } else { RFlags::FIXED };
    (state.rip, state.rflags, state.gpr[Gpr::RSP]) = (CODE.0, flags, CODE.0);
    state
}

/// Time since the start.
struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> VmInstant {
        VmInstant(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A board without anything.
struct Nothing;

impl Alarm for Nothing {
    fn wake_by(&self, _at: VmInstant) {}
}

impl CpuBus for Nothing {
    fn read_mmio(&self, _at: GuestPhys, width: Width) -> u64 {
        width.mask()
    }
    fn write_mmio(&self, _at: GuestPhys, _width: Width, _value: u64) {}
    fn read_port(&self, _port: Port, width: Width) -> u32 {
        width.mask() as u32
    }
    fn write_port(&self, _port: Port, _width: Width, _value: u32) {}
    fn acknowledge_interrupt(&self) -> u8 {
        0
    }
    fn end_of_interrupt(&self, _vector: u8) {}
    fn send(&self, _sender: VcpuId, _ipi: Ipi) {}
}
