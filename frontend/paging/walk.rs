//! The walk itself, through each of the formats of page tables.
//! SDM: vol. 3 §4.3 (32-bit), §4.4 (PAE), §4.5 (4- and 5-level), §4.8 (accessed and dirty flags).

use dragoman_state::{GuestPhys, GuestVirt};

use super::{
    Access, AccessKind, PageFault, PageTables, Paging, PagingMode, Rights, Translation, pdpte_has_reserved_bits,
    reserved_address_bits,
};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// One entry on the way down, remembered so that its flags can be set once the access is known to be permitted.
#[derive(Clone, Copy)]
struct Step {
    at: GuestPhys,
    value: u64,
}

/// Translates `address` for `access`, and sets the accessed and dirty flags that the access calls for.
pub fn walk(
    paging: &Paging,
    tables: &mut (impl PageTables + ?Sized),
    address: GuestVirt,
    access: Access,
) -> Result<Translation, PageFault> {
    loop {
        let walked = match paging.mode {
            PagingMode::None => return Ok(identity(address)),
            PagingMode::Bits32 => walk_32(paging, tables, address, access)?,
            PagingMode::Pae => walk_long(paging, tables, address, access, 2)?,
            PagingMode::Level4 => walk_long(paging, tables, address, access, 4)?,
            PagingMode::Level5 => walk_long(paging, tables, address, access, 5)?,
        };
        // Where another processor changed an entry meanwhile, what was found is stale.
        if let Some(translation) = walked {
            return Ok(translation);
        }
    }
}

fn identity(address: GuestVirt) -> Translation {
    let rights = Rights { is_writable: true, is_user: true, is_executable: true, key: 0 };
    Translation { at: GuestPhys(address.0), page_bits: 12, rights, is_global: false, is_dirty: true }
}

/// The walk of eight-byte entries through `levels` levels.
fn walk_long(
    paging: &Paging,
    tables: &mut (impl PageTables + ?Sized),
    address: GuestVirt,
    access: Access,
    levels: u32,
) -> Result<Option<Translation>, PageFault> {
    let mut table = if levels == 2 { pae_directory(paging, address, access)? } else { paging.cr3 & ADDRESS };
    let mut steps = [Step { at: GuestPhys(0), value: 0 }; 5];
    let mut rights = Rights { is_writable: true, is_user: true, is_executable: true, key: 0 };
    for depth in 0..levels {
        let level = levels - depth; // 1 is the page table
        let shift = 12 + 9 * (level - 1);
        let at = GuestPhys(table + (address.0 >> shift & 511) * 8);
        let entry = tables.read_entry(at);
        steps[depth as usize] = Step { at, value: entry };
        if entry & PRESENT == 0 {
            return Err(paging.fault(access, 0));
        }
        let is_leaf = level == 1 || level <= 3 && entry & LARGE != 0;
        if entry & reserved(paging, level, is_leaf) != 0 {
            return Err(paging.fault(access, PageFault::PRESENT | PageFault::RESERVED));
        }
        rights.is_writable &= entry & WRITABLE != 0;
        rights.is_user &= entry & USER != 0;
        rights.is_executable &= entry & NO_EXECUTE == 0 || !paging.no_execute;
        if is_leaf {
            rights.key = (entry >> 59 & 15) as u8;
            paging.permits(rights, access)?;
            let within = (1u64 << shift) - 1;
            let physical = entry & ADDRESS & !within | address.0 & within;
            let leaf = Leaf { physical, page_bits: shift as u8, rights };
            return Ok(mark(paging, tables, &steps[..=depth as usize], access, leaf, |t, at, old, new| {
                t.replace_entry(at, old, new)
            }));
        }
        table = entry & ADDRESS;
    }
    Err(paging.fault(access, 0)) // not reached: the last level is always a leaf
}

/// The page directory that PAE paging's loaded pointers name.
fn pae_directory(paging: &Paging, address: GuestVirt, access: Access) -> Result<u64, PageFault> {
    let pdpte = paging.pdptes[(address.0 >> 30 & 3) as usize];
    if pdpte & PRESENT == 0 {
        return Err(paging.fault(access, 0));
    }
    if pdpte_has_reserved_bits(pdpte, paging.physical_bits) {
        return Err(paging.fault(access, PageFault::PRESENT | PageFault::RESERVED));
    }
    Ok(pdpte & ADDRESS)
}

/// The bits that must be zero in an entry of eight bytes.
fn reserved(paging: &Paging, level: u32, is_leaf: bool) -> u64 {
    let mut bits = reserved_address_bits(paging.physical_bits);
    if !paging.no_execute {
        bits |= NO_EXECUTE;
    }
    if paging.mode == PagingMode::Pae {
        bits |= 0x7ff << 52;
    }
    if is_leaf && level > 1 {
        bits |= ((1u64 << (12 + 9 * (level - 1))) - 1) & !0x1fff;
    }
    let may_be_large = level == 2 || level == 3 && paging.huge_pages;
    if level > 1 && !may_be_large {
        bits |= LARGE;
    }
    bits
}

/// The walk of four-byte entries.
fn walk_32(
    paging: &Paging,
    tables: &mut (impl PageTables + ?Sized),
    address: GuestVirt,
    access: Access,
) -> Result<Option<Translation>, PageFault> {
    let replace = |t: &mut _, at, old, new| replace_short(t, at, old, new);
    let at = GuestPhys((paging.cr3 & 0xffff_f000) + (address.0 >> 22 & 1023) * 4);
    let directory = u64::from(tables.read_short_entry(at));
    let first = Step { at, value: directory };
    if directory & PRESENT == 0 {
        return Err(paging.fault(access, 0));
    }
    let rights =
        |entry: u64| Rights { is_writable: entry & WRITABLE != 0, is_user: entry & USER != 0, is_executable: true, key: 0 };
    if directory & LARGE != 0 && paging.page_size_extensions {
        // PSE-36: bits 13 to 20 are bits 32 to 39 of the address.
        let high = (directory >> 13 & 0xff) << 32;
        if directory & 1 << 21 != 0 || high & reserved_address_bits(paging.physical_bits) != 0 {
            return Err(paging.fault(access, PageFault::PRESENT | PageFault::RESERVED));
        }
        paging.permits(rights(directory), access)?;
        let physical = directory & 0xffc0_0000 | high | address.0 & 0x3f_ffff;
        let leaf = Leaf { physical, page_bits: 22, rights: rights(directory) };
        return Ok(mark(paging, tables, &[first], access, leaf, replace));
    }
    let at = GuestPhys((directory & 0xffff_f000) + (address.0 >> 12 & 1023) * 4);
    let entry = u64::from(tables.read_short_entry(at));
    if entry & PRESENT == 0 {
        return Err(paging.fault(access, 0));
    }
    let both = rights(directory & entry);
    paging.permits(both, access)?;
    let physical = entry & 0xffff_f000 | address.0 & 0xfff;
    let leaf = Leaf { physical, page_bits: 12, rights: both };
    Ok(mark(paging, tables, &[first, Step { at, value: entry }], access, leaf, replace))
}

fn replace_short(tables: &mut (impl PageTables + ?Sized), at: GuestPhys, old: u64, new: u64) -> bool {
    tables.replace_short_entry(at, old as u32, new as u32)
}

/// What the last entry says.
struct Leaf {
    physical: u64,
    page_bits: u8,
    rights: Rights,
}

/// Sets the flags of the entries of `steps`, the last of which is the leaf; `None` where one of them has changed.
fn mark<T: PageTables + ?Sized>(
    paging: &Paging,
    tables: &mut T,
    steps: &[Step],
    access: Access,
    leaf: Leaf,
    replace: impl Fn(&mut T, GuestPhys, u64, u64) -> bool,
) -> Option<Translation> {
    let last = steps.len() - 1;
    let mut is_dirty = false;
    for (n, step) in steps.iter().enumerate() {
        let mut wanted = step.value | ACCESSED;
        if n == last && access.kind == AccessKind::Write {
            wanted |= DIRTY;
        }
        if wanted != step.value && !replace(tables, step.at, step.value, wanted) {
            return None;
        }
        is_dirty = wanted & DIRTY != 0;
    }
    let is_global = paging.global_pages && steps[last].value & GLOBAL != 0;
    Some(Translation { at: GuestPhys(leaf.physical), page_bits: leaf.page_bits, rights: leaf.rights, is_global, is_dirty })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
