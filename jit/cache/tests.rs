//! Finding, linking and forgetting blocks, without running any.

use super::*;
use crate::rewrite::{Exit, FlagHome};

const SIZE: usize = 1 << 16;

fn memory() -> Arc<CodeMemory> {
    Arc::new(CodeMemory::new(SIZE).expect("the host has memory files"))
}

fn key(at: u64) -> Key {
    Key { at: GuestPhys(at), mode: Mode::default(), view: 0, is_grouped: true }
}

/// Code of one jump, to an exit at `target` whose site is the only one; its stub comes right behind it.
fn jump(target: i32, flags: FlagHome) -> Translation {
    let mut code = vec![0x90, 0x90, 0x90, 0xe9];
    code.extend(0i32.to_le_bytes());
    let stub = code.len() as u32;
    code.extend([0x41, 0xbb, 0, 0, 0, 0]);
    Translation {
        site_numbers: vec![code.len() as u32 - 4],
        code,
        with_host_flags: 0,
        with_saved_flags: 1,
        from_jump: 2,
        sites: vec![Site { kind: SiteKind::Link { target, exit: 0, is_grouped: true }, insn: 0, flags, touches_x87: false, resume: None }],
        exits: vec![Exit { patch: 4, stub, way: if flags == FlagHome::Host { Way::HostFlags } else { Way::SavedFlags } }],
        rows: Vec::new(),
    }
}

/// Where the jump of a block leads.
fn leads_to<P>(memory: &CodeMemory, block: &Block<P>) -> u64 {
    let mut displacement = [0; 4];
    memory.read(block.place + 4, &mut displacement);
    block.base.wrapping_add(8).wrapping_add(i64::from(i32::from_le_bytes(displacement)) as u64)
}

/// The number of a block's only site, as its code holds it.
fn number<P>(memory: &CodeMemory, block: &Block<P>) -> u32 {
    let mut number = [0; 4];
    memory.read(block.place + 10, &mut number);
    u32::from_le_bytes(number)
}

#[test]
fn a_link_is_made_to_the_way_in_that_fits_the_flags_and_taken_back_with_its_target() {
    let memory = memory();
    let mut cache = CodeCache::new(memory.clone(), 100);
    let host = cache.insert(key(0x1000), 16, jump(0x20, FlagHome::Host), "a").expect("room");
    let saved = cache.insert(key(0x1010), 16, jump(0x20, FlagHome::Memory), "b").expect("room");
    let target = cache.insert(key(0x1020), 16, jump(0x20, FlagHome::Both), "c").expect("room");
    let stub = leads_to(&memory, &host);
    for block in [&host, &saved, &target] {
        cache.link(number(&memory, block), &key(0x1020));
    }
    assert_eq!(leads_to(&memory, &host), target.with_host_flags);
    assert_eq!(leads_to(&memory, &saved), target.with_saved_flags);
    assert_eq!(leads_to(&memory, &target), target.with_saved_flags, "a block may lead to itself");

    assert!(!cache.invalidate(GuestPhys(0x102f), 1, |gone| assert_eq!(gone.key, key(0x1020))));
    assert_eq!(leads_to(&memory, &host), stub);
    assert!(cache.find(&key(0x1020)).is_none());
    let left = cache.left_at(number(&memory, &target)).expect("another processor may still be in it");
    assert_eq!(left.block.payload, "c");
    cache.link(number(&memory, &target), &key(0x1000));
    assert_eq!(cache.counts().invalidated, 1);
}

#[test]
fn only_blocks_with_an_overwritten_byte_are_forgotten() {
    let mut cache = CodeCache::new(memory(), 0);
    for at in [0x1000, 0x1010, 0x2000] {
        cache.insert(key(at), 16, jump(0, FlagHome::Host), ()).expect("room");
    }
    assert!(!cache.invalidate(GuestPhys(0x1020), 8, |_| panic!("none begins or ends there")));
    assert!(!cache.invalidate(GuestPhys(0x1008), 8, |_| {}), "the other of the page is left");
    assert!(cache.find(&key(0x1000)).is_none() && cache.find(&key(0x1010)).is_some());
    assert!(cache.invalidate(GuestPhys(0x101f), 1, |_| {}));
    assert!(cache.find(&key(0x2000)).is_some());
}

#[test]
fn a_host_fault_is_found_by_its_place() {
    let memory = memory();
    let mut cache = CodeCache::new(memory.clone(), 0);
    let mut translation = jump(0, FlagHome::Host);
    translation.rows = vec![
        crate::rewrite::Row { start: 1, insn: 3, flags: FlagHome::Host },
        crate::rewrite::Row { start: 2, insn: 4, flags: FlagHome::Memory },
    ];
    let block = cache.insert(key(0x1000), 16, translation, ()).expect("room");
    let site = |offset| cache.faulted_at(block.base + offset).map(|left| (left.site.insn, left.site.flags));
    assert_eq!(site(0), None);
    assert_eq!(site(1), Some((3, FlagHome::Host)));
    assert_eq!(site(5), Some((4, FlagHome::Memory)));
    assert_eq!(site(64), None);
    assert_eq!(cache.faulted_at(0).map(|_| ()), None);
}

#[test]
fn a_full_cache_says_so_and_holds_as_much_again_once_it_is_cleared() {
    let memory = memory();
    let mut cache = CodeCache::new(memory, 0);
    let mut fill = || {
        let inserted =
            (0..).map(|n| cache.insert(key(n * 16), 16, jump(0, FlagHome::Host), ())).take_while(Result::is_ok).count();
        cache.clear();
        inserted
    };
    let first = fill();
    assert!(first > 1000, "{first}");
    assert_eq!(fill(), first);
}
