//! Finding, linking and forgetting blocks, without running any.

use super::*;
use crate::rewrite::{Exit, FlagHome, Pointer, Way};

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
        with_recipe: None,
        with_saved_flags: 1,
        from_jump: 2,
        sites: vec![Site {
            kind: SiteKind::Link { target, exit: 0, is_grouped: true },
            insn: 0,
            flags,
            touches_x87: false,
            pointer: Pointer::Known,
            resume: None,
        }],
        exits: vec![Exit {
            patch: 4,
            stub,
            way: if flags == FlagHome::Host { Way::HostFlags } else { Way::SavedFlags },
            home: 0,
            told: 0,
        }],
        rows: Vec::new(),
        counted: Vec::new(),
        tail: None,
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

fn put<'a, P>(cache: &CodeCache<P>, view: &'a View<P>, at: u64, code: Translation, payload: P) -> &'a Block<P> {
    cache.insert(view, key(at), 16, code, payload, cache.overwrites()).expect("room")
}

#[test]
fn a_link_is_made_to_the_way_in_that_fits_the_flags_and_taken_back_with_its_target() {
    let memory = memory();
    let cache = CodeCache::new(memory.clone(), 100);
    let view = cache.view();
    let host = put(&cache, &view, 0x1000, jump(0x20, FlagHome::Host), "a");
    let saved = put(&cache, &view, 0x1010, jump(0x20, FlagHome::Memory), "b");
    let target = put(&cache, &view, 0x1020, jump(0x20, FlagHome::Both), "c");
    let stub = leads_to(&memory, host);
    for block in [host, saved, target] {
        cache.link(&view, number(&memory, block), &key(0x1020), true);
    }
    assert_eq!(leads_to(&memory, host), target.with_host_flags);
    assert_eq!(leads_to(&memory, saved), target.with_saved_flags);
    assert_eq!(leads_to(&memory, target), target.with_saved_flags, "a block may lead to itself");

    assert!(!cache.invalidate(GuestPhys(0x102f), 1, |gone| assert_eq!(gone.key, key(0x1020))));
    assert_eq!(leads_to(&memory, host), stub);
    assert!(cache.find(&view, &key(0x1020)).is_none());
    let left = view.left_at(number(&memory, target)).expect("another processor may still be in it");
    assert_eq!(left.block.payload, "c");
    assert_eq!(leads_to(&memory, target), target.base + u64::from(target.exits[0].stub), "nor does it lead anywhere");
    cache.link(&view, number(&memory, target), &key(0x1000), true);
    assert_eq!(leads_to(&memory, target), target.base + u64::from(target.exits[0].stub), "ever again");
    assert_eq!(cache.counts().invalidated, 1);
}

#[test]
fn only_blocks_with_an_overwritten_byte_are_forgotten() {
    let cache = CodeCache::new(memory(), 0);
    let view = cache.view();
    for at in [0x1000, 0x1010, 0x2000] {
        put(&cache, &view, at, jump(0, FlagHome::Host), ());
    }
    assert!(!cache.invalidate(GuestPhys(0x1020), 8, |_| panic!("none begins or ends there")));
    assert!(!cache.invalidate(GuestPhys(0x1008), 8, |_| {}), "the other of the page is left");
    assert!(cache.find(&view, &key(0x1000)).is_none() && cache.find(&view, &key(0x1010)).is_some());
    assert!(cache.invalidate(GuestPhys(0x101f), 1, |_| {}));
    assert!(cache.find(&view, &key(0x2000)).is_some());
}

#[test]
fn what_was_read_before_code_was_overwritten_is_not_put_in_afterwards() {
    let cache = CodeCache::new(memory(), 0);
    let (view, overwrites) = (cache.view(), cache.overwrites());
    cache.invalidate(GuestPhys(0x1000), 1, |_| {});
    let refused = cache.insert(&view, key(0x1000), 16, jump(0, FlagHome::Host), (), overwrites);
    assert_eq!(refused.map(|_| ()), Err(Refused::Stale));
}

#[test]
fn a_second_block_of_the_same_key_gives_way_to_the_first() {
    let cache = CodeCache::new(memory(), 0);
    let view = cache.view();
    put(&cache, &view, 0x1000, jump(0, FlagHome::Host), 1);
    assert_eq!(put(&cache, &view, 0x1000, jump(0, FlagHome::Host), 2).payload, 1);
}

#[test]
fn a_host_fault_is_found_by_its_place() {
    let cache = CodeCache::new(memory(), 0);
    let view = cache.view();
    let mut translation = jump(0, FlagHome::Host);
    let row = |start, insn, flags| crate::rewrite::Row::new(start, insn, flags, Pointer::Known).expect("it is near");
    translation.rows = vec![row(1, 3, FlagHome::Host), row(4, 4, FlagHome::Memory)];
    put(&cache, &view, 0x3000, jump(0, FlagHome::Host), ());
    let block = put(&cache, &view, 0x1000, translation, ());
    put(&cache, &view, 0x2000, jump(0, FlagHome::Host), ());
    let site = |offset| view.faulted_at(block.base + offset).map(|left| (left.site.insn, left.site.flags));
    assert_eq!(site(0), None);
    assert_eq!(site(1), Some((3, FlagHome::Host)));
    assert_eq!(site(4), Some((4, FlagHome::Memory)));
    assert_eq!([2, 3, 5].map(site), [None; 3], "another instruction is none of the guest's");
    assert_eq!(site(64), None);
    assert_eq!(view.faulted_at(0).map(|_| ()), None);
}

#[test]
fn the_region_that_was_filled_longest_ago_is_used_again_and_its_blocks_are_gone_from_everywhere() {
    let memory = memory();
    let cache = CodeCache::new(memory.clone(), 100);
    let mut view = cache.view();
    let mut at = 0;
    // Each block leads to the one before it, from region to region.
    let mut fill = |view: &View<()>| {
        for n in 0.. {
            let before = jump(at as i32 - 16, FlagHome::Host);
            match cache.insert(view, key(at), 16, before, (), cache.overwrites()) {
                Ok(block) => cache.link(view, number(&memory, block), &key(at.wrapping_sub(16)), true),
                Err(refused) => {
                    assert_eq!(refused, Refused::Full);
                    return n;
                }
            }
            at += 16;
        }
        unreachable!("the memory is not endless")
    };
    let all = fill(&view);
    assert!(all > 200, "{all}");
    let mut known = all;
    for round in 0..40 {
        let first = (0..).find(|n| cache.find(&view, &key(n * 16)).is_some()).expect("there are blocks");
        let pages = cache.reuse(&view);
        assert!(!cache.is_current(&view));
        assert!(cache.insert(&view, key(1 << 40), 16, jump(0, FlagHome::Host), (), cache.overwrites()).is_err());
        assert!(cache.reuse(&view).is_empty(), "another processor was first");
        let gone = cache.refresh(&mut view);
        assert_eq!(gone.len(), 1);
        let next = (first..).find(|n| cache.find(&view, &key(n * 16)).is_some()).expect("the others are left");
        assert!(next > first && pages.iter().all(|page| page.0 >= ((first * 16) & !0xfff) && page.0 < next * 16));
        let block = cache.find(&view, &key(next * 16)).expect("it was just found");
        assert_eq!(leads_to(&memory, block), block.base + u64::from(block.exits[0].stub), "what it led to is gone");
        let behind = cache.find(&view, &key(next * 16 + 16)).expect("the others are left");
        assert_eq!(leads_to(&memory, behind), block.with_host_flags);
        known = known - (next - first) as usize + fill(&view);
        assert!(known <= all, "{round}");
    }
    assert_eq!(cache.counts().evicted + known as u64, cache.counts().blocks);
}

#[test]
fn code_larger_than_a_region_is_refused() {
    let cache = CodeCache::new(memory(), 0);
    let view = cache.view();
    let large = Translation { code: vec![0x90; SIZE / 16 + 1], ..Translation::default() };
    let refused = cache.insert(&view, key(0), 16, large, (), cache.overwrites());
    assert_eq!(refused.map(|_| ()), Err(Refused::TooLarge));
}

#[test]
fn each_processor_hears_once_of_every_block_that_is_gone_unless_they_are_too_many() {
    let cache = CodeCache::new(memory(), 0);
    let view = cache.view();
    let (mut first, mut second) = (0, 0);
    let forget = |at| {
        let from_jump = put(&cache, &view, at, jump(0, FlagHome::Host), ()).from_jump;
        cache.invalidate(GuestPhys(at), 1, |_| {});
        from_jump
    };
    let one = forget(0x1000);
    assert_eq!(cache.gone_since(&mut first), Some(vec![one]));
    let other = forget(0x2000);
    assert_eq!((cache.gone_since(&mut first), cache.gone_since(&mut first)), (Some(vec![other]), Some(vec![])));
    assert_eq!(cache.gone_since(&mut second), Some(vec![one, other]));
    let mut gone = Gone::default();
    (0..2 * Gone::MOST as u64).for_each(|n| gone.add(n));
    assert_eq!((gone.latest.len(), gone.earlier), (Gone::MOST, Gone::MOST as u64));
    cache.lock().gone = gone;
    assert_eq!((cache.gone_since(&mut second), cache.gone_since(&mut second)), (None, Some(vec![])));
}
