//! Questions about pieces of syntax.

// The enums of `syn` are not exhaustive.
#![allow(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{Attribute, Item, Meta, Pat, UseTree};

/// A leaf of a `use` tree; without a name if it is a `*`.
pub struct Leaf {
    pub name: Option<String>,
    pub path: Vec<String>,
    pub span: Span,
}

/// The leaves of a `use` tree that begins with these segments.
pub fn leaves(tree: &UseTree, start: Vec<String>) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(tree, start, &mut leaves);
    leaves
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

/// The segments of a path; an empty first one stands for a leading `::`.
pub fn segments(path: &syn::Path) -> Vec<String> {
    let leading = path.leading_colon.as_ref().map(|_| String::new()).into_iter();
    leading
        .chain(path.segments.iter().map(|segment| segment.ident.to_string()))
        .collect()
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

/// The path that begins at an identifier, and the index of its last token.
pub fn path_at(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
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
pub fn begins_path(tokens: &[TokenTree], at: usize) -> bool {
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

/// The words of a macro that may be names of types and constants: those with a capital letter that do not follow a `::`.
/// Others would be taken for crates and variables of the same name.
pub fn words(tokens: &TokenStream, found: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) if group.delimiter() != Delimiter::None => words(&group.stream(), found),
            TokenTree::Ident(ident) => {
                let follows = at > 1 && is_colon(tokens.get(at - 1)) && is_colon(tokens.get(at - 2));
                let word = ident.to_string();
                if !follows && word.starts_with(char::is_uppercase) {
                    found.insert(word);
                }
            }
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Whether a pattern is `_`, or a tuple of nothing else.
pub fn is_catch_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Guard(guarded) => is_catch_all(&guarded.pat),
        Pat::Paren(inner) => is_catch_all(&inner.pat),
        Pat::Tuple(tuple) => tuple.elems.iter().all(is_catch_all),
        _ => false,
    }
}

/// Whether one of the attributes is `#[cfg(test)]` or `#[cfg(all(test, ..))]`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
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

/// The file that `#[path = ".."]` names.
pub fn path_attribute(attributes: &[Attribute]) -> Option<String> {
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

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
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
pub fn name(item: &Item) -> Option<String> {
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
