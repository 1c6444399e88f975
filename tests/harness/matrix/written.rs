//! The written lists of differences that nobody is to mend, all in one form, for reports.

use crate::{
    footprint,
    known::{Known, listed},
    kvm, sweep,
    vendors::{ALLOWANCES, Extent, Hosts},
};

/// Differences with one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The oracles that know it, between commas.
    pub oracles: &'static str,
    /// Whose, in the decoder's names.
    pub who: String,
    /// What differs.
    pub what: String,
    /// How far, where that is not any distance, and on which hosts.
    pub extent: String,
    /// Why.
    pub reason: &'static str,
}

/// All of them.
pub fn written() -> Vec<Written> {
    let mut list: Vec<_> = ALLOWANCES
        .iter()
        .map(|row| {
            let hosts = if row.hosts == Hosts::NotIntel { " on hosts of other vendors than Intel" } else { "" };
            let modes: Vec<_> = row.modes.iter().map(|mode| mode.name()).collect();
            let modes = if modes.len() < crate::Mode::ALL.len() { format!(" in {}", modes.join(", ")) } else { String::new() };
            let far = if row.extent == Extent::Open { "not compared".into() } else { row.extent.to_string() };
            Written {
                oracles: "native, rows on host",
                who: row.who.to_string(),
                what: row.what.join(", "),
                extent: format!("{far}{modes}{hosts}"),
                reason: row.reason,
            }
        })
        .collect();
    let of = |oracles: &'static str, row: &Known| Written {
        oracles,
        who: listed(row.who),
        what: row.what.join(", "),
        extent: String::new(),
        reason: row.reason,
    };
    list.extend(footprint::KNOWN.iter().map(|row| of("footprint", row)));
    list.extend(sweep::KNOWN.iter().map(|row| of("faults", row)));
    let of_kvm = |oracles: &'static str, row: &kvm::Wrong| {
        let names: Vec<_> = row.names.iter().map(|name| format!("{name:?}").to_ascii_lowercase()).collect();
        let modes: Vec<_> = row.modes.iter().map(|mode| mode.name()).collect();
        Written {
            oracles,
            who: if names.is_empty() { "any".into() } else { names.join(" ") },
            what: row.what.join(", "),
            extent: if modes.is_empty() { String::new() } else { format!("in {}", modes.join(", ")) },
            reason: row.reason,
        }
    };
    list.extend(kvm::KNOWN.iter().map(|row| of_kvm("kvm", row)));
    list.extend(kvm::ENGINE_KNOWN.iter().map(|row| of_kvm("rows on kvm", row)));
    list
}
