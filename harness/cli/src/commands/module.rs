// SPDX-License-Identifier: GPL-2.0-only

//! `deferinit module`: the workload's module by itself.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

use crate::args::Module;
use crate::exit::{Failure, PASSED};
use crate::prepare::{self, MODULES, session};
use crate::project::Project;
use crate::stdout::print;

/// Runs the command.
pub(crate) fn run(command: &Module, interrupted: Arc<AtomicBool>) -> Result<u8, Failure> {
    let project = Project::find()?;
    let (session, kbuild) = session(&project, interrupted)?;
    prepare::require(&session, &kbuild)?;
    match command {
        Module::Path { name, kernel } => {
            let path = prepare::module_path(&project, &session, &kbuild, kernel, name)?;
            print(&path.display().to_string())?;
        }
        Module::Parameters { kernel } => {
            let [workload, ..] = MODULES;
            let path = prepare::module_path(&project, &session, &kbuild, kernel, workload)?;
            let table = fs::read(&path)
                .context("it cannot be read")
                .and_then(|module| parameters(&module))
                .with_context(|| format!("cannot list the parameters of {}", path.display()))
                .map_err(Failure::setup)?;
            print(table.trim_end())?;
        }
    }
    Ok(PASSED)
}

/// A Markdown table of the parameters: the `parm=NAME:DESCRIPTION [DEFAULT]` entries of `.modinfo`, in the order of the
/// source (`MODULE_PARM_DESC`, `include/linux/moduleparam.h`, Linux 7.3).
fn parameters(module: &[u8]) -> Result<String> {
    let file = object::File::parse(module).context("it is no object file")?;
    let section = file
        .section_by_name(".modinfo")
        .context("it has no .modinfo")?;
    let text = section.data().context("its .modinfo cannot be read")?;
    Ok(table(&String::from_utf8_lossy(text)))
}

fn table(modinfo: &str) -> String {
    let mut rows: Vec<(&str, &str, &str)> = modinfo
        .split('\0')
        .filter_map(|entry| {
            let (name, rest) = entry.strip_prefix("parm=")?.split_once(':')?;
            let (description, default) = rest.strip_suffix(']')?.rsplit_once(" [")?;
            Some((name, default, description))
        })
        .collect();
    // The compiler lays them out in whatever order it likes.
    rows.sort_unstable();
    let mut table = "| Parameter | Default | Meaning |\n| --- | --- | --- |\n".to_owned();
    for (name, default, description) in rows {
        let default = if default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{default}`")
        };
        table += &format!("| `{name}` | {default} | {description} |\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_the_descriptions_of_modinfo() {
        let modinfo = "license=GPL\0parm=mode:how items run [delayed]\0parmtype=mode:string\0\
            parm=delay:in ns [0] of the first [0]\0parm=plan:items []\0";
        let expected = "\
| Parameter | Default | Meaning |
| --- | --- | --- |
| `delay` | `0` | in ns [0] of the first |
| `mode` | `delayed` | how items run |
| `plan` | none | items |
";
        assert_eq!(table(modinfo), expected);
    }

    #[test]
    fn something_else_is_no_module() {
        assert!(parameters(b"text").is_err());
    }
}
