//! Which encodings the host's processor can be asked about, and why others cannot.

use dragoman_frontend::model::CpuModel;
use iced_x86::{Code, EncodingKind, Mnemonic};

use crate::native::Host;

/// Why cases of `code` are not compared with the host's processor; nothing where they are.
pub fn exempt(code: Code) -> Option<&'static str> {
    use Mnemonic as M;
    match code.mnemonic() {
        M::Cpuid => Some("the host says what it is"),
        M::Rdtsc | M::Rdtscp => Some("the host's time"),
        M::Rdpid => Some("the host's kernel numbers its processors"),
        M::Rdpmc => Some("the host's kernel decides who may count"),
        M::Sgdt | M::Sidt | M::Sldt | M::Smsw | M::Str => Some("the host's kernel makes up an answer, or shows its own tables"),
        M::Syscall | M::Sysenter => Some("calls the host's kernel"),
        M::Rdrand | M::Rdseed => Some("chance"),
        M::Xgetbv => Some("the host's kernel decides what is on"),
        M::Xbegin | M::Xend | M::Xabort | M::Xtest => Some("not in any model"),
        M::Iret | M::Iretd | M::Iretq => Some("flags that make the host trap; rows judge it"),
        _ => None,
    }
}

/// Every encoding that `model` has.
pub fn codes(model: &CpuModel) -> Vec<Code> {
    Code::values()
        .filter(|code| code.op_code().is_instruction() && matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX))
        .filter(|code| model.has_code(*code))
        .collect()
}

/// Those of [`codes`] that user code can be asked about on `host`.
pub fn native_codes(model: &CpuModel, host: &Host) -> Vec<Code> {
    codes(model).into_iter().filter(|code| exempt(*code).is_none() && host.has_code(*code)).collect()
}
