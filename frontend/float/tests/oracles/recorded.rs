//! x87 instructions as a processor executed them, for hosts that cannot be asked.
//!
//! Recorded on an Intel Xeon of family 6, model 207 (Sapphire Rapids), with the instructions of `processor.rs`.

use dragoman_float::x87::{f2xm1, fcos, fpatan, fprem, fprem1, fscale, fsin, fyl2x, fyl2xp1};
use dragoman_float::{Environment, Exceptions, F80, Inexact, add, div, mul, round_to_integral, sqrt, sub};
use dragoman_state::StatusWord;

use crate::cases::Tally;

struct Row {
    name: &'static str,
    control: u16,
    st0: F80,
    st1: F80,
    /// ST(0) afterwards.
    result: F80,
    /// The status word afterwards, the top of stack apart; before it was zero.
    status: u16,
}

const fn row(name: &'static str, control: u16, st0: u128, st1: u128, result: u128, status: u16) -> Row {
    const fn number(bits: u128) -> F80 {
        F80 { significand: bits as u64, sign_exponent: (bits >> 64) as u16 }
    }
    Row { name, control, st0: number(st0), st1: number(st1), result: number(result), status }
}

#[rustfmt::skip] // a table: one line a recorded instruction
const ROWS: &[Row] = &[
    //  name     control  ST(0)                   ST(1)                   result                  status
    row("fadd"    , 0x343, 0x3fff_d5b2d034f041d2fb, 0xbffe_bc12faf53d0fe673, 0x3ffe_ef52a574a373bf83, 0x0000),
    row("fadd"    , 0x27f, 0x3fff_c13ddbf2cb8f2e89, 0x3fff_c0a3f1330ed3fbbd, 0x4000_c0f0e692ed319800, 0x0220),
    row("fadd"    , 0xb7f, 0xc000_bc19bd0f02d61210, 0x3ffe_db85469644fac2bb, 0xc000_85386b6971976161, 0x0020),
    row("fadd"    , 0xa49, 0xbfff_be779f5504ab2404, 0xc000_8b088a7d2fc00667, 0xc000_ea445a27b2159800, 0x80a0),
    row("fadd"    , 0xb45, 0x4000_b8e723d9732583eb, 0x3ffe_870c6df3aa1127b1, 0x4000_daaa3f565da9cdd8, 0x82a0),
    row("fadd"    , 0x74a, 0x8000_7fffffffffffffff, 0xc002_c6101f7c50469184, 0xc002_c6101f7c50469185, 0x82a2),
    row("fsub"    , 0x372, 0x3ffc_cb55a136bcf9a828, 0xbffc_c5af71576615be81, 0x3ffd_c88289471187b354, 0x0020),
    row("fsub"    , 0xb7f, 0xbffc_a33dec7d741759c2, 0xbffe_e59b2026d78c477d, 0x3ffe_bccba5077a86710d, 0x0220),
    row("fsub"    , 0xb7f, 0x3ffc_82462230a3601992, 0x3ffd_8ef6aad411841404, 0xbffc_9ba733777fa80e76, 0x0000),
    row("fsub"    , 0xc40, 0x3fff_f5fbaa1fd1fd316b, 0xbfff_d30c79e24b224ed7, 0x4000_e484120000000000, 0x80a0),
    row("fmul"    , 0x474, 0xbffe_bf714066ed7ee86c, 0x3ffe_edfb48c4a97e8d9d, 0xbffe_b1f7c40000000000, 0x0220),
    row("fmul"    , 0x246, 0x4000_dd25b0a1f8122831, 0x3ffc_f31c7d2882765ebf, 0x3ffe_d20362e776067000, 0x80a0),
    row("fmul"    , 0x75b, 0x3fff_fd1dc9b2a6992d38, 0xc000_e3d2e6c5333df1e7, 0xc001_e141f0749c13635d, 0x82a0),
    row("fmul"    , 0x87f, 0x3ffc_a753a5e7f25a6328, 0xbffe_e687f314376e196e, 0xbffc_96ae030000000000, 0x0020),
    row("fmul"    , 0x37f, 0xc000_ca2014090f800000, 0xb85f_668d53ff91578592, 0xffff_c000000000000000, 0x0001),
    row("fmul"    , 0x37f, 0x8034_9000000000000002, 0x8000_7ffffff000000000, 0x0000_0000000000000000, 0x0032),
    row("fdiv"    , 0xb7f, 0x3ffe_e4f1e34155cc4d96, 0xbfff_d1c586f8cd85c6e9, 0xbffe_8bb30528b0c21d24, 0x0020),
    row("fdiv"    , 0xb7f, 0x4000_94c3fd800c051e5d, 0x3fff_f97ebd04449cb20c, 0x3fff_98a4ee217263e48e, 0x0220),
    row("fdiv"    , 0x65d, 0x3ffe_cd24591ac00a80b2, 0xbffd_8af65000d748aa25, 0xc000_bcf58c23e78c6800, 0x82a0),
    row("fdiv"    , 0xb4d, 0x3ffe_918a383dab35febc, 0xbffc_970165df2170c243, 0xc000_f6bbf811c6de70b3, 0x80a0),
    row("fdiv"    , 0xa62, 0x0000_7fffc00000000000, 0x7fc7_ffffffffffffffff, 0x2037_ffff800000000800, 0x82b2),
    row("fdiv"    , 0xb7f, 0x0000_00000000003fffff, 0xffff_c000000000000000, 0xffff_c000000000000000, 0x0000),
    row("fsqrt"   , 0xb7f, 0x3fff_a6928ab64b3577cc, 0xbffc_b650389bb0d82a4b, 0x3fff_92049eec88602153, 0x0220),
    row("fsqrt"   , 0x34d, 0xbffe_c1f626274de81928, 0x3ffc_f9f0a86a6477e7a7, 0xffff_c000000000000000, 0x0001),
    row("fsqrt"   , 0xf7f, 0x3ffd_87ba86d1dd45e701, 0x3fff_bc71312b9a190ec8, 0x3ffe_83cec3d244d52bd5, 0x0020),
    row("fsqrt"   , 0xf4d, 0x3ffd_d5d86ab6f01be825, 0xbfff_b0f6364d9f928809, 0x3ffe_a5720b4a045f1eb4, 0x80a0),
    row("frndint" , 0x77f, 0xbffd_ab94b03554ca1ffe, 0x4000_863752c7fc6081ee, 0xbfff_8000000000000000, 0x0220),
    row("frndint" , 0x652, 0x3ffc_dd9e4a3e19da4800, 0x3ffd_afbe485ef3290aa9, 0x0000_0000000000000000, 0x80a0),
    row("frndint" , 0x37f, 0x4000_d2a6f1be1265f0e7, 0xbfff_a9d153029b1ad892, 0x4000_c000000000000000, 0x0020),
    row("frndint" , 0xf7f, 0xbffe_df106c41fea95234, 0x3ffe_c525b53d9115e70f, 0x8000_0000000000000000, 0x0020),
    row("fprem"   , 0x67d, 0xc000_cfda92c83eaaf3f3, 0x3ffc_a9bf65eb1bd6adcf, 0xbffb_c8e93821b380b1a6, 0x4200),
    row("fprem"   , 0x37f, 0xbfff_b0c70c04acf9d739, 0x3ffd_fdfdd4a03e462863, 0xbffd_c72086d2375b0c1e, 0x4000),
    row("fprem"   , 0x37f, 0x3ffc_c3e679b7b0d0a71a, 0x3ffd_c757c38a2ebdf56f, 0x3ffc_c3e679b7b0d0a71a, 0x0000),
    row("fprem"   , 0xf7f, 0x3fff_d964b1b33288e7ee, 0xbffd_86689fdc7a6c6eed, 0x3ffb_fc7c1e87ae6418a8, 0x4100),
    row("fprem"   , 0xc42, 0x3ffe_f68e30a8ce134056, 0xbffe_8676886ed94ca3d2, 0x3ffd_e02f5073e98d3908, 0x0200),
    row("fprem"   , 0x37f, 0x3fff_eee0485bb36911b2, 0x3ffd_b2e754e041c5dfb6, 0x3ffb_f3f1e436131ba0e8, 0x0300),
    row("fprem1"  , 0x47f, 0x4000_e78111c5dff13804, 0x3ffc_fdc8a408190d1500, 0xbffb_cd610036f1617580, 0x4300),
    row("fprem1"  , 0x37f, 0x3ffe_8334016ccab61002, 0x3ffe_d5861259ec4fe980, 0xbffd_a4a421da4333b2fc, 0x0200),
    row("fprem1"  , 0xb7f, 0xbfff_cdcf7039acb522af, 0xbffe_926348e202fa3f4b, 0x3ffb_dc57d1957c23c418, 0x4200),
    row("fprem1"  , 0xb43, 0xbffc_931ed7f5dddb71bb, 0x4000_8df9ce309c04c66a, 0xbffc_931ed7f5dddb71bb, 0x0000),
    row("fprem1"  , 0xb48, 0x4000_98cc319ed6442c78, 0x3ffc_fea9205d364fb55f, 0xbffb_cbb0536d75b49c6c, 0x4000),
    row("fscale"  , 0xa7f, 0x3ffe_a0d2f883f409a351, 0x3fff_d8a4c76a3b9bff4e, 0x3fff_a0d2f883f409a351, 0x0000),
    row("fscale"  , 0x37f, 0xfff8_83ffffffffffffff, 0xc037_8000000000007fff, 0x8000_0000000000000000, 0x0030),
    row("fscale"  , 0x37f, 0x8036_cf162ef5e51eae8d, 0x7fcc_c6ba8899bc8f4516, 0xffff_8000000000000000, 0x0228),
    row("fscale"  , 0x77f, 0x0000_19ac400180000000, 0x7fff_0000000000000001, 0xffff_c000000000000000, 0x0001),
    row("fscale"  , 0xf4d, 0x6b45_8003ffffffffffff, 0xc03e_8000000000000001, 0x0000_0000000000000000, 0x80b0),
    row("f2xm1"   , 0xa49, 0x4000_d314cd326a039e97, 0xbffe_ae5337d771ec764c, 0x4000_d314cd326a039e97, 0x80a0),
    row("f2xm1"   , 0x67f, 0xbffc_e26b75641107ac4f, 0x4000_c7e583c01e94322c, 0xbffc_9181cbd6ecd5461d, 0x0220),
    row("f2xm1"   , 0x87f, 0xbfff_b8c7c2933188b4dc, 0xbffe_d1948f9921f0e410, 0xbfff_b8c7c2933188b4dc, 0x0020),
    row("f2xm1"   , 0xb5a, 0x3ffd_a81dafe8fa4f8f07, 0xbffe_c87bd33b813a6def, 0x3ffd_82db19ee20b189b5, 0x82a0),
    row("f2xm1"   , 0xb4c, 0x0000_4433a20b6e0883f8, 0x3ffe_bfffffffffffffff, 0x0000_4433a20b6e0883f8, 0x8082),
    row("fyl2x"   , 0xe73, 0x3ffd_ec4946e69680201c, 0x3ffd_ae8d59dd02c4b092, 0xbffd_c2bb581f8e8a7353, 0x0020),
    row("fyl2x"   , 0xf7f, 0xbffe_b026ea0a0572d7eb, 0xbffd_c30e966d1bc473c2, 0xffff_c000000000000000, 0x0001),
    row("fyl2x"   , 0xf52, 0x3ffe_de26f2b341ac142c, 0x3ffd_9a09d23aad2c2019, 0xbffa_fc1ff15ebf7fd812, 0x80a0),
    row("fyl2x"   , 0xb7f, 0x3ffe_ad34e419ac17a295, 0xc000_8d56d719a021af23, 0x3fff_9f54e7d703dd9cc3, 0x0220),
    row("fyl2x"   , 0xb4a, 0x3ffc_88a958a6e6983ff1, 0xbffe_eb64ceac1bc7bb40, 0x4000_aafc7fc1336c1a62, 0x82a0),
    row("fyl2x"   , 0xb68, 0xbfff_865687ec77676477, 0xbfff_ac9fa67c0d4026fc, 0xbfff_865687ec77676477, 0x8081),
    row("fyl2xp1" , 0x87f, 0xbffe_a16754b721101018, 0xbffe_9c63a0db59955709, 0x3ffe_e09ea8e3488106fa, 0x0220),
    row("fyl2xp1" , 0xa7f, 0xbffd_f9a094c5bb53a39b, 0x4000_bc279c0304a77d72, 0xc000_b57ae9c392b894a3, 0x0020),
    row("fyl2xp1" , 0x65c, 0xbffc_d21062bfec58ad91, 0xc000_a00f36c4e5eee911, 0x3ffe_d410a0e60aa5a698, 0x80a0),
    row("fyl2xp1" , 0x745, 0x3ffd_86f0977945d2d89e, 0xbffe_f6ceec7f34045592, 0xbffd_a696eadeddbdcdeb, 0x82a0),
    row("fyl2xp1" , 0x77f, 0xbffe_8000000000000000, 0x0000_0000000000000000, 0x8000_0000000000000000, 0x0000),
    row("fpatan"  , 0xf4c, 0x3ffc_ea579b7423e37a24, 0x4000_9a2e0f6b9c0c728a, 0x3fff_bcf05b56cbb8ced9, 0x80a0),
    row("fpatan"  , 0x47f, 0x4000_871a21d4749a29da, 0x3ffe_e9dab6fede61ce60, 0x3ffd_d11a7b5e1ddcb348, 0x0020),
    row("fpatan"  , 0xb7f, 0xbffd_9943708b947d1c1b, 0x4000_f7e11c659bb02264, 0x3fff_d2ef615b8ed02a8e, 0x0220),
    row("fpatan"  , 0x77f, 0x0010_ffffffffffff0000, 0x8000_7fffffffffffffff, 0xbfee_ffffffffaaabaaa9, 0x0222),
    row("fpatan"  , 0xc44, 0x39e2_c102722242b102d0, 0x8000_132ca0d4d4bf56c8, 0x39e2_c102722242b102d0, 0x8082),
    row("fsin"    , 0xf7f, 0xc000_97aa53edcd82d264, 0x3ffe_c9ec85325ad2cbcb, 0xbffe_b28b8d041fb4ab87, 0x0020),
    row("fsin"    , 0x77f, 0xbffd_8daef1badc710369, 0xbffc_db3fa048a900762b, 0xbffd_8be1cb418af80c7a, 0x0220),
    row("fsin"    , 0x359, 0x3ffe_c6bb8f576df8cc33, 0xbffe_ef58d310db8f54b6, 0x3ffe_b35d64ded5f32546, 0x80a0),
    row("fsin"    , 0xb49, 0xc000_f33f5a3ba00b7120, 0xbfff_f1d376ff26ddec36, 0x3ffe_9cc928144d79cf44, 0x82a0),
    row("fsin"    , 0x87f, 0xf459_8000000000000000, 0x3de5_f000000000000000, 0xf459_8000000000000000, 0x0400),
    row("fcos"    , 0x87f, 0x3ffd_f70393f8b9c225f3, 0xbfff_909e34e66ea4c7de, 0x3ffe_e2c7ce2642ddf607, 0x0220),
    row("fcos"    , 0xf7f, 0xbffe_a5306b16b5978ac2, 0xc000_fbdcbe798ed0203d, 0x3ffe_cc87290400ff5b05, 0x0020),
    row("fcos"    , 0xa41, 0xbffe_a6e1a0bfdc62e8d6, 0xc000_e208dd76f51d4529, 0x3ffe_cb817ad23813665a, 0x82a0),
    row("fcos"    , 0xf59, 0xbfff_ecc47f4ffe748598, 0x3ffe_dd10b3d62c1d6fa6, 0xbffd_8cfa3d2fb6bd7029, 0x80a0),
];

/// The result of an instruction and what it does to the condition codes.
fn execute(name: &str, a: F80, b: F80, env: &mut Environment, status: &mut StatusWord) -> F80 {
    match name {
        "fadd" => add(a, b, env),
        "fsub" => sub(a, b, env),
        "fmul" => mul(a, b, env),
        "fdiv" => div(a, b, env),
        "fsqrt" => sqrt(a, env),
        "frndint" => round_to_integral(a, env.rounding, Inexact::Reported, env),
        "fprem" | "fprem1" => {
            let remainder = if name == "fprem" { fprem(a, b, env) } else { fprem1(a, b, env) };
            remainder.reduction.record(status);
            remainder.value
        }
        "fscale" => fscale(a, b, env),
        "f2xm1" => f2xm1(a, env),
        "fyl2x" => fyl2x(a, b, env),
        "fyl2xp1" => fyl2xp1(a, b, env),
        "fpatan" => fpatan(a, b, env),
        _ => {
            let value = if name == "fsin" { fsin(a, env) } else { fcos(a, env) };
            status.set(StatusWord::C2, value.is_none());
            value.unwrap_or(a)
        }
    }
}

#[test]
fn recorded_instructions_are_repeated() {
    let mut tally = Tally::new("recorded");
    for row in ROWS {
        let mut status = StatusWord::empty();
        let mut env = Environment::from_x87(row.control, status);
        let value = execute(row.name, row.st0, row.st1, &mut env, &mut status);
        let withheld = env.retire_x87(&mut status).intersects(Exceptions::BEFORE_COMPUTATION);
        let result = if withheld { row.st0 } else { value };
        tally.case(result == row.result && status.bits() == row.status, || {
            format!("{} {:?} {:?} cw {:03x}: {result:?} {:04x}", row.name, row.st0, row.st1, row.control, status.bits())
        });
    }
}
