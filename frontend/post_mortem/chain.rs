//! What happened: the chain of exceptions that ended in a shutdown, or what came before a halt.

use dragoman_state::{GuestVirt, SegmentIndex};

use super::Scene;
use crate::{
    fault::{Fault, vector},
    semantics::system::{Event, EventKind, Link},
};

impl Scene<'_> {
    /// A line for each exception of the chain, and one more for what was wrong with memory where that was it.
    pub(super) fn triple_fault(&self, chain: &[Link]) -> Vec<String> {
        let mut lines =
            vec![format!("triple fault: the processor shut down{}; each line follows from the one before", self.after())];
        for (n, link) in chain.iter().enumerate() {
            let before = n.checked_sub(1).map(|n| chain[n].event);
            lines.extend(self.link(link, before));
        }
        lines
    }

    /// After how many instructions, where they were counted.
    fn after(&self) -> String {
        self.trace.instructions.map_or_else(String::new, |count| format!(" after {count} instructions"))
    }

    fn link(&self, link: &Link, before: Option<Event>) -> Vec<String> {
        let name = name(link.event);
        let why = link.objection.map(|objection| self.objection(&objection));
        let mut lines = vec![match before {
            None => self.origin(link, &name, why),
            Some(before) if link.event.vector == vector::DF && why.is_none() => {
                format!("  {name}: {} came on top of an exception that allows no second", short(before))
            }
            Some(before) => {
                let why = why.unwrap_or_else(|| "the handler cannot be entered".into());
                format!("  {name}: no way to the handler of {}: {why}", short(before))
            }
        }];
        if link.event.kind == EventKind::Exception && link.event.vector == vector::PF {
            let fault = Fault::pf(link.event.error.unwrap_or(0));
            lines.push(format!("    page {}", self.page_fault(fault, link.address)));
        }
        lines
    }

    /// Where the first event came from.
    fn origin(&self, link: &Link, name: &str, why: Option<String>) -> String {
        let place = format!("{:04x}:{:x}", self.state.segment(SegmentIndex::Cs).selector, self.state.rip);
        match link.event.kind {
            EventKind::External | EventKind::Nmi => format!("  {name} came at {place}"),
            _ if link.event.is_trap => format!("  {name} after the instruction before {place}"),
            _ => {
                let why = why.or_else(|| self.why(fault_of(link.event))).map_or_else(String::new, |why| format!("; {why}"));
                format!("  {name} at {place}: {}{why}", self.instruction())
            }
        }
    }

    /// A halt for good: where, and the last exception before it, from which it mostly follows.
    pub(super) fn halt(&self) -> Vec<String> {
        let state = self.state;
        let place = format!("{:04x}:{:x}", state.segment(SegmentIndex::Cs).selector, state.rip.wrapping_sub(1));
        let mut lines =
            vec![format!("the guest halted at {place} with interrupts off (RFLAGS.IF = 0){}; nothing can wake it", self.after())];
        let Some(raised) = &self.trace.exception else {
            let none = if self.trace.notes_exceptions { "no exception was raised before" } else { "exceptions were not noted" };
            lines.push(format!("  {none}"));
            return lines;
        };
        let why = raised.link.objection.map_or_else(String::new, |objection| format!("; {}", self.objection(&objection)));
        let name = name(raised.link.event);
        lines.push(format!("  the last exception before: {name} at {:04x}:{:x}{why}", raised.selector, raised.rip));
        if raised.link.event.vector == vector::PF {
            let at = GuestVirt(raised.link.address.0);
            lines.push(format!("    page {}", self.page_fault(Fault::pf(raised.link.event.error.unwrap_or(0)), at)));
        }
        lines
    }
}

fn fault_of(event: Event) -> Fault {
    match event.error {
        Some(error) => Fault::with_error(event.vector, error),
        None => Fault::plain(event.vector),
    }
}

/// An event's name alone.
fn short(event: Event) -> String {
    match event.kind {
        EventKind::External => format!("interrupt {:#x}", event.vector),
        EventKind::Nmi => "the NMI".into(),
        EventKind::Software => format!("INT {:#x}", event.vector),
        EventKind::Exception | EventKind::SoftwareException => format!("#{}", Fault::plain(event.vector).mnemonic()),
    }
}

/// An event with its error code in words.
fn name(event: Event) -> String {
    let name = short(event);
    let Some(error) = event.error else { return name };
    let meaning = match event.vector {
        vector::PF => page_error(error),
        vector::TS | vector::NP | vector::SS | vector::GP => selector_error(error),
        _ => String::new(),
    };
    format!("{name}({error:#x}{meaning})")
}

/// SDM: vol. 3 §6.13.
fn selector_error(error: u32) -> String {
    if error & !1 == 0 {
        return if error == 0 { String::new() } else { ": external".into() };
    }
    let table = match (error & 2 != 0, error & 4 != 0) {
        (true, _) => "IDT",
        (false, true) => "LDT",
        (false, false) => "GDT",
    };
    let source = if error & 1 != 0 { ", external" } else { "" };
    format!(": {table} entry {}{source}", error >> 3)
}

/// SDM: vol. 3 §4.7.
fn page_error(error: u32) -> String {
    let has = |bit: u32| error >> bit & 1 != 0;
    let kind = match (has(4), has(1)) {
        (true, _) => "fetch",
        (false, true) => "write",
        (false, false) => "read",
    };
    let by = if has(2) { "ring 3" } else { "the supervisor" };
    let cause = match (has(0), has(3), has(5)) {
        (false, ..) => "page not present",
        (true, true, _) => "reserved bits",
        (true, false, true) => "protection key",
        (true, false, false) => "not allowed",
    };
    format!(": {kind} by {by}, {cause}")
}
