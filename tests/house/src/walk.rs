//! Walks through the syntax of one file, and enters into the module tree what it defines, imports and mentions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMacro, ItemUse, Meta, Pat, UseTree, Visibility};

use crate::source::{Crate, Import, Mention, Mentioned, Module};

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
    let test = tree.modules[module].test || is_for_tests(&file.attrs);
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
                path: path_attribute(&item.attrs),
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
        let mut leaves = Vec::new();
        collect(&item.tree, start, &mut leaves);
        for Leaf { name, path, span } in leaves {
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
                    let (path, end) = path_at(&tokens, at);
                    if path.len() > 1 && begins_path(&tokens, at) {
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
                        self.mention(segments(&path), literal.span(), Mentioned::Code);
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
        self.test |= is_for_tests(attributes(item));
        self.here().items.extend(name(item));
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
                words(&item.mac.tokens, &mut self.here().macro_words);
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
        self.test |= is_for_tests(&item.attrs);
        visit::visit_impl_item_fn(self, item);
        self.test = outer;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            self.mention(segments(path), first.ident.span(), Mentioned::Code);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(first) = call.path.segments.first() {
            self.mention(segments(&call.path), first.ident.span(), Mentioned::MacroName);
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
        if is_catch_all(&arm.pat) && !self.test {
            let line = arm.fat_arrow_token.spans[0].start().line;
            self.here().catch_alls.push(line);
        }
        visit::visit_arm(self, arm);
    }
}

/// A leaf of a `use` tree; without a name if it is a `*`.
struct Leaf {
    name: Option<String>,
    path: Vec<String>,
    span: Span,
}

fn collect(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<Leaf>) {
    let (ident, name) = match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            return collect(&inner.tree, path, leaves);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, path.clone(), leaves);
            }
            return;
        }
        UseTree::Glob(glob) => {
            let span = glob.star_token.spans[0];
            return leaves.push(Leaf {
                name: None,
                path,
                span,
            });
        }
        UseTree::Name(leaf) => (&leaf.ident, &leaf.ident),
        UseTree::Rename(leaf) => (&leaf.ident, &leaf.rename),
    };
    let span = ident.span();
    if ident != "self" {
        path.push(ident.to_string());
    }
    let name = if name == "self" {
        path.last().cloned()
    } else {
        Some(name.to_string())
    };
    leaves.push(Leaf { name, path, span });
}

fn segments(path: &syn::Path) -> Vec<String> {
    let leading = path.leading_colon.as_ref().map(|_| String::new()).into_iter();
    leading
        .chain(path.segments.iter().map(|segment| segment.ident.to_string()))
        .collect()
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

/// The path that begins at an identifier, and the index of its last token.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].to_string()];
    while is_colon(tokens.get(at + 1)) && is_colon(tokens.get(at + 2)) {
        let Some(TokenTree::Ident(ident)) = tokens.get(at + 3) else {
            break;
        };
        path.push(ident.to_string());
        at += 3;
    }
    (path, at)
}

/// Whether the identifier is the beginning of a path: not a field, nor what follows a type, nor a variable of a macro.
fn begins_path(tokens: &[TokenTree], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|at| tokens.get(at));
    match before(1) {
        Some(TokenTree::Punct(punct)) => match punct.as_char() {
            '.' => matches!(before(2), Some(TokenTree::Punct(punct)) if punct.as_char() == '.'),
            '$' => matches!(&tokens[at], TokenTree::Ident(ident) if ident == "crate"),
            ':' if is_colon(before(2)) => match before(3) {
                Some(TokenTree::Punct(punct)) => punct.as_char() != '>',
                Some(TokenTree::Ident(_) | TokenTree::Group(_)) => false,
                Some(TokenTree::Literal(_)) | None => true,
            },
            _ => true,
        },
        Some(TokenTree::Ident(_) | TokenTree::Group(_) | TokenTree::Literal(_)) | None => true,
    }
}

/// The words of a macro that may be names of items: all that do not follow a `::`.
fn words(tokens: &TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() != Delimiter::None => words(&group.stream(), found),
            TokenTree::Ident(ident) => {
                let follows = at > 1 && is_colon(tokens.get(at - 1)) && is_colon(tokens.get(at - 2));
                if !follows {
                    found.insert(ident.to_string());
                }
            }
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn is_catch_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Guard(guarded) => is_catch_all(&guarded.pat),
        Pat::Paren(inner) => is_catch_all(&inner.pat),
        Pat::Tuple(tuple) => tuple.elems.iter().all(is_catch_all),
        _ => false,
    }
}

/// Whether one of the attributes is `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn holds(meta: &Meta) -> bool {
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => {
                let parts = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
                list.parse_args_with(parts)
                    .is_ok_and(|parts| parts.iter().any(holds))
            }
            Meta::List(_) | Meta::NameValue(_) => false,
        }
    }
    let mut cfgs = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    cfgs.any(|attribute| attribute.parse_args::<Meta>().is_ok_and(|meta| holds(&meta)))
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("path") => match &meta.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines. Modules and imports are entered elsewhere.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
