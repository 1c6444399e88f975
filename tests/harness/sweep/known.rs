//! Where a fault leaves something, or comes otherwise than the sweep expects, and nobody is to mend it, each with the
//! reason. What is said of processors was seen on an Emerald Rapids.

use crate::known::{Known, codes, names};

/// The list.
pub const KNOWN: &[Known] = &[
    Known {
        who: codes!(Pushd_CS Pushd_DS Pushd_ES Pushd_FS Pushd_GS Pushd_SS),
        what: &["does not fault"],
        reason: "only the selector is written into its slot, as on all recent processors",
    },
    Known {
        who: names!(Pusha Pushad Enter),
        what: &["writes a part before it faults"],
        reason: "what was pushed before lies below the stack pointer, which has not moved; so it does on processors",
    },
    Known {
        who: names!(Vgatherdps Vgatherdpd Vgatherqps Vgatherqpd Vpgatherdd Vpgatherdq Vpgatherqd Vpgatherqq),
        what: &["changes registers"],
        reason: "what lies above a mask of 128 bits is cleared at once, as by processors",
    },
    Known {
        who: names!(Vcvtps2ph),
        what: &["changes registers"],
        reason: "the flags of the conversion are set before its result is written, as by processors",
    },
    Known {
        who: names!(Arpl),
        what: &["gives another error code"],
        reason: "it reads, and writes only where the level is to change; so do processors",
    },
    Known {
        who: codes!(Call_m1616 Call_m1632 Call_m1664),
        what: &["raises another exception"],
        reason: "the stack is used as the code that is called uses it, 32-bit code with half of the pointer; so by processors",
    },
    Known {
        who: names!(
            Xsave Xsave64 Xsaveopt Xsaveopt64 Xsavec Xsavec64 Xsaves Xsaves64 Xrstor Xrstor64 Xrstors Xrstors64
        ),
        what: &["gives another address"],
        reason: "the header of the image, or its end, is looked for first, as by processors",
    },
    Known {
        who: names!(Fxsave Fxsave64 Fxrstor Fxrstor64),
        what: &["gives another address"],
        reason: "the last byte of the image is looked for first, as by processors",
    },
];
