//! Planted dependencies that nothing uses.

use quadrille_house::dependencies::{check, check_except};
use quadrille_house::{Rule, Violation};

use crate::tree::{Tree, assert_none, assert_one};

fn found(dependencies: &str, files: &[(&str, &str)]) -> Vec<Violation> {
    check(&Tree::of_one(dependencies, files).read()).unwrap()
}

#[test]
fn every_way_of_using_a_dependency_counts() {
    let dependencies = "
        [dependencies]
        anyhow = '1'
        async-nats = '1'
        bytes = '1'
        http = { version = '1', optional = true }
        jiff = '1'
        seven = { package = 'uuid', version = '1' }
        serde = '1'
        serde_with = '1'
        tokio = '1'
        tracing = '1'

        [dev-dependencies]
        expect-test = '1'
        proptest = '1'
        serde_json = '1'

        [build-dependencies]
        cc = '1'
    ";
    let library = "
        use serde::Serialize;
        pub use async_nats as nats;
        mod bytes { fn inner() -> ::bytes::Bytes { panic!() } }
        #[derive(Serialize)]
        struct S { #[serde(with = \"serde_with::As\")] t: jiff::Timestamp }
        fn f() -> anyhow::Result<()> { tracing::info!(id = %seven::Uuid::nil()); Ok(()) }
        macro_rules! m { () => { $crate::f(::http::uri()) } }
        #[cfg(test)] mod tests { use proptest::prelude::*; }
    ";
    assert_none(&found(
        dependencies,
        &[
            ("src/lib.rs", library),
            ("src/main.rs", "#[tokio::main] async fn main() {}"),
            ("tests/all.rs", "fn t() { expect_test::expect![]; }"),
            (
                "tests/decoders.rs",
                "proptest! { fn t(bytes in any()) { check!(serde_json::from_slice::<u8>(&serde_json)); } }",
            ),
            ("build.rs", "fn main() { cc::Build::new(); }"),
        ],
    ));
}

#[test]
fn an_unused_dependency_is_named() {
    let library = "//! Not [`bytes::Bytes`].\nmod http { } use http::Uri; fn bytes() {} fn f() { bytes(); }";
    for (kind, name) in [
        ("dependencies", "bytes"),
        ("dependencies", "http"),
        ("dev-dependencies", "bytes"),
        ("build-dependencies", "bytes"),
    ] {
        let files = [("src/lib.rs", library), ("build.rs", "fn main() {}")];
        let violations = found(&format!("[{kind}]\n{name} = '1'"), &files);
        let words = ["quadrille-order (services/order)", &format!("declares {name}:")];
        assert_one(&violations, Rule::UnusedDependency, &words);
    }
}

#[test]
fn a_dependency_that_only_tests_use_is_named() {
    for files in [
        [("src/lib.rs", "#[cfg(test)] mod tests { use bytes::Bytes; }")],
        [("tests/all.rs", "use bytes::Bytes;")],
    ] {
        let violations = found("[dependencies]\nbytes = '1'", &files);
        assert_one(
            &violations,
            Rule::UnusedDependency,
            &["bytes", "[dev-dependencies]"],
        );
    }
}

#[test]
fn a_shared_dependency_that_no_package_declares_is_named() {
    let tree = Tree::of_one(
        "[dependencies]\nbytes.workspace = true",
        &[("src/lib.rs", "use bytes::Bytes;")],
    );
    let tree = tree.shared("bytes = '1'\nlru = '1'");
    let words = ["[workspace.dependencies] declares lru"];
    assert_one(&check(&tree.read()).unwrap(), Rule::UnusedDependency, &words);
}

#[test]
fn an_exception_lets_one_dependency_pass_and_no_other() {
    let exceptions = [("quadrille-order", "bytes", "only for its feature")];
    let bytes = Tree::of_one("[dependencies]\nbytes = '1'", &[]);
    assert_none(&check_except(&bytes.read(), &exceptions).unwrap());
    let http = Tree::of_one("[dependencies]\nbytes = '1'\nhttp = '1'", &[]);
    let violations = check_except(&http.read(), &exceptions).unwrap();
    assert_one(&violations, Rule::UnusedDependency, &["declares http"]);
}

#[test]
fn an_exception_that_is_not_needed_is_named() {
    let exceptions = [("quadrille-order", "bytes", "only for its feature")];
    let tree = Tree::of_one(
        "[dependencies]\nbytes = '1'",
        &[("src/lib.rs", "use bytes::Bytes;")],
    );
    let violations = check_except(&tree.read(), &exceptions).unwrap();
    assert_one(
        &violations,
        Rule::UnusedDependency,
        &["exception for bytes in quadrille-order"],
    );
}
