// SPDX-License-Identifier: GPL-2.0-only

//! Finds, fetches, configures and builds kernels, and the module for them.
//!
//! In: the folder `kbuild/` (fragments, `kernels.toml`, `requirements.toml`), the machine, a user's choice of kernel.
//! Out: a `Kernel` to boot and `Modules` to load, both kept in the cache; or an `Error` whose `Class` says who has to
//! act. Progress goes to stderr.
//! Does not boot anything, and does not know what a scenario is.
//! Source: `Documentation/kbuild/`, Linux 7.3; each module names its own.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use deferinit_kernel::build::{self, Choice, Kbuild, Variant};
//! use deferinit_kernel::cache::Session;
//! use deferinit_kernel::requirements::{self, Need};
//! use deferinit_kernel::module;
//!
//! # fn main() -> Result<(), deferinit_kernel::Error> {
//! let session = Session::new(Arc::default())?;
//! let kbuild = Kbuild::of_dir(Path::new("kbuild"))?;
//! requirements::install_missing(&session, &kbuild.requirements, Need::Run)?;
//! let kernel = build::provide(&session, &kbuild, &Choice::Default(Variant::default()))?;
//! let modules = module::build(&session, &kernel, Path::new("module"), &kbuild.dir, &["test_deferred"])?;
//! println!("{} {:?}", kernel.image()?.display(), modules.paths);
//! # Ok(())
//! # }
//! ```

mod apt;
pub mod build;
mod builtin;
pub mod cache;
mod child;
pub mod config;
mod error;
pub mod git;
pub mod kernels;
pub mod module;
pub mod progress;
pub mod requirements;
pub mod source;
pub mod toolchain;
mod version;

pub use crate::error::{Class, Error};
pub use crate::version::Version;
