//! The modules of a crate, and which paths each of them mentions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A crate as a tree of modules.
#[derive(Debug)]
pub struct Crate {
    /// The first one is the root; every other one has a parent before it.
    pub modules: Vec<Module>,
}

/// A module: a file, or a `mod name { .. }` inside one.
#[derive(Debug, Default)]
pub struct Module {
    /// Its name; empty for the root.
    pub name: String,
    /// The module in which it is declared, as an index into [`Crate::modules`]; `None` for the root.
    pub parent: Option<usize>,
    /// The file that holds it, relative to the root of the workspace.
    pub file: PathBuf,
    /// Whether it is written inside the file of its parent.
    pub inline: bool,
    /// Whether it, or a module around it, is compiled for tests only.
    pub test: bool,
    /// The modules it declares, as indexes into [`Crate::modules`].
    pub children: BTreeMap<String, usize>,
    /// The names of the items it defines.
    pub items: BTreeSet<String>,
    /// What it brings into scope by name.
    pub imports: Vec<Import>,
    /// What it brings into scope with `*`; the name is empty.
    pub globs: Vec<Import>,
    /// Words in the macros it calls in place of items: each may be a type or a constant that the macro defines.
    pub macro_words: BTreeSet<String>,
    /// Every path in it, in the order of the file.
    pub mentions: Vec<Mention>,
    /// The lines with a match arm `_ =>`, or a tuple of nothing but `_`.
    pub catch_alls: Vec<usize>,
}

/// One leaf of a `use` item.
#[derive(Clone, Debug)]
pub struct Import {
    /// The name that it brings into scope.
    pub name: String,
    /// Where it comes from. An empty first segment stands for a leading `::`.
    pub path: Vec<String>,
    /// Whether it is visible outside its module: `pub use`, `pub(crate) use`.
    pub public: bool,
}

/// A path in the sources.
#[derive(Clone, Debug)]
pub struct Mention {
    /// Its segments. An empty first segment stands for a leading `::`.
    pub path: Vec<String>,
    /// Where it is written.
    pub line: usize,
    /// In what.
    pub kind: Mentioned,
    /// Whether it is compiled for tests only.
    pub test: bool,
}

/// In what a path is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mentioned {
    /// `use`.
    Import,
    /// `pub use`.
    ReExport,
    /// `use module::*`, public or not.
    Glob,
    /// A type, an expression, a pattern, an attribute, the arguments of a macro.
    Code,
    /// The name of a macro that is called.
    MacroName,
    /// The definition of a macro, where a path means what it means at the call, unless it begins with `$crate`.
    MacroRules,
}

impl Crate {
    /// The module and those around it, the root last.
    pub fn ancestry(&self, module: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(module), |module| self.modules[*module].parent)
    }

    /// Whether `inner` is `outer` or inside it.
    pub fn is_within(&self, inner: usize, outer: usize) -> bool {
        self.ancestry(inner).any(|module| module == outer)
    }

    /// The segments of a module's path; none for the root.
    pub fn path(&self, module: usize) -> Vec<&str> {
        let mut path: Vec<_> = self
            .ancestry(module)
            .map(|module| self.modules[module].name.as_str())
            .filter(|name| !name.is_empty())
            .collect();
        path.reverse();
        path
    }
}

impl Mention {
    /// Whether it is part of a `use` item.
    pub fn is_import(&self) -> bool {
        match self.kind {
            Mentioned::Import | Mentioned::ReExport | Mentioned::Glob => true,
            Mentioned::Code | Mentioned::MacroName | Mentioned::MacroRules => false,
        }
    }

    /// As it may be written: `use crate::broker::Entry`.
    pub fn text(&self) -> String {
        let path = self.path.join("::");
        match self.kind {
            Mentioned::Import => format!("use {path}"),
            Mentioned::ReExport => format!("pub use {path}"),
            Mentioned::Glob => format!("use {path}::*"),
            Mentioned::MacroName => format!("{path}!"),
            Mentioned::Code | Mentioned::MacroRules => path,
        }
    }
}
