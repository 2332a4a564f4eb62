//! Decisions use neither clock nor chance nor I/O, and name every case.
//!
//! A service's decisions are its module `decide`. Its crate has HTTP and a runtime, so that Cargo cannot keep them out of
//! that one module; this check does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::layers::{DECISION, PURE};
use crate::resolve::Place;
use crate::source::{Crate, Mention};
use crate::workspace::Workspace;
use crate::{Rule, Violation};

/// Parts of the standard library, and functions of the pure crates, that are not pure.
const IMPURE: [&str; 15] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "RandomState",
    "Timestamp::now",
    "Zoned::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "TimeZone::system",
];

/// Types whose functions are called by a path that looks like one of a crate.
const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32",
    "u64", "u128", "usize",
];

/// The files with decisions, and what is wrong with them.
pub struct Report {
    /// All files of all modules `decide`, so that the caller can see that none is missing.
    pub files: Vec<PathBuf>,
    /// What was found.
    pub violations: Vec<Violation>,
}

/// Checks the modules `decide` of the packages in `services/`.
pub fn check(workspace: &Workspace) -> anyhow::Result<Report> {
    let mut report = Report {
        files: Vec::new(),
        violations: Vec::new(),
    };
    let services = workspace.packages.iter().filter(|it| it.floor() == "services");
    for package in services {
        for (_, tree) in workspace.crates(package)? {
            for module in 0..tree.modules.len() {
                if tree.path(module).first() == Some(&"decide") && !tree.modules[module].test {
                    check_module(&tree, module, &mut report);
                }
            }
        }
    }
    Ok(report)
}

fn check_module(tree: &Crate, module: usize, report: &mut Report) {
    let scope = &tree.modules[module];
    if !scope.inline {
        report.files.push(scope.file.clone());
    }
    let file = scope.file.display();
    // One message for each reason on a line: a `use` item may have many leaves.
    let mut found = BTreeMap::new();
    for mention in scope.mentions.iter().filter(|mention| !mention.test) {
        if let Some(reason) = impure(tree, module, mention) {
            found.entry((mention.line, reason)).or_insert(mention.text());
        }
    }
    for ((line, reason), text) in found {
        report.violations.push(Violation {
            rule: Rule::ImpureDecision,
            message: format!("{file}:{line}: {text}: {reason}"),
        });
    }
    report
        .violations
        .extend(scope.catch_alls.iter().map(|line| Violation {
            rule: Rule::CatchAll,
            message: format!("{file}:{line}: `_ =>`: name the cases"),
        }));
}

fn impure(tree: &Crate, module: usize, mention: &Mention) -> Option<String> {
    if tree.resolve(module, &mention.path) != Place::Outside {
        return None;
    }
    let mut imports = tree.modules[module].imports.iter();
    match imports.find(|import| !mention.is_import() && import.name == mention.path[0]) {
        // What was imported is reported once, where it is imported.
        Some(import) if reason(&import.path).is_some() => None,
        Some(import) => reason(&[&import.path, &mention.path[1..]].concat()),
        // A word alone is no crate: a variable, a type parameter, something of the prelude.
        None if !mention.is_import() && mention.path.len() == 1 => None,
        None => reason(&mention.path),
    }
}

/// Why a path that leads out of the crate is not pure.
fn reason(path: &[String]) -> Option<String> {
    let path: Vec<&str> = path
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let whole = format!("::{}::", path.join("::"));
    if let Some(impure) = IMPURE
        .iter()
        .find(|impure| whole.contains(&format!("::{impure}::")))
    {
        return Some(format!(
            "`{impure}` is not pure; what it gives comes in with the input"
        ));
    }
    let first = path.first()?;
    let pure = PURE.iter().copied().chain([DECISION, "std", "core", "alloc"]);
    let is_pure = pure.map(|name| name.replace('-', "_")).any(|name| name == *first);
    // Types and type parameters of the prelude: `String::new`, `Self::fold`, `R::default`; and primitive types.
    let is_crate = first.starts_with(char::is_lowercase) && !PRIMITIVES.contains(first);
    (is_crate && !is_pure).then(|| format!("`{first}` is not one of the crates that decisions may use"))
}
