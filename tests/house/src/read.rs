//! Reads a crate: its root file, and the files of the modules declared there.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::source::{Crate, Module};
use crate::walk::{Declared, walk};

/// Reads the crate whose root file is `root_file`. Files are named relative to `workspace`.
pub fn read(workspace: &Path, root_file: &Path) -> anyhow::Result<Crate> {
    let mut tree = Crate {
        modules: vec![Module::default()],
    };
    let mut open = vec![Source {
        module: 0,
        file: root_file.to_owned(),
        folder: folder_of(root_file),
    }];
    while let Some(source) = open.pop() {
        let name = source.file.display();
        let text = std::fs::read_to_string(&source.file).with_context(|| format!("reading {name}"))?;
        let syntax = syn::parse_file(&text).with_context(|| format!("parsing {name}"))?;
        let relative = source.file.strip_prefix(workspace).unwrap_or(&source.file);
        tree.modules[source.module].file = relative.to_owned();
        for declared in walk(&mut tree, source.module, &source.folder, &syntax) {
            open.push(locate(&tree, &source.file, declared)?);
        }
    }
    Ok(tree)
}

/// The file of a module, and the folder in which the files of its own modules are.
struct Source {
    module: usize,
    file: PathBuf,
    folder: PathBuf,
}

fn locate(tree: &Crate, parent: &Path, declared: Declared) -> anyhow::Result<Source> {
    let Declared { module, folder, path } = declared;
    let name = &tree.modules[module].name;
    if let Some(path) = path {
        let file = folder_of(parent).join(path);
        let folder = folder_of(&file);
        return Ok(Source { module, file, folder });
    }
    let inner = folder.join(name);
    for file in [folder.join(format!("{name}.rs")), inner.join("mod.rs")] {
        if file.is_file() {
            return Ok(Source {
                module,
                file,
                folder: inner,
            });
        }
    }
    bail!(
        "{}: no file for `mod {name};` in {}",
        parent.display(),
        folder.display()
    )
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_owned()
}
