//! No cycles among the modules of a crate.
//!
//! The modules of a crate are its files. For every file that declares others, a graph is made of the file itself and its
//! children; what happens inside a child counts as the child. There is an edge where a path leads from one to another,
//! in a `use` item, a type, an expression, an attribute or the arguments of a macro. So:
//!
//! - a path through a re-export leads to the module that defines the item, and not through the one that re-exports it;
//! - `mod` and `pub use` of a child are no edge; code in the parent that uses what the child defines is one;
//! - a child may use its parent's own items as long as the parent uses nothing of the child;
//! - code for tests only (`#[cfg(test)]`) counts for nothing.
//!
//! What leaves no path is not seen: methods of a type that came in through a third module.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::graph::Graph;
use crate::resolve::Place;
use crate::source::{Crate, Mention, Mentioned};
use crate::workspace::Workspace;
use crate::{Rule, Violation};

/// How many places are named for each edge of a cycle.
const SHOWN: usize = 3;

/// Why one module needs another.
struct Reason<'a> {
    module: usize,
    mention: &'a Mention,
}

/// For each file module that has children: the graph of it and them.
type Families<'a> = BTreeMap<usize, Graph<usize, Reason<'a>>>;

/// Checks every crate of every package.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for package in &workspace.packages {
        for (target, tree) in workspace.crates(package)? {
            let name = format!("{}, {} `{}`", package.name, target.kind.join(", "), target.name);
            violations.extend(check_crate(&name, &tree));
        }
    }
    Ok(violations)
}

fn check_crate(name: &str, tree: &Crate) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (family, graph) in families(tree) {
        for cycle in graph.cycles() {
            violations.push(Violation {
                rule: Rule::ModuleCycle,
                message: describe(name, tree, family, &graph, &cycle),
            });
        }
    }
    violations
}

fn families(tree: &Crate) -> Families<'_> {
    let mut families = Families::new();
    for (module, scope) in tree.modules.iter().enumerate() {
        for mention in scope.mentions.iter().filter(|mention| !mention.test) {
            let Some(target) = needed(tree, module, mention) else {
                continue;
            };
            let from = lineage(tree, module);
            let to = lineage(tree, target);
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            let family = from[common - 1]; // The root is common to all.
            let member = |lineage: &[usize]| lineage.get(common).copied().unwrap_or(family);
            let reason = Reason { module, mention };
            let graph = families.entry(family).or_default();
            graph.add(member(&from), member(&to), reason);
        }
    }
    families
}

/// The module that a mention makes its own module depend on.
fn needed(tree: &Crate, module: usize, mention: &Mention) -> Option<usize> {
    if mention.kind == Mentioned::MacroRules && mention.path[0] != "crate" {
        return None;
    }
    match tree.resolve(module, &mention.path) {
        Place::Outside => None,
        // To name a module that is around this one uses nothing of it yet: what is used has paths of its own.
        Place::Module(target) if tree.is_within(module, target) => None,
        // A word alone is an item, a variable or the like, and never a module.
        Place::Module(_) if mention.kind == Mentioned::Code && mention.path.len() == 1 => None,
        Place::Module(target) | Place::Item(target) => {
            let own = tree.is_within(target, file(tree, module));
            let exports = match mention.kind {
                Mentioned::ReExport => true,
                Mentioned::Glob => is_public_glob(tree, module, mention),
                Mentioned::Import | Mentioned::Code | Mentioned::MacroName | Mentioned::MacroRules => false,
            };
            (!(own && exports)).then_some(target)
        }
    }
}

fn is_public_glob(tree: &Crate, module: usize, mention: &Mention) -> bool {
    let mut globs = tree.modules[module].globs.iter();
    globs.any(|glob| glob.public && glob.path == mention.path)
}

/// The files from the root to the one that holds a module.
fn lineage(tree: &Crate, module: usize) -> Vec<usize> {
    let ancestry = tree.ancestry(module);
    let mut files: Vec<_> = ancestry.filter(|module| !tree.modules[*module].inline).collect();
    files.reverse();
    files
}

/// The module that is the file which holds a module.
fn file(tree: &Crate, module: usize) -> usize {
    let mut ancestry = tree.ancestry(module);
    let file = ancestry.find(|module| !tree.modules[*module].inline);
    file.unwrap_or(0)
}

fn describe(
    name: &str,
    tree: &Crate,
    family: usize,
    graph: &Graph<usize, Reason<'_>>,
    cycle: &[usize],
) -> String {
    let label = |module: usize| match tree.path(module).join("::") {
        root if root.is_empty() => "(crate root)".to_owned(),
        path if module == family => format!("{path} (its own file)"),
        path => path,
    };
    let around = || cycle.iter().chain(&cycle[..1]).copied();
    let names: Vec<_> = around().map(label).collect();
    let mut message = format!("{name}: {}", names.join(" -> "));
    for (from, to) in around().zip(around().skip(1)) {
        let places = places(tree, graph.reasons(&from, &to));
        for place in places.iter().take(SHOWN) {
            let _ = write!(message, "\n    {place}");
        }
        if let more @ 1.. = places.len().saturating_sub(SHOWN) {
            let _ = write!(message, "\n        and {more} more lines of {}", label(from));
        }
    }
    message
}

/// The lines that make an edge, `use` items first: `src/a.rs:7: use crate::b::B, use crate::b::C`.
fn places(tree: &Crate, reasons: &[Reason<'_>]) -> Vec<String> {
    let mut lines: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for Reason { module, mention } in reasons {
        let file = &tree.modules[*module].file;
        let place = (!mention.is_import(), file, mention.line);
        let texts = lines.entry(place).or_default();
        if !texts.contains(&mention.text()) {
            texts.push(mention.text());
        }
    }
    let lines = lines.into_iter();
    lines
        .map(|((_, file, line), texts)| format!("{}:{line}: {}", file.display(), texts.join(", ")))
        .collect()
}
