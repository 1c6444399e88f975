//! The translator, on hosts that it can translate for; on others, why not.

pub use here::{check, engine, level, speed};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod here {
    use std::{sync::Arc, time::Duration};

    use dragoman_accel::{
        Accelerator, Speed, measure,
        translate::{Settings, Translator},
    };
    use dragoman_frontend::model::CpuModel;

    use crate::failure::Failure;

    /// Whether code can be translated.
    pub fn check() -> Result<(), Failure> {
        Translator::check().map_err(Failure::accelerator)
    }

    /// The newest level that the host has whole.
    pub fn level() -> u8 {
        Translator::level()
    }

    /// The engine, with `code` bytes for its code, which counts instructions if `counts`.
    pub fn engine(code: u64, counts: bool) -> Arc<dyn Accelerator> {
        Arc::new(Translator::new(Settings { code_bytes: code as usize, counts, ..Settings::default() }))
    }

    /// How fast it is, measured for `limit` for each ring at most.
    pub fn speed(limit: Duration) -> Result<Speed, Failure> {
        Ok(measure(&Translator::default(), &CpuModel::newest_up_to(level()), limit)?)
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod here {
    use std::{sync::Arc, time::Duration};

    use dragoman_accel::{Accelerator, Speed, interpret::Interpreter};

    use crate::failure::Failure;

    fn wrong_host() -> Failure {
        Failure::accelerator("the translator is for x86-64 hosts with Linux; use --accel interp")
    }

    pub fn check() -> Result<(), Failure> {
        Err(wrong_host())
    }

    pub fn level() -> u8 {
        u8::MAX
    }

    /// Nobody gets so far.
    pub fn engine(_code: u64, _counts: bool) -> Arc<dyn Accelerator> {
        Arc::new(Interpreter)
    }

    pub fn speed(_limit: Duration) -> Result<Speed, Failure> {
        Err(wrong_host())
    }
}
