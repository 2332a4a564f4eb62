//! Planted cycles of modules.

use quadrille_house::modules::check;
use quadrille_house::{Rule, Violation};

use crate::tree::{Tree, assert_none, assert_one};

/// The violations in a library of these files; `lib.rs` comes first.
fn found(files: &[(&str, &str)]) -> Vec<Violation> {
    let files: Vec<_> = files
        .iter()
        .map(|(file, text)| (format!("src/{file}"), *text))
        .collect();
    let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
    check(&Tree::of_one("", &files).read()).unwrap()
}

#[test]
fn a_cycle_of_imports_names_files_and_lines() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "//! First.\n\nuse crate::b::B;\npub struct A(B);"),
        ("b.rs", "use crate::c::C;\npub struct B(C);"),
        ("c.rs", "use super::a::{self, A};\npub struct C(Box<A>);"),
    ]);
    assert_one(
        &violations,
        Rule::ModuleCycle,
        &[
            "quadrille-order, lib `quadrille_order`: a -> b -> c -> a",
            "services/order/src/a.rs:3: use crate::b::B",
            "services/order/src/b.rs:1: use crate::c::C",
            "services/order/src/c.rs:1: use super::a",
        ],
    );
}

#[test]
fn modules_that_depend_one_way_pass() {
    assert_none(&found(&[
        (
            "lib.rs",
            "pub mod a; mod b; mod c; pub use b::*; pub use c::C; use std::fmt;",
        ),
        (
            "a.rs",
            "use crate::b::B;\nuse crate::C; use std::fmt::Debug; pub struct A(B, C);",
        ),
        ("b.rs", "use super::c::C;\npub struct B(C);"),
        ("c.rs", "/// Used by [`crate::a::A`].\npub struct C;"),
    ]));
}

#[test]
fn a_path_in_an_expression_closes_a_cycle() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub fn a() { crate::b::b() }"),
        ("b.rs", "use crate::a;\n\npub fn b() { a::a() }"),
    ]);
    let words = ["a.rs:1: crate::b::b", "b.rs:1: use crate::a"];
    assert_one(&violations, Rule::ModuleCycle, &words);
}

#[test]
fn a_path_in_the_arguments_of_a_macro_closes_a_cycle() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "pub fn a() -> String {\n    format!(\"{}\", crate::b::B)\n}",
        ),
        ("b.rs", "pub const B: u8 = crate::a::A;"),
    ]);
    assert_one(&violations, Rule::ModuleCycle, &["a.rs:2: crate::b::B"]);
}

#[test]
fn a_path_in_an_attribute_closes_a_cycle() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "#[derive(Serialize)]\npub struct A {\n    #[serde(with = \"crate::b\")]\n    a: u8,\n}",
        ),
        ("b.rs", "use crate::a::A;"),
    ]);
    assert_one(&violations, Rule::ModuleCycle, &["a.rs:3: crate::b"]);
}

#[test]
fn a_re_export_at_the_root_leads_to_the_module_that_defines() {
    for root in [
        "mod a; mod b; pub use b::B;",
        "mod a; mod b; pub use b::*;",
        "mod a; mod b; pub use b::B as C; pub use C as B;",
    ] {
        let violations = found(&[
            ("lib.rs", root),
            ("a.rs", "use crate::B;\npub struct A;"),
            ("b.rs", "use crate::a::A;\npub struct B;"),
        ]);
        assert_one(&violations, Rule::ModuleCycle, &["a.rs:1: use crate::B"]);
    }
}

#[test]
fn an_item_that_a_macro_defines_is_found() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b; mod c; pub use c::*; pub use b::*;"),
        ("a.rs", "use crate::B;\npub struct A;"),
        ("b.rs", "use crate::a::A;\nid! { B }"),
        ("c.rs", "use crate::B;\nid! { C, B }"),
    ]);
    assert_one(&violations, Rule::ModuleCycle, &["a.rs:1: use crate::B"]);
}

#[test]
fn a_cycle_through_an_exported_macro_is_found() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "#[macro_export]\nmacro_rules! say { () => { $crate::b::b() } }",
        ),
        ("b.rs", "pub fn b() { crate::say!() }"),
    ]);
    let words = ["a.rs:2: crate::b::b", "b.rs:1: crate::say!"];
    assert_one(&violations, Rule::ModuleCycle, &words);
}

#[test]
fn a_cycle_inside_a_folder_is_found() {
    let violations = found(&[
        ("lib.rs", "mod engine;"),
        ("engine/mod.rs", "mod gather; mod commit;"),
        (
            "engine/gather.rs",
            "use super::commit::Commit;\npub struct Gather;",
        ),
        (
            "engine/commit.rs",
            "use crate::engine::gather::Gather;\npub struct Commit;",
        ),
    ]);
    let words = [
        "engine::commit",
        "engine::gather",
        "src/engine/gather.rs:1: use super::commit::Commit",
    ];
    assert_one(&violations, Rule::ModuleCycle, &words);
}

#[test]
fn what_a_child_uses_counts_as_its_folder() {
    let violations = found(&[
        ("lib.rs", "mod engine; mod store;"),
        ("engine.rs", "mod gather; pub const LIMIT: u8 = 1;"),
        ("engine/gather.rs", "use crate::store::Store;"),
        ("store.rs", "use crate::engine::LIMIT;\npub struct Store;"),
    ]);
    assert_one(&violations, Rule::ModuleCycle, &["engine -> store -> engine"]);
}

#[test]
fn a_child_may_use_its_parent_if_the_parent_only_re_exports_it() {
    assert_none(&found(&[
        (
            "lib.rs",
            "mod engine; pub struct Root; mod other; pub use other::*;",
        ),
        ("other.rs", "use crate::Root;"),
        (
            "engine/mod.rs",
            "mod gather; pub use gather::Gather; pub(crate) use self::gather::*; pub const LIMIT: u8 = 1;",
        ),
        (
            "engine/gather.rs",
            "use super::LIMIT;\npub struct Gather([u8; LIMIT]);",
        ),
    ]));
}

#[test]
fn a_module_in_the_parents_file_may_re_export_for_the_childs_macros() {
    assert_none(&found(&[
        (
            "lib.rs",
            "mod id; pub mod __private { pub use crate::id::Visitor; pub use serde::Serialize; }",
        ),
        (
            "id.rs",
            "pub struct Visitor;\n\
             macro_rules! id { () => { impl $crate::__private::Serialize for $crate::__private::Visitor {} } }",
        ),
    ]));
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_found() {
    for import in [
        "use gather::Gather;",
        "pub use gather::Gather;",
        "pub use gather::*;",
    ] {
        let parent =
            format!("mod gather;\n{import}\npub const LIMIT: u8 = 1; pub struct Engine {{ gather: Gather }}");
        let violations = found(&[
            ("lib.rs", "mod engine;"),
            ("engine.rs", &parent),
            (
                "engine/gather.rs",
                "use super::*;\npub struct Gather([u8; LIMIT]);",
            ),
        ]);
        assert_one(
            &violations,
            Rule::ModuleCycle,
            &[
                "engine (its own file)",
                "engine::gather",
                "engine/gather.rs:2: LIMIT",
            ],
        );
    }
}

#[test]
fn a_glob_import_of_the_parent_leads_to_what_it_brings() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b; use b::B;"),
        ("a.rs", "use super::*;\npub struct A(B);"),
        ("b.rs", "use crate::a::A;\npub struct B;"),
    ]);
    assert_one(
        &violations,
        Rule::ModuleCycle,
        &["a.rs:2: B", "b.rs:1: use crate::a::A"],
    );
}

#[test]
fn tests_may_close_a_cycle() {
    assert_none(&found(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod samples;"),
        (
            "a.rs",
            "pub struct A;\n#[cfg(test)]\nmod tests { use super::*; use crate::b::B; fn t(_: A, _: B) {} }",
        ),
        (
            "b.rs",
            "use crate::a::A;\npub struct B;\n#[cfg(all(test, unix))] use crate::samples::S;",
        ),
        ("samples.rs", "use crate::b::B;\npub struct S(B);"),
    ]));
}

#[test]
fn modules_of_one_file_are_one() {
    assert_none(&found(&[(
        "lib.rs",
        "mod sealed { pub trait Sealed {} impl Sealed for super::A {} } pub struct A; impl B for A {}\n\
         pub trait B: sealed::Sealed {}",
    )]));
}

#[test]
fn cycles_of_programs_and_tests_are_found() {
    let tree = Tree::of_one(
        "",
        &[
            ("src/main.rs", "mod a; fn main() { a::a(); } fn stop() {}"),
            ("src/a.rs", "pub fn a() { crate::stop() }"),
            ("tests/all/main.rs", "mod x; mod y;"),
            ("tests/all/x.rs", "pub fn x() { crate::y::y() }"),
            ("tests/all/y.rs", "pub fn y() { crate::x::x() }"),
        ],
    );
    let violations = check(&tree.read()).unwrap();
    let [program, tests] = violations.as_slice() else {
        panic!("{violations:#?}");
    };
    let cycle = "quadrille-order, bin `quadrille-order`: (crate root) -> a -> (crate root)";
    assert!(program.message.contains(cycle), "{program}");
    assert!(tests.message.contains("test `all`: x -> y -> x"), "{tests}");
}

#[test]
fn every_cycle_of_a_tangle_is_named_once() {
    let violations = found(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; use crate::c::C;"),
        ("b.rs", "use crate::a::A;"),
        ("c.rs", "use crate::a::A; use crate::b::B;"),
    ]);
    let messages: Vec<_> = violations
        .iter()
        .map(|it| it.message.lines().next().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "quadrille-order, lib `quadrille_order`: a -> b -> a",
            "quadrille-order, lib `quadrille_order`: a -> c -> a",
        ]
    );
}
