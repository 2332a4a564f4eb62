//! Walks through the syntax of one file, and enters into the module tree what it defines, imports and mentions.

// The enums of `syn` are not exhaustive.
#![allow(clippy::wildcard_enum_match_arm)]

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMacro, ItemUse, Meta, Visibility};

use crate::source::{Crate, Import, Mention, Mentioned, Module};
use crate::syntax::{self, Leaf};

/// A module that is declared in the file and written in another one.
pub struct Declared {
    /// Its index in the tree.
    pub module: usize,
    /// The folder in which its file is expected.
    pub folder: PathBuf,
    /// What `#[path = ".."]` says instead.
    pub path: Option<String>,
}

/// Walks through the file of `module`, whose own modules are in `folder`.
pub fn walk(tree: &mut Crate, module: usize, folder: &Path, file: &syn::File) -> Vec<Declared> {
    let test = tree.modules[module].test || syntax::is_for_tests(&file.attrs);
    tree.modules[module].test = test;
    let mut walk = Walk {
        tree,
        module,
        test,
        folder: folder.to_owned(),
        declared: Vec::new(),
    };
    walk.visit_file(file);
    walk.declared
}

struct Walk<'a> {
    tree: &'a mut Crate,
    module: usize,
    test: bool,
    folder: PathBuf,
    declared: Vec<Declared>,
}

impl Walk<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn mention(&mut self, path: Vec<String>, span: Span, kind: Mentioned) {
        let mention = Mention {
            path,
            line: span.start().line,
            kind,
            test: self.test,
        };
        self.here().mentions.push(mention);
    }

    fn enter(&mut self, item: &syn::ItemMod) {
        let module = self.tree.modules.len();
        let name = item.ident.to_string();
        let file = self.here().file.clone();
        self.here().children.insert(name.clone(), module);
        self.tree.modules.push(Module {
            name: name.clone(),
            parent: Some(self.module),
            file,
            inline: item.content.is_some(),
            test: self.test,
            ..Module::default()
        });
        let Some((_, items)) = &item.content else {
            self.declared.push(Declared {
                module,
                folder: self.folder.clone(),
                path: syntax::path_attribute(&item.attrs),
            });
            return;
        };
        let outer = std::mem::replace(&mut self.module, module);
        self.folder.push(&name);
        for item in items {
            self.visit_item(item);
        }
        self.folder.pop();
        self.module = outer;
    }

    fn import(&mut self, item: &ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        let start = if item.leading_colon.is_some() {
            vec![String::new()]
        } else {
            Vec::new()
        };
        for Leaf { name, path, span } in syntax::leaves(&item.tree, start) {
            let kind = match (&name, public) {
                (None, _) => Mentioned::Glob,
                (Some(_), true) => Mentioned::ReExport,
                (Some(_), false) => Mentioned::Import,
            };
            let import = Import {
                name: name.unwrap_or_default(),
                path: path.clone(),
                public,
            };
            if kind == Mentioned::Glob {
                self.here().globs.push(import);
            } else {
                self.here().imports.push(import);
            }
            self.mention(path, span, kind);
        }
    }

    /// `#[macro_export]` makes a macro an item of the root.
    fn export(&mut self, name: &str) {
        let start = std::iter::once("crate").chain(self.tree.path(self.module));
        let path = start.chain([name]).map(str::to_owned).collect();
        if self.module != 0 {
            self.tree.modules[0].imports.push(Import {
                name: name.to_owned(),
                path,
                public: true,
            });
        }
    }

    /// Paths in the tokens of a macro or an attribute, which have no syntax of their own. Words without `::` are left out:
    /// they may be anything.
    fn tokens(&mut self, tokens: &TokenStream, kind: Mentioned) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(&group.stream(), kind),
                TokenTree::Ident(ident) => {
                    let (path, end) = syntax::path_at(&tokens, at);
                    if path.len() > 1 && syntax::begins_path(&tokens, at) {
                        self.mention(path, ident.span(), kind);
                    }
                    at = end;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Paths in strings, as in `#[serde(with = "crate::codec")]`.
    fn strings(&mut self, tokens: &TokenStream) {
        for token in tokens.clone() {
            match token {
                TokenTree::Group(group) => self.strings(&group.stream()),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    if let Ok(path) = syn::parse_str::<syn::Path>(text.trim_matches('"')) {
                        self.mention(syntax::segments(&path), literal.span(), Mentioned::Code);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let outer = self.test;
        self.test |= syntax::is_for_tests(syntax::attributes(item));
        self.here().items.extend(syntax::name(item));
        match item {
            Item::Mod(item) => self.enter(item),
            Item::Use(item) => self.import(item),
            Item::Macro(ItemMacro {
                ident: Some(name),
                attrs,
                mac,
                ..
            }) => {
                if attrs
                    .iter()
                    .any(|attribute| attribute.path().is_ident("macro_export"))
                {
                    self.export(&name.to_string());
                }
                self.tokens(&mac.tokens, Mentioned::MacroRules);
            }
            Item::Macro(item) => {
                syntax::words(&item.mac.tokens, &mut self.here().macro_words);
                self.visit_item_macro(item);
            }
            Item::ExternCrate(item) => {
                self.mention(vec![item.ident.to_string()], item.ident.span(), Mentioned::Import);
            }
            other => visit::visit_item(self, other),
        }
        self.test = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let outer = self.test;
        self.test |= syntax::is_for_tests(&item.attrs);
        visit::visit_impl_item_fn(self, item);
        self.test = outer;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            self.mention(syntax::segments(path), first.ident.span(), Mentioned::Code);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(first) = call.path.segments.first() {
            self.mention(
                syntax::segments(&call.path),
                first.ident.span(),
                Mentioned::MacroName,
            );
        }
        self.tokens(&call.tokens, Mentioned::Code);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let path = attribute.path();
        if path.segments.len() > 1 {
            self.visit_path(path);
        }
        if let Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens, Mentioned::Code);
            if path.is_ident("serde") {
                self.strings(&list.tokens);
            }
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if syntax::is_catch_all(&arm.pat) && !self.test {
            let line = arm.fat_arrow_token.spans[0].start().line;
            self.here().catch_alls.push(line);
        }
        visit::visit_arm(self, arm);
    }
}
