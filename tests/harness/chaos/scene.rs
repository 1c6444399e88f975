//! What a random guest starts with: all of its memory that is not zero, and its registers.

use dragoman_frontend::model::CpuModel;
use dragoman_state::VcpuState;

use super::{code::code, descriptors::Tables, page_tables::PageTables, pointers, recipe::Recipe, registers};
use crate::{
    Mode,
    generate::{Flavour, Random, fill},
    layout::{self, CODE, DATA, PAGE, STACK},
};

/// How much code there is.
pub const CODE_SIZE: usize = 448;
/// How much code of a fuzzer's is taken.
const CODE_LIMIT: usize = 2048;

/// The start of a guest.
pub struct Scene {
    /// Its registers.
    pub state: VcpuState,
    /// Its memory: where, and what is there. What is not named stays as it is.
    pub memory: Vec<(u64, Vec<u8>)>,
}

/// Makes the scenes of one case, one after another in the same memory.
pub struct Maker<'a> {
    recipe: &'a Recipe,
    random: Random,
    model: CpuModel,
    count: usize,
    surroundings: Option<(PageTables, Tables)>,
}

impl<'a> Maker<'a> {
    /// The maker for `recipe`.
    pub fn new(recipe: &'a Recipe) -> Self {
        // Not the numbers that the recipe itself was made from.
        let mut random = Random::new(recipe.seed ^ 0x5ce9_e000);
        let model = model(&mut random, recipe.mode);
        Self { recipe, random, model, count: 0, surroundings: None }
    }

    /// What the processor is.
    pub fn model(&self) -> &CpuModel {
        &self.model
    }

    /// Numbers for what happens between scenes.
    pub fn fork(&mut self) -> Random {
        Random::new(self.random.bits())
    }

    /// The next scene.
    pub fn next(&mut self) -> Scene {
        let random = &mut self.random;
        let mut memory = Vec::new();
        if self.count == 0 {
            memory.extend(data(random, self.recipe.mode, self.recipe));
        }
        let surroundings = self.surroundings.take().filter(|_| !random.one_in(4));
        let (pages, tables) = surroundings.unwrap_or_else(|| {
            let is_user = self.recipe.cpl == 3 || random.one_in(8);
            let pages = PageTables::new(random, self.recipe.paging, is_user);
            let tables = Tables::new(random, self.recipe, pages.root);
            (pages, tables)
        });
        let state = registers::start(random, self.recipe, &self.model, &tables, &pages);
        // What an earlier guest left of its tables is sometimes all that there is.
        if self.count == 0 || !random.one_in(6) {
            memory.extend(pages.memory.iter().chain(&tables.memory).cloned());
        }
        self.surroundings = Some((pages, tables));
        let made = match &self.recipe.code {
            Some(given) if self.count == 0 => given[..given.len().min(CODE_LIMIT)].to_vec(),
            _ => code(random, self.recipe, CODE_SIZE),
        };
        let start = if self.recipe.mode.is_segmented() { state.rip } else { state.rip & (PAGE - 1) };
        memory.push((CODE + start, made));
        self.count += 1;
        Scene { state, memory }
    }
}

/// Pages of data: numbers of every kind, and pointers.
fn data(random: &mut Random, mode: Mode, recipe: &Recipe) -> Vec<(u64, Vec<u8>)> {
    let pages = [DATA, STACK, layout::FS, CODE, CODE + PAGE];
    let page = |at| {
        let mut bytes = vec![0; PAGE as usize];
        let flavour = random.pick(&[Flavour::Integer, Flavour::Integer, Flavour::Double, Flavour::Extended]);
        fill(random, flavour, &mut bytes, 0);
        for word in bytes.chunks_exact_mut(8) {
            if random.one_in(4) {
                word.copy_from_slice(&pointers::offset_in(random, mode, recipe.paging).to_le_bytes());
            }
        }
        (at, bytes)
    };
    pages.map(page).into()
}

/// A processor: mostly the default one, at times one that lacks something.
fn model(random: &mut Random, mode: Mode) -> CpuModel {
    let lesser: &[&str] = if mode.is_long() {
        &["x86-64-v1,-pcid,-invpcid,-fsgsbase,-smap,-smep,-umip", "x86-64-v1,-pdpe1gb,-x2apic,-tsc-deadline,-rdtscp"]
    } else {
        &["x86-64-v1,-lm,-syscall,-nx,-pcid,-fsgsbase", "x86-64-v1,-lm,-cmov,-sse,-sse2,-sep,-umip,-x2apic,-apic"]
    };
    if random.one_in(8) { CpuModel::parse(random.pick(lesser)).expect("it is spelt right") } else { CpuModel::most() }
}
