//! The complete state of a processor, into KVM and out of it without loss.
//!
//! Rule of this folder: each part is converted by a pair of plain functions of its own. What KVM has no place for (the local
//! APIC, memory types, the activity, debug traps that wait) stays where it is, and nothing in KVM reads or changes it.

pub mod events;
pub mod image;
pub mod msrs;
pub mod registers;
pub mod system;
#[cfg(test)]
mod tests;

use std::io;

use dragoman_frontend::semantics::system::Event;
use dragoman_state::{Cr0, VcpuState, Xcr0};
use kvm_bindings::{Msrs as List, kvm_debugregs, kvm_msr_entry, kvm_regs, kvm_sregs2, kvm_vcpu_events, kvm_xcrs, kvm_xsave};

use super::{
    KvmError,
    host_vcpu::{HostVcpu, io_error},
};
use image::{Image, Layout};
use msrs::Register;

/// What of a processor's state KVM can have on this host.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The model-specific registers.
    pub msrs: Vec<Register>,
    /// Floating-point and vector registers.
    pub image: Layout,
    /// XCR0 can be set.
    pub has_xcrs: bool,
    /// Page-directory pointers can be told.
    pub has_sregs2: bool,
    /// KVM may deliver events and run ring 3; where not, it is shown no descriptor tables.
    pub runs_user: bool,
}

/// What KVM holds, as far as it is known: only what differs is moved.
#[derive(Default)]
pub struct Held {
    regs: Option<kvm_regs>,
    sregs: Option<kvm_sregs2>,
    image: Option<Box<Image>>,
    xcr0: Option<u64>,
    debug: Option<kvm_debugregs>,
    msrs: Option<Vec<kvm_msr_entry>>,
    events: Option<kvm_vcpu_events>,
}

fn rejected(what: &'static str) -> impl Fn(io::Error) -> KvmError {
    move |error| KvmError::RejectedState { what, why: error.to_string() }
}

impl Held {
    /// The guest runs: nothing is known any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Puts `state` into `vcpu`.
    pub(super) fn put(&mut self, vcpu: &mut HostVcpu, extent: &Extent, state: &VcpuState) -> Result<(), KvmError> {
        // Without a local APIC in the kernel, this is where KVM takes it from.
        vcpu.fd.get_kvm_run().cr8 = u64::from(state.lapic.task_priority >> 4);
        let mut sregs = system::to_kvm(state);
        if !extent.runs_user {
            system::hide_tables(&mut sregs);
        }
        if self.sregs != Some(sregs) {
            self.put_system(vcpu, extent, &sregs)?;
        }
        let regs = registers::to_kvm(state);
        if self.regs != Some(regs) {
            vcpu.fd.set_regs(&regs).map_err(io_error).map_err(rejected("general registers"))?;
            self.regs = Some(regs);
        }
        self.put_components(vcpu, extent, state)?;
        self.put_image(vcpu, extent, state)?;
        let debug = events::debug_to_kvm(state);
        if self.debug != Some(debug) {
            vcpu.fd.set_debug_regs(&debug).map_err(io_error).map_err(rejected("debug registers"))?;
            self.debug = Some(debug);
        }
        let entries = msrs::to_kvm(&state.msrs, &extent.msrs);
        if self.msrs.as_ref() != Some(&entries) {
            let rejected = rejected("model-specific registers");
            let taken = vcpu.fd.set_msrs(&list(&entries).map_err(&rejected)?).map_err(io_error).map_err(&rejected)?;
            if let Some(refused) = entries.get(taken) {
                return Err(KvmError::RejectedMsr { index: refused.index, value: refused.data });
            }
            self.msrs = Some(entries);
        }
        let mut events = events::to_kvm(state);
        events.nmi.pending &= u8::from(extent.runs_user);
        if self.events != Some(events) {
            vcpu.fd.set_vcpu_events(&events).map_err(io_error).map_err(rejected("pending events"))?;
            self.events = Some(events);
        }
        Ok(())
    }

    /// Puts XCR0 into `vcpu`.
    pub(super) fn put_components(&mut self, vcpu: &HostVcpu, extent: &Extent, state: &VcpuState) -> Result<(), KvmError> {
        let xcr0 = state.xcr0.bits();
        if extent.has_xcrs && self.xcr0 != Some(xcr0) {
            let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..Default::default() };
            xcrs.xcrs[0].value = xcr0;
            vcpu.fd.set_xcrs(&xcrs).map_err(io_error).map_err(rejected("XCR0"))?;
            self.xcr0 = Some(xcr0);
        }
        Ok(())
    }

    /// Puts system registers into `vcpu`, which takes them as they are.
    pub(super) fn put_system(&mut self, vcpu: &HostVcpu, extent: &Extent, sregs: &kvm_sregs2) -> Result<(), KvmError> {
        let set = |sregs: &kvm_sregs2| {
            if extent.has_sregs2 { vcpu.set_sregs2(sregs) } else { vcpu.fd.set_sregs(&system::to_older(sregs)).map_err(io_error) }
        };
        set(sregs).map_err(rejected("system registers"))?;
        let controls = |sregs: &kvm_sregs2| (sregs.cr0 | Cr0::ET.bits(), sregs.cr4, sregs.efer);
        if self.sregs.replace(*sregs).is_some_and(|held| controls(&held) == controls(sregs)) {
            return Ok(());
        }
        // There are those that take everything, and keep what they can.
        let kept = get_system(vcpu, extent).map_err(rejected("system registers"))?;
        if controls(&kept) == controls(sregs) {
            return Ok(());
        }
        self.sregs = None;
        let why =
            format!("of CR0 {:#x}, CR4 {:#x}, EFER {:#x} it keeps {:x?}", sregs.cr0, sregs.cr4, sregs.efer, controls(&kept));
        Err(KvmError::RejectedState { what: "control registers", why })
    }

    /// Puts floating-point and vector registers into `vcpu`.
    pub(super) fn put_image(&mut self, vcpu: &HostVcpu, extent: &Extent, state: &VcpuState) -> Result<(), KvmError> {
        let mut image = match &self.image {
            Some(held) => held.clone(),
            None => Box::new(vcpu.fd.get_xsave().map_err(io_error).map_err(rejected("vector registers"))?.region),
        };
        image::to_kvm(state, extent.image, &mut image);
        if self.image.as_ref() != Some(&image) {
            vcpu.set_xsave(&kvm_xsave { region: *image, ..Default::default() }).map_err(rejected("vector registers"))?;
            self.image = Some(image);
        }
        Ok(())
    }

    /// Takes floating-point and vector registers out of `vcpu` into `state`.
    pub(super) fn take_image(&mut self, vcpu: &HostVcpu, extent: &Extent, state: &mut VcpuState) -> io::Result<()> {
        let image = vcpu.fd.get_xsave().map_err(io_error)?.region;
        image::from_kvm(&image, extent.image, state);
        self.image = Some(Box::new(image));
        Ok(())
    }

    /// Takes the state out of `vcpu` into `state`; and the event that KVM was about to deliver.
    pub(super) fn take(&mut self, vcpu: &HostVcpu, extent: &Extent, state: &mut VcpuState) -> Result<Option<Event>, KvmError> {
        let failed = |error| KvmError::of("the processor's state cannot be had back", error);
        let regs = vcpu.fd.get_regs().map_err(io_error).map_err(failed)?;
        registers::from_kvm(&regs, state);
        let sregs = get_system(vcpu, extent).map_err(failed)?;
        let tables = [state.gdtr, state.idtr];
        system::from_kvm(&sregs, state);
        if !extent.runs_user {
            system::find_tables(tables, state);
        }
        if extent.has_xcrs {
            let xcrs = vcpu.fd.get_xcrs().map_err(io_error).map_err(failed)?;
            state.xcr0 = Xcr0::from_bits_retain(xcrs.xcrs[0].value);
            self.xcr0 = Some(state.xcr0.bits());
        }
        let image = vcpu.fd.get_xsave().map_err(io_error).map_err(failed)?.region;
        image::from_kvm(&image, extent.image, state);
        let debug = vcpu.fd.get_debug_regs().map_err(io_error).map_err(failed)?;
        events::debug_from_kvm(&debug, state);
        let mut list = list(&msrs::to_kvm(&state.msrs, &extent.msrs)).map_err(failed)?;
        let given = vcpu.fd.get_msrs(&mut list).map_err(io_error).map_err(failed)?;
        if given != extent.msrs.len() {
            return Err(failed(io::Error::from(io::ErrorKind::Unsupported)));
        }
        let entries = list.as_slice().to_vec();
        msrs::from_kvm(&entries, &mut state.msrs);
        let events = vcpu.fd.get_vcpu_events().map_err(io_error).map_err(failed)?;
        events::from_kvm(&events, state);
        let (regs, sregs, image) = (Some(regs), Some(sregs), Some(Box::new(image)));
        *self = Self { regs, sregs, image, xcr0: self.xcr0, debug: Some(debug), msrs: Some(entries), events: None };
        Ok(events::undelivered(&events))
    }
}

/// A list as calls take it.
fn list(entries: &[kvm_msr_entry]) -> io::Result<List> {
    List::from_entries(entries).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

/// System registers as `vcpu` has them.
pub(super) fn get_system(vcpu: &HostVcpu, extent: &Extent) -> io::Result<kvm_sregs2> {
    if extent.has_sregs2 {
        return vcpu.get_sregs2();
    }
    vcpu.fd.get_sregs().map(|old| system::from_older(&old)).map_err(io_error)
}
